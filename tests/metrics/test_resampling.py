"""Draws behind tests and intervals: their laws, and metrics of resamples by value."""

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp

from sksve import metrics
from sksve.metrics import _resampling as resampling
from sksve.metrics._inputs import Rows
from sksve.metrics._kinds import KINDS
from tests.metrics.strategies import draw_labels, tempered

BIN_EDGES = {n: np.linspace(0, 1, n + 1) for n in (5, 10, 15)}
REPORTED = pytest.mark.parametrize("metric", KINDS, ids=lambda metric: metric.__name__)


def bins_of(v, n_bins=15):
    return np.maximum(np.searchsorted(BIN_EDGES[n_bins], v) - 1, 0)


@REPORTED
def test_evaluate_counts__is_the_metric_of_the_repeated_rows(metric, rng):
    codes, proba = tempered(0, 80, 0.7)
    counts = np.array([np.bincount(rng.integers(0, 80, 80), minlength=80) for _ in range(7)])
    rows, top = Rows(codes, proba, None, np.arange(3)), (proba.max(1), proba.argmax(1) == codes)
    blocks = [counts[:3], counts[3:]]
    found = resampling.evaluate_counts({"m": KINDS[metric]}, rows, top, blocks)["m"]
    for value, count in zip(found, counts):
        drawn = np.repeat(np.arange(80), count)
        expected = metric(codes[drawn], proba[drawn], labels=[0, 1, 2])
        assert value == pytest.approx(expected, abs=1e-12)


def test_common_resamples__are_the_same_for_every_set_of_predictions(rng, monkeypatch):
    monkeypatch.setattr(resampling, "AT_ONCE", 200)  # several blocks
    codes, proba = tempered(0, 80, 0.7)
    rows = Rows(codes, proba, None, np.arange(3))
    resamples = resampling.CommonResamples(80, 7, rng)
    found = resamples.evaluate({m.__name__: kind for m, kind in KINDS.items()}, rows)
    again = resamples.evaluate({"aurc": KINDS[metrics.aurc]}, rows)
    np.testing.assert_array_equal(found["aurc"], again["aurc"])
    assert len(set(found["aurc"])) == 7
    # Twice as confident predictions, the same resamples: the same rows are right.
    certain = rows._replace(proba=np.eye(3)[proba.argmax(axis=1)])
    other = resamples.evaluate({"brier": KINDS[metrics.brier_score]}, certain)["brier"]
    coverage = resamples.evaluate({"acc": KINDS[metrics.selective_accuracy]}, certain)["acc"]
    np.testing.assert_allclose(other, 2 * (1 - coverage), atol=1e-12)


@pytest.mark.parametrize("n", [800, 60_000])
def test_bootstrap_sums__follow_the_law_of_resampled_rows(n):
    """800 rows are drawn singly; with 60,000 a bin's confidences come from the normal law."""
    rng = np.random.default_rng(0)
    conf = rng.beta(4, 1.5, n)
    hit = rng.random(n) < conf**1.3
    gap, weight = resampling.bootstrap_sums(conf, hit, BIN_EDGES[15], 400, rng)
    assert (weight.sum(axis=1) == n).all()
    index = bins_of(conf)
    drawn = (rng.integers(0, n, n) for _ in range(400))
    slow = np.array([np.bincount(index[r], (conf - hit)[r], minlength=15) for r in drawn])
    error = np.sqrt(2 / 400) * slow.std(axis=0)
    assert (np.abs(gap.mean(axis=0) - slow.mean(axis=0)) <= 4.5 * error).all()
    for b in (8, 11, 14):
        assert ks_2samp(gap[:, b], slow[:, b]).pvalue > 1e-3
    assert ks_2samp(np.abs(gap).sum(axis=1), np.abs(slow).sum(axis=1)).pvalue > 1e-3


def test_class_null_gaps__labels_drawn_from_the_probabilities():
    _, p = tempered(0, 300, c=4, sharpness=0.5)
    gap, size = resampling.class_null_gaps(p, 15, 400, np.random.default_rng(0))
    ours = (np.abs(gap).sum(axis=2) / size.sum(axis=1)).mean(axis=1)
    slow = []
    for seed in range(300):
        y = draw_labels(p, np.random.default_rng(seed))
        slow.append(metrics.classwise_calibration_error(y, p, labels=range(4)))
    assert ks_2samp(ours, slow).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["none", "whole", "fractions"])
def test_null_gaps__have_the_mean_and_variance_of_drawn_labels(kind, rng, monkeypatch):
    conf = rng.uniform(0.2, 1, 3000)
    weight = {
        "none": None,
        "whole": rng.integers(1, 4, 3000).astype(float),
        "fractions": rng.uniform(0.5, 2, 3000),
    }[kind]
    w = np.ones(3000) if weight is None else weight
    # A row of whole weight w is w rows; one of fractional weight is one row that counts w.
    spread = w**2 if kind == "fractions" else w
    variance = np.bincount(bins_of(conf, 10), spread * conf * (1 - conf), minlength=10)
    for exact_rows in (10**9, 10):  # label by label, and by the binomial law of narrow cells
        monkeypatch.setattr(resampling, "EXACT_ROWS", exact_rows)
        gap = resampling.null_gaps(conf, weight, BIN_EDGES[10], 4000, np.random.default_rng(0))
        assert gap.shape == (4000, 10)
        np.testing.assert_allclose(gap.mean(axis=0), 0, atol=5 * np.sqrt(variance.max() / 4000))
        full = variance > 0
        np.testing.assert_allclose(gap.var(axis=0)[full], variance[full], rtol=0.12)
        assert (gap[:, ~full] == 0).all()


def test_null_gaps__narrow_cells_follow_the_law_of_single_labels(rng):
    conf = rng.beta(5, 1, 20_000)
    last = conf[conf > 0.8]
    gap = resampling.null_gaps(conf, None, BIN_EDGES[5], 2000, np.random.default_rng(0))  # cells
    hits = np.rint(last.sum() - gap[:, 4])
    single = np.random.default_rng(1)
    slow = np.array([(single.random(len(last)) < last).sum() for _ in range(2000)])
    cuts = np.quantile(slow, [0.1, 0.3, 0.5, 0.7, 0.9])
    ours, theirs = (np.bincount(np.searchsorted(cuts, h), minlength=6) for h in (hits, slow))
    assert chisquare(ours, theirs * ours.sum() / theirs.sum()).pvalue > 1e-3

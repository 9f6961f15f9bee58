"""Paired tests: right size where there is no difference, power where there is one."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sksve import CalibrationComparison

NLL = "negative_log_likelihood"


def record(means, draws):
    """What a comparison of variants with these losses is; the first one is the pick."""
    variants = [("model", str(i)) for i in range(len(means))]
    values = {v: {NLL: SimpleNamespace(value=mean)} for v, mean in zip(variants, means)}
    return CalibrationComparison(
        labels=np.arange(2), y_test=np.arange(2), probabilities=dict.fromkeys(variants),
        metrics=values, draws={NLL: draws}, centres={NLL: means}, choice={}, pick=variants[0],
        choose_by=NLL, n_calibration=0, n_folds=0, confidence_level=0.95,
    )  # fmt: skip


def resampled_means(losses, n_resamples, rng):
    """Means of each variant's losses on resamples of the rows that all share."""
    n = losses.shape[1]
    rows = rng.integers(0, n, (n_resamples, n))
    return losses[:, rows].mean(axis=2)


def test_paired__are_those_of_a_paired_t_test(rng):
    hard = rng.exponential(size=400)
    losses = np.stack([hard, hard + rng.normal(0.02, 0.2, 400), hard + rng.normal(0.1, 0.2, 400)])
    draws = resampled_means(losses, 4000, rng)
    means = losses.mean(axis=1)
    found = record(means, draws).paired(NLL)
    for i in (1, 2):
        exact = ttest_rel(losses[i], losses[0])
        low, high = exact.confidence_interval(0.95)
        assert found.low[i] == pytest.approx(low, abs=0.003)
        assert found.high[i] == pytest.approx(high, abs=0.003)
        assert found.p_value[i] == pytest.approx(exact.pvalue, abs=0.03)
        assert found.p_adjusted[i] >= found.p_value[i]
    assert (found.value[0], found.p_value[0], found.p_adjusted[0]) == (0, 1, 1)


def test_paired__equal_variants_need_no_second_correction(rng):
    hard = rng.exponential(size=200)
    other = hard + rng.normal(0.03, 0.2, 200)
    for copies in (1, 30):
        losses = np.stack([hard, *[other] * copies])
        draws = resampled_means(losses, 1000, np.random.default_rng(0))
        means = losses.mean(axis=1)
        found = record(means, draws).paired(NLL)
        assert found.p_adjusted[1] == found.p_value[1], "thirty copies are one comparison"


def test_best_p_values__the_truly_best_is_seldom_excluded():
    """Ten equal variants: each would be excluded by an uncorrected test far more often."""
    rng = np.random.default_rng(7)
    n_trials, excluded, naive = 300, 0, 0
    for _ in range(n_trials):
        losses = rng.normal(size=(10, 100))
        draws = resampled_means(losses, 200, rng)
        means = losses.mean(axis=1)
        excluded += record(means, draws).best_p_values(NLL)[0] < 0.05
        best = int(means.argmin())
        naive += record(means, draws).paired(NLL, ("model", str(best))).p_value[0] < 0.05
    assert excluded / n_trials <= 0.08
    assert naive / n_trials > 0.11, "this is what the maximum corrects"


def test_best_p_values__sees_a_clear_loser(rng):
    losses = rng.normal(size=(3, 300)) + np.array([[0.0], [0.05], [0.5]])
    draws = resampled_means(losses, 500, rng)
    means = losses.mean(axis=1)
    p = record(means, draws).best_p_values(NLL)
    assert p.max() == 1
    assert p[2] == 1 / 501
    assert record(means[:1], draws[:1]).best_p_values(NLL).tolist() == [1.0]


def test_best_p_values__a_difference_without_spread_is_certain():
    means = np.array([0.1, 0.2, 0.1])
    draws = np.tile(means[:, None], 50)
    assert record(means, draws).best_p_values(NLL).tolist() == [1.0, 1 / 51, 1.0]

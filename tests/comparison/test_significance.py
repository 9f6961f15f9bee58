"""Paired tests: right size where there is no difference, power where there is one."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sksve.comparison._significance import chance_of_best, differences_from
from sksve.metrics import (
    aurc,
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    smooth_calibration_error,
)
from sksve.metrics._inputs import Checked
from sksve.metrics._kinds import kind_of
from sksve.metrics._paired import AT_ONCE, CommonResamples


def resampled_means(losses, n_resamples, rng):
    """Means of each variant's losses on resamples of the rows that all share."""
    n = losses.shape[1]
    rows = rng.integers(0, n, (n_resamples, n))
    return losses[:, rows].mean(axis=2)


def test_differences__are_those_of_a_paired_t_test(rng):
    hard = rng.exponential(size=400)
    losses = np.stack([hard, hard + rng.normal(0.02, 0.2, 400), hard + rng.normal(0.1, 0.2, 400)])
    draws = resampled_means(losses, 4000, rng)
    means = losses.mean(axis=1)
    found = differences_from(0, means, draws, means, 0.95)
    for i in (1, 2):
        exact = ttest_rel(losses[i], losses[0])
        low, high = exact.confidence_interval(0.95)
        assert found.low[i] == pytest.approx(low, abs=0.003)
        assert found.high[i] == pytest.approx(high, abs=0.003)
        assert found.p_value[i] == pytest.approx(exact.pvalue, abs=0.03)
        assert found.p_adjusted[i] >= found.p_value[i]
    assert (found.value[0], found.p_value[0], found.p_adjusted[0]) == (0, 1, 1)


def test_differences__equal_variants_need_no_second_correction(rng):
    hard = rng.exponential(size=200)
    other = hard + rng.normal(0.03, 0.2, 200)
    for copies in (1, 30):
        losses = np.stack([hard, *[other] * copies])
        draws = resampled_means(losses, 1000, np.random.default_rng(0))
        means = losses.mean(axis=1)
        found = differences_from(0, means, draws, means, 0.95)
        assert found.p_adjusted[1] == found.p_value[1], "thirty copies are one comparison"


def test_chance_of_best__the_truly_best_is_seldom_excluded():
    """Ten equal variants: each would be excluded by an uncorrected test far more often."""
    rng = np.random.default_rng(7)
    n_trials, excluded, naive = 300, 0, 0
    for _ in range(n_trials):
        losses = rng.normal(size=(10, 100))
        draws = resampled_means(losses, 200, rng)
        means = losses.mean(axis=1)
        excluded += chance_of_best(means, draws, means)[0] < 0.05
        best = int(means.argmin())
        naive += differences_from(best, means, draws, means, 0.95).p_value[0] < 0.05
    assert excluded / n_trials <= 0.08
    assert naive / n_trials > 0.11, "this is what the maximum corrects"


def test_chance_of_best__sees_a_clear_loser(rng):
    losses = rng.normal(size=(3, 300)) + np.array([[0.0], [0.05], [0.5]])
    draws = resampled_means(losses, 500, rng)
    means = losses.mean(axis=1)
    p = chance_of_best(means, draws, means)
    assert p.max() == 1
    assert p[2] == 1 / 501
    assert chance_of_best(means[:1], draws[:1], means[:1]).tolist() == [1.0]


def test_chance_of_best__a_difference_without_spread_is_certain():
    means = np.array([0.1, 0.2, 0.1])
    draws = np.tile(means[:, None], 50)
    assert chance_of_best(means, draws, means).tolist() == [1.0, 1 / 51, 1.0]


@pytest.mark.parametrize(
    "metric",
    [
        expected_calibration_error,
        maximum_calibration_error,
        classwise_calibration_error,
        debiased_calibration_error,
        smooth_calibration_error,
        negative_log_likelihood,
        aurc,
    ],
)
def test_common_resamples__metric_of_the_repeated_rows(metric, rng, monkeypatch):
    monkeypatch.setattr("sksve.metrics._paired.AT_ONCE", 200)  # several blocks
    proba = rng.dirichlet([1, 1, 1], size=80)
    codes = rng.integers(0, 3, 80)
    resamples = CommonResamples(80, 7, rng)
    found = resamples.evaluate({"m": kind_of(metric)}, Checked(codes, proba, None, np.arange(3)))
    counts = np.concatenate([block for _, block in resamples.counts()])
    assert counts.shape == (7, 80)
    assert (counts.sum(axis=1) == 80).all()
    for value, count in zip(found["m"], counts):
        rows = np.repeat(np.arange(80), count)
        assert value == pytest.approx(metric(codes[rows], proba[rows], labels=[0, 1, 2]), abs=1e-12)
    assert AT_ONCE > 200

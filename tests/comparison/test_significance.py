"""Paired tests: right size where there is no difference, power where there is one."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sksve.comparison._significance import chance_of_best, differences_from


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

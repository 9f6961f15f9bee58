"""Thresholds: guarantees checked by simulation with a known law, bounds against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from sksve.calibration._threshold import (
    measure_at,
    rows_needed,
    threshold_for_coverage,
    threshold_for_risk,
)

ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 4)), min_size=1, max_size=30
)


def draw(rng, n):
    """Scores uniform on (0, 1), right with probability (1 + s) / 2: the risk above t is (1 - t) / 4."""
    sure = rng.random(n)
    return sure, rng.random(n) < (1 + sure) / 2


def arrays(rows):
    sure, correct, weight = (np.array(column) for column in zip(*rows))
    return sure / 6, correct, weight.astype(float)


@pytest.mark.parametrize(("n", "coverage"), [(19, 0.8), (50, 0.33), (200, 0.9), (9, 0.95)])
def test_coverage__a_new_row_is_answered_as_often_as_guaranteed(n, coverage, rng):
    covered = []
    for _ in range(4000):
        threshold = threshold_for_coverage(rng.random(n), coverage)
        covered.append(1 - max(threshold, 0))
    rank = int(np.ceil(coverage * (n + 1) - 1e-9))
    assert np.mean(covered) == pytest.approx(min(rank / (n + 1), 1), abs=0.006)


def test_coverage__of_one_answers_everything():
    assert threshold_for_coverage(np.array([0.2, 0.9]), 1.0) == -np.inf


def test_coverage__is_a_value_of_the_rows():
    sure = np.array([0.1, 0.9, 0.5, 0.5, 0.3, 0.7, 0.2, 0.8, 0.6])
    assert threshold_for_coverage(sure, 0.3) == 0.7  # third largest of nine: 0.3 * 10
    assert threshold_for_coverage(sure, 0.31) == 0.6
    assert threshold_for_coverage(sure, 0.6) == 0.5  # one of two alike: both are answered


def test_risk__the_guarantee_is_met(rng):
    max_risk, level = 0.15, 0.9
    broken, answered, naive = 0, [], 0
    for _ in range(1000):
        sure, correct = draw(rng, 900)
        threshold, _ = threshold_for_risk(sure, correct, max_risk, level)
        broken += (1 - max(threshold, 0)) / 4 > max_risk
        answered.append(max(1 - max(threshold, 0), 0))
        # Without a bound, the largest coverage whose observed risk is low enough:
        order = np.argsort(-sure)
        risk = np.cumsum(~correct[order]) / np.arange(1, 901)
        last = np.flatnonzero(risk <= max_risk)
        naive += len(last) > 0 and (1 - sure[order[last[-1]]]) / 4 > max_risk
    assert broken / 1000 <= 1 - level
    assert naive / 1000 > 0.3  # so the simulation can tell
    assert np.mean(answered) > 0.3  # 0.6 is the most that the law allows


def test_risk__the_bound_is_clopper_and_pearsons(rng):
    sure, correct = draw(rng, 300)
    threshold, level = threshold_for_risk(sure, correct, 0.2, 0.95)
    point = measure_at(threshold, sure, correct, 0.95, level)
    accepted = sure >= threshold
    exact = binomtest(int((~correct[accepted]).sum()), int(accepted.sum()))
    interval = exact.proportion_ci(level, method="exact")
    assert point.risk_interval == pytest.approx(tuple(interval), rel=1e-9)
    assert interval.high <= 0.2
    assert level == pytest.approx(1 - 2 * 0.05 / 8)  # candidates
    assert point.risk == pytest.approx((~correct[accepted]).mean())
    covered = binomtest(int(accepted.sum()), 300).proportion_ci(0.95, method="exact")
    assert point.coverage_interval == pytest.approx(tuple(covered), rel=1e-9)


def test_risk__no_mistakes_answers_everything():
    sure = np.linspace(0, 1, 100)
    threshold, level = threshold_for_risk(sure, np.ones(100, dtype=bool), 0.1, 0.95)
    assert threshold == -np.inf
    point = measure_at(threshold, sure, np.ones(100, dtype=bool), 0.95, level)
    assert (point.coverage, point.coverage_interval, point.risk) == (1.0, (1.0, 1.0), 0.0)


def test_risk__nothing_can_be_guaranteed():
    sure = np.linspace(0, 1, 100)
    threshold, level = threshold_for_risk(sure, np.ones(100, dtype=bool), 0.01, 0.95)
    assert threshold == np.inf
    point = measure_at(threshold, sure, np.ones(100, dtype=bool), 0.95, level)
    assert (point.coverage, point.coverage_interval) == (0.0, (0.0, 0.0))
    assert np.isnan(point.risk)
    assert np.isnan(point.risk_interval).all()


def test_risk__equal_scores_are_answered_together_or_not_at_all(rng):
    correct = rng.random(500) < 0.97
    sure = np.repeat([0.9, 0.6], 250)
    correct[250:] = rng.random(250) < 0.5
    threshold, _ = threshold_for_risk(sure, correct, 0.1, 0.95)
    assert 0.6 < threshold <= 0.9
    assert threshold_for_risk(np.full(500, 0.7), correct, 0.1, 0.95)[0] == np.inf


@pytest.mark.parametrize(("risk", "rows"), [(0.05, 59), (0.01, 299), (0.5, 5)])
def test_rows_needed(risk, rows):
    assert rows_needed(risk, 0.95) == rows
    assert (1 - risk) ** rows <= 0.05 < (1 - risk) ** (rows - 1)


@given(ROWS, st.sampled_from([0.2, 0.5, 0.75, 1.0]), st.sampled_from([0.3, 0.6, 0.9]))
def test__weights_are_repetitions_and_order_does_not_matter(rows, coverage, max_risk):
    sure, correct, weight = arrays(rows)
    times = weight.astype(int)
    repeated = np.repeat(sure, times)[::-1], np.repeat(correct, times)[::-1]
    found = threshold_for_coverage(sure, coverage, weight)
    assert found == threshold_for_coverage(repeated[0], coverage)
    at_risk = threshold_for_risk(sure, correct, max_risk, 0.8, weight)
    assert at_risk == threshold_for_risk(*repeated, max_risk, 0.8)
    for threshold, level in ((found, 0.8), at_risk):
        ours = measure_at(threshold, sure, correct, 0.8, level, weight)
        theirs = measure_at(threshold, *repeated, 0.8, level)
        np.testing.assert_allclose(np.hstack(ours), np.hstack(theirs), rtol=1e-9)


@given(ROWS, st.sampled_from([0.2, 0.5, 0.75, 1.0]), st.sampled_from([0.3, 0.6, 0.9]))
def test__what_is_guaranteed_holds_on_the_rows_themselves(rows, coverage, max_risk):
    sure, correct, _ = arrays(rows)
    threshold = threshold_for_coverage(sure, coverage)
    assert measure_at(threshold, sure, correct, 0.9, 0.9).coverage >= coverage
    threshold, level = threshold_for_risk(sure, correct, max_risk, 0.9)
    point = measure_at(threshold, sure, correct, 0.9, level)
    assert point.coverage == 0 or point.risk <= point.risk_interval[1] <= max_risk

"""Risk and coverage: the mean over all orders of ties, row-order invariance, weights."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given

from sksve.metrics import aurc, eaurc, risk_coverage_curve, selective_accuracy
from tests.metrics.strategies import problems


def slow_risks(conf, wrong):
    """Mean over every order that is sorted by confidence."""
    risks = []
    for order in permutations(range(len(conf))):
        ranked = conf[list(order)]
        if (ranked[:-1] >= ranked[1:]).all():
            risks.append(np.cumsum(wrong[list(order)]) / np.arange(1, len(conf) + 1))
    return np.mean(risks, axis=0)


@given(problems(max_rows=6))
def test_aurc__is_the_mean_over_all_orders_of_ties(problem):
    y, p = problem
    p = np.round(p, 1) + 1e-3 * np.eye(p.shape[1])[0]
    p /= p.sum(axis=1, keepdims=True)
    conf, wrong = p.max(axis=1), p.argmax(axis=1) != y
    risks = slow_risks(conf, wrong)
    labels = range(p.shape[1])
    curve = risk_coverage_curve(y, p, labels=labels)
    np.testing.assert_allclose(curve.risk, risks, atol=1e-12)
    np.testing.assert_allclose(curve.coverage, np.arange(1, len(y) + 1) / len(y), atol=1e-12)
    assert aurc(y, p, labels=labels) == pytest.approx(risks.mean(), abs=1e-12)
    best = slow_risks(1.0 - wrong, wrong).mean()
    assert eaurc(y, p, labels=labels) == pytest.approx(risks.mean() - best, abs=1e-12)
    for k in range(1, len(y) + 1):
        ours = selective_accuracy(y, p, labels=labels, coverage=k / len(y))
        assert ours == pytest.approx(1 - risks[k - 1], abs=1e-9)


@given(problems())
def test_aurc__ranges(problem):
    y, p = problem
    options = {"labels": range(p.shape[1])}
    error = (p.argmax(axis=1) != y).mean()
    assert 0 <= eaurc(y, p, **options) <= aurc(y, p, **options) + 1e-12 <= 1 + 1e-12
    assert risk_coverage_curve(y, p, **options).risk[-1] == pytest.approx(error)
    assert selective_accuracy(y, p, coverage=1, **options) == pytest.approx(1 - error)


def test_aurc__one_confidence_for_all_is_the_error_rate():
    p = np.tile([0.7, 0.3], (10, 1))
    y = [0] * 6 + [1] * 4
    assert aurc(y, p) == pytest.approx(0.4)
    np.testing.assert_allclose(risk_coverage_curve(y, p).risk, 0.4)


def test_eaurc__a_perfect_ranking_is_zero_and_a_perfect_model_too(rng):
    p = np.linspace(0.51, 0.99, 50)
    assert eaurc(p > 0.7, p) == pytest.approx(0, abs=1e-12)
    assert eaurc([0, 1], np.eye(2)) == 0
    assert aurc([0, 1], np.eye(2)) == 0
    # All errors last: sum over j of j / (n - e + j), as Geifman et al. have it.
    e = (p <= 0.7).sum()
    exact = sum(j / (50 - e + j) for j in range(1, e + 1)) / 50
    assert aurc(p > 0.7, p) == pytest.approx(exact, abs=1e-12)


def test_aurc__a_long_input_keeps_its_digits(rng):
    n = 100_000
    p = rng.uniform(0.5, 1, n)
    y = rng.random(n) < p
    wrong = ~y[np.argsort(-p)]
    slow = np.mean(np.cumsum(wrong) / np.arange(1, n + 1))
    assert aurc(y, p) == pytest.approx(slow, abs=1e-10)
    assert aurc(y, p, sample_weight=np.full(n, 2.0)) == pytest.approx(slow, abs=1e-5)


@pytest.mark.parametrize("coverage", [0, -0.1, 1.1, None])
def test_selective_accuracy__coverage_is_checked(coverage):
    with pytest.raises(ValueError, match=r"'coverage' parameter of selective_accuracy must be"):
        selective_accuracy([0, 1], [0.1, 0.8], coverage=coverage)

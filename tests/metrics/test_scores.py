"""Brier score, its decomposition, log-likelihood: scikit-learn as oracle, and identities."""

import numpy as np
import pytest
from hypothesis import given
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from sksve.metrics import brier_decomposition, brier_score, negative_log_likelihood
from tests.metrics.strategies import problems


@given(problems())
def test_brier_score__equals_scikit_learn(problem):
    y, p = problem
    c = p.shape[1]
    theirs = brier_score_loss(y, p, labels=range(c), scale_by_half=False)
    assert brier_score(y, p, labels=range(c)) == pytest.approx(theirs, abs=1e-12)


@given(problems())
def test_negative_log_likelihood__equals_scikit_learn(problem):
    y, p = problem
    weight = np.linspace(0.1, 2, len(y))
    options = {"labels": list(range(p.shape[1])), "sample_weight": weight}
    ours = negative_log_likelihood(y, p, **options)
    assert ours == pytest.approx(log_loss(y, p, **options), abs=1e-9)


def test_scores__one_dimensional_probabilities_equal_scikit_learn(rng):
    p = rng.uniform(size=200)
    y = rng.integers(0, 2, 200)
    # scikit-learn halves the sum over the two classes.
    assert brier_score(y, p) == pytest.approx(2 * brier_score_loss(y, p), abs=1e-12)
    assert negative_log_likelihood(y, p) == pytest.approx(log_loss(y, p), abs=1e-12)


def test_scores__known_values():
    uniform = np.full((6, 3), 1 / 3)
    y = [0, 1, 2, 0, 1, 2]
    assert brier_score(y, uniform) == pytest.approx(2 / 3)
    assert negative_log_likelihood(y, uniform) == pytest.approx(np.log(3))
    assert brier_score([0, 1], np.eye(2)) == 0
    assert brier_score([1, 0], np.eye(2)) == 2
    assert negative_log_likelihood([0, 1], np.eye(2)) == 0
    assert negative_log_likelihood([1, 0], np.eye(2)) == pytest.approx(36.0437, abs=1e-4)


@given(problems())
def test_brier_decomposition__adds_up_exactly_and_no_part_is_negative(problem):
    y, p = problem
    weight = np.random.default_rng(len(y)).uniform(0.1, 3, len(y))
    options = {"labels": range(p.shape[1]), "sample_weight": weight}
    reliability, resolution, uncertainty = brier_decomposition(y, p, **options)
    total = reliability - resolution + uncertainty
    assert total == pytest.approx(brier_score(y, p, **options), abs=1e-12)
    assert min(reliability, resolution, uncertainty) >= 0
    assert resolution <= uncertainty + 1e-12


@given(problems())
def test_brier_decomposition__equals_scikit_learn_isotonic_class_by_class(problem):
    y, p = problem
    # scikit-learn joins values nearer than 1e-15 and interpolates NaN between denormal ones.
    p = np.round(p, 6)
    p[:, 0] = 1 - p[:, 1:].sum(axis=1)
    p = np.abs(np.round(p, 6))
    slow = np.zeros(3)
    for k, column in enumerate(p.T):
        hit = (y == k) * 1.0
        fitted = IsotonicRegression().fit(column, hit).predict(column)
        score, best = ((column - hit) ** 2).mean(), ((fitted - hit) ** 2).mean()
        base = ((hit.mean() - hit) ** 2).mean()
        slow += [score - best, base - best, base]
    ours = brier_decomposition(y, p, labels=range(p.shape[1]))
    np.testing.assert_allclose(ours, slow, atol=1e-9)


def test_brier_decomposition__a_calibrated_forecast_has_no_reliability_term():
    p = np.repeat([0.25, 0.75], 4)
    y = [1, 0, 0, 0, 1, 1, 1, 0]
    parts = brier_decomposition(y, p)
    assert parts.reliability == pytest.approx(0, abs=1e-15)
    assert parts.uncertainty == pytest.approx(0.5)
    assert parts.resolution == pytest.approx(0.125)


def test_brier_decomposition__a_constant_forecast_has_no_resolution():
    parts = brier_decomposition([0, 0, 1, 1], np.full(4, 0.9))
    assert parts.resolution == 0
    assert parts.reliability == pytest.approx(2 * 0.4**2)


def test_brier_score__is_exact_for_nearly_sure_rows():
    p = np.array([[1 - 1e-12, 1e-12]])
    assert brier_score([0], p, labels=[0, 1]) == pytest.approx(2e-24, rel=1e-3)

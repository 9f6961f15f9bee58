"""The debiased l2 error: its authors' package as oracle."""

import calibration as kumar
import numpy as np
import pytest
from hypothesis import given

from sksve.metrics import debiased_calibration_error, expected_calibration_error
from tests.metrics.strategies import problems


@pytest.mark.parametrize("n", [20, 100, 1000, 3001])
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("power", [0.3, 1.0])
def test_debiased_calibration_error__equals_uncertainty_calibration(n, n_classes, power, rng):
    p = rng.dirichlet(np.ones(n_classes), size=n)
    q = p**power
    q /= q.sum(axis=1, keepdims=True)
    y = (rng.random((n, 1)) > np.cumsum(q, axis=1)[:, :-1]).sum(axis=1)
    ours = debiased_calibration_error(y, p, labels=range(n_classes))
    assert ours == pytest.approx(kumar.lower_bound_scaling_top_ce(p, y), abs=1e-9)
    assert ours == pytest.approx(
        kumar.get_calibration_error(p, y, p=2, debias=True, mode="top-label"), abs=1e-9
    )


def test_debiased_calibration_error__uniform_bins_equal_uncertainty_calibration(rng):
    p = rng.dirichlet(np.ones(3), size=2000)
    y = rng.integers(0, 3, 2000)
    theirs = kumar.lower_bound_scaling_top_ce(p, y, binning_scheme=kumar.get_equal_prob_bins)
    assert debiased_calibration_error(y, p, strategy="uniform") == pytest.approx(theirs, abs=1e-9)


@given(problems(min_rows=2))
def test_debiased_calibration_error__is_at_most_the_plain_error(problem):
    y, p = problem
    options = {"labels": range(p.shape[1]), "strategy": "quantile"}
    plain = expected_calibration_error(y, p, norm="l2", **options)
    assert 0 <= debiased_calibration_error(y, p, **options) <= plain + 1e-12


def test_debiased_calibration_error__has_no_bias_where_the_plain_one_has():
    square, plain = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.5, 1, size=150)
        # Right with p - 0.15: the true l2 error is 0.15.
        y = (rng.random(150) < p - 0.15).astype(int)
        square.append(debiased_calibration_error(y, p, labels=[0, 1]) ** 2)
        plain.append(expected_calibration_error(y, p, norm="l2", labels=[0, 1]) ** 2)
    assert np.mean(square) == pytest.approx(0.15**2, abs=0.003)
    assert np.mean(plain) > 0.15**2 + 0.01


def test_debiased_calibration_error__weights_that_count_no_rows_are_refused(rng):
    with pytest.raises(ValueError, match=r"weights sum to 1\. Multiply them up"):
        debiased_calibration_error([0, 1], [0.2, 0.8], sample_weight=[0.5, 0.5])

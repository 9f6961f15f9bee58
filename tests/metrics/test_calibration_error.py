"""Binned calibration errors: other people's numbers, a slow reference, and properties."""

import calibration as kumar
import netcal.metrics
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from sksve.metrics import (
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
)
from tests.metrics.strategies import problems, tempered

NORMS = ["l1", "l2", "max"]
STRATEGIES = ["uniform", "quantile"]


def slow_error(conf, hit, weight, n_bins, norm):
    """The definition, row by row and bin by bin."""
    gaps, masses = [], []
    for b in range(n_bins):
        low, high = np.linspace(0, 1, n_bins + 1)[b : b + 2]
        inside = [i for i, v in enumerate(conf) if (low < v <= high) or (b == 0 and v == 0)]
        mass = sum(weight[i] for i in inside)
        if mass:
            gaps.append(abs(sum(weight[i] * (hit[i] - conf[i]) for i in inside)) / mass)
            masses.append(mass)
    gaps, masses = np.array(gaps), np.array(masses) / sum(masses)
    if norm == "max":
        return gaps.max()
    power = {"l1": 1, "l2": 2}[norm]
    return (masses @ gaps**power) ** (1 / power)


@given(problems(), st.integers(1, 20), st.sampled_from(NORMS), st.integers(0, 9))
def test_expected_calibration_error__equals_the_definition(problem, n_bins, norm, seed):
    y, p = problem
    weight = np.random.default_rng(seed).uniform(0.1, 3, len(y))
    labels = range(p.shape[1])
    slow = slow_error(p.max(axis=1), p.argmax(axis=1) == y, weight, n_bins, norm)
    ours = expected_calibration_error(
        y, p, labels=labels, sample_weight=weight, n_bins=n_bins, norm=norm
    )
    assert ours == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("n_classes", [3, 4, 10, 40])
@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_expected_calibration_error__equals_netcal_torchmetrics_and_kumar(n_classes, n_bins, rng):
    p = rng.dirichlet(np.ones(n_classes), size=1501)
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, 1501 - n_classes)])
    ours = expected_calibration_error(y, p, n_bins=n_bins)
    assert ours == pytest.approx(netcal.metrics.ECE(n_bins).measure(p, y), abs=1e-9)
    assert ours == pytest.approx(kumar.get_ece(p, y, num_bins=n_bins), abs=1e-9)
    for norm in NORMS:
        theirs = multiclass_calibration_error(
            torch.tensor(p), torch.tensor(y), num_classes=n_classes, n_bins=n_bins, norm=norm
        )
        ours = expected_calibration_error(y, p, n_bins=n_bins, norm=norm)
        # torchmetrics reduces confidences to float32 whatever it is given.
        assert ours == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("n", [15, 100, 1000, 1501])
def test_expected_calibration_error__quantile_bins_equal_kumar(n, rng):
    p = rng.dirichlet(np.ones(4), size=n)
    y = np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)])
    theirs = kumar.get_ece_em(p, y)
    assert expected_calibration_error(y, p, strategy="quantile") == pytest.approx(theirs, abs=1e-9)


def test_expected_calibration_error__quantile_bins_equal_netcal_where_rows_divide(rng):
    p = rng.dirichlet(np.ones(4), size=1500)
    y = rng.integers(0, 4, 1500)
    theirs = netcal.metrics.ECE(15, equal_intervals=False).measure(p, y)
    assert expected_calibration_error(y, p, strategy="quantile") == pytest.approx(theirs, abs=1e-9)


def test_maximum_calibration_error__equals_netcal(rng):
    p = rng.dirichlet(np.ones(5), size=700)
    y = rng.integers(0, 5, 700)
    assert maximum_calibration_error(y, p) == pytest.approx(netcal.metrics.MCE(15).measure(p, y))
    assert maximum_calibration_error(y, p) == expected_calibration_error(y, p, norm="max")


def test_expected_calibration_error__confidence_one_is_in_the_last_bin():
    """torchmetrics 1.9 puts confidence 1.0 in a sixteenth bin of its own (its issue 3510)."""
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.95, 0.05], [0.95, 0.05]])
    y = np.array([0, 1, 0, 0])
    # One bin holds all four rows: mean confidence 0.975, accuracy 0.75.
    assert expected_calibration_error(y, p) == pytest.approx(0.975 - 0.75, abs=1e-15)
    assert netcal.metrics.ECE(15).measure(p.max(axis=1), 1 - y) == pytest.approx(0.225)
    theirs = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), num_classes=2)
    # Two bins there: 1.0 against 1/2 and 0.95 against 1.
    assert float(theirs) == pytest.approx(0.5 * 0.5 + 0.5 * 0.05), "torchmetrics fixed its bug"


def test_expected_calibration_error__binary_is_top_label_where_netcal_takes_the_positive_class(rng):
    p1 = rng.uniform(size=500)
    y = (rng.uniform(size=500) < p1**2).astype(int)
    p = np.column_stack([1 - p1, p1])
    ours = expected_calibration_error(y, p)
    assert ours == pytest.approx(kumar.get_ece(p, y), abs=1e-9)
    assert ours == expected_calibration_error(y, p1)
    theirs = netcal.metrics.ECE(15).measure(p, y)
    assert theirs == pytest.approx(netcal.metrics.ECE(15).measure(p1, y), abs=1e-12)
    assert abs(ours - theirs) > 1e-3, "netcal no longer reduces two columns to the positive class"
    # What netcal computes there is our classwise error: with two classes the two halves mirror.
    assert classwise_calibration_error(y, p) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_classwise_calibration_error__equals_kumar_marginal(norm, strategy, rng):
    p = rng.dirichlet(np.ones(4), size=900)
    y = rng.integers(0, 4, 900)
    scheme = kumar.get_equal_bins if strategy == "quantile" else kumar.get_equal_prob_bins
    ours = classwise_calibration_error(y, p, norm=norm, strategy=strategy)
    power = {"l1": 1, "l2": 2}[norm]
    theirs = kumar.lower_bound_scaling_ce(
        p, y, p=power, debias=False, num_bins=15, binning_scheme=scheme, mode="marginal"
    )
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_classwise_calibration_error__max_is_the_largest_gap_of_any_class(rng):
    p = rng.dirichlet(np.ones(4), size=300)
    y = rng.integers(0, 4, 300)
    slow = max(slow_error(p[:, k], y == k, np.ones(300), 15, "max") for k in range(4))
    assert classwise_calibration_error(y, p, norm="max") == pytest.approx(slow, abs=1e-12)


METRICS = [expected_calibration_error, classwise_calibration_error]


@given(problem=problems(), n_bins=st.integers(1, 30), strategy=st.sampled_from(STRATEGIES))
def test_expected_calibration_error__is_between_0_and_1_and_norms_are_ordered(
    problem, n_bins, strategy
):
    y, p = problem
    l1, l2, most = (
        expected_calibration_error(
            y, p, labels=range(p.shape[1]), n_bins=n_bins, strategy=strategy, norm=norm
        )
        for norm in NORMS
    )
    assert 0 <= l1 <= l2 + 1e-12
    assert l2 <= most + 1e-12 <= 1 + 2e-12


@given(problem=problems())
def test_expected_calibration_error__one_bin_is_accuracy_against_confidence(problem):
    y, p = problem
    gap = abs((p.argmax(axis=1) == y).mean() - p.max(axis=1).mean())
    for strategy in STRATEGIES:
        ours = expected_calibration_error(
            y, p, labels=range(p.shape[1]), n_bins=1, strategy=strategy
        )
        assert ours == pytest.approx(gap, abs=1e-12)


@given(problem=problems())
def test_calibration_error__a_perfect_prediction_is_zero(problem):
    y, p = problem
    perfect = np.eye(p.shape[1])[y]
    for metric in [*METRICS, maximum_calibration_error]:
        assert metric(y, perfect, labels=range(p.shape[1])) == 0


def test_expected_calibration_error__ten_equal_rows_that_are_right_seven_times_are_calibrated():
    p = np.tile([0.7, 0.2, 0.1], (10, 1))
    y = [0] * 7 + [1] * 2 + [2]
    assert expected_calibration_error(y, p) == pytest.approx(0, abs=1e-15)
    assert classwise_calibration_error(y, p) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("order", ["C", "F"])
def test_expected_calibration_error__other_dtypes_and_layouts(dtype, order, rng):
    p = rng.dirichlet(np.ones(4), size=300).astype(dtype).astype(dtype, order=order)
    y = rng.integers(0, 4, 300)
    exact = p.astype(np.float64)
    exact = exact / exact.sum(axis=1, keepdims=True)
    ours = expected_calibration_error(y, p)
    assert ours == pytest.approx(netcal.metrics.ECE(15).measure(exact, y), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bins": 0}, r"'n_bins' parameter of expected_calibration_error must be an int.*Got 0"),
        ({"n_bins": 2.5}, "Got 2.5"),
        ({"strategy": "mass"}, "'uniform'.*Got 'mass'"),
        ({"norm": "l3"}, "'max'.*Got 'l3'"),
    ],
)
def test_expected_calibration_error__bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error([0, 1], [0.2, 0.8], **options)


@pytest.mark.parametrize("n", [20, 100, 1000, 3001])
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("power", [0.3, 1.0])
def test_debiased_calibration_error__equals_uncertainty_calibration(n, n_classes, power):
    y, p = tempered(0, n, power, n_classes)
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

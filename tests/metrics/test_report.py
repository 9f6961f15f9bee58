"""The summary: every headline metric with its interval."""

import pickle

import numpy as np
import pytest

from sksve import metrics
from sksve.metrics import calibration_report
from tests.metrics.strategies import tempered


@pytest.fixture(scope="module")
def data():
    y, p = tempered(0, 200, 0.5)
    return np.array(["a", "b", "c"])[y], p


@pytest.fixture(scope="module")
def report(data):
    return calibration_report(*data, n_resamples=100, random_state=0)


def test_calibration_report__values_are_the_functions_and_lie_in_their_intervals(data, report):
    y, p = data
    assert report["accuracy"].value == (np.array(["a", "b", "c"])[p.argmax(axis=1)] == y).mean()
    for name in report:
        value, low, high = report[name]
        assert low <= value <= high
        if name != "accuracy":
            assert value == pytest.approx(getattr(metrics, name)(y, p), abs=1e-12)
    assert {"expected_calibration_error", "brier_score", "negative_log_likelihood"} < set(report)
    assert len(report) == 11


def test_calibration_report__frame_repr_tests_and_pickle(report):
    frame = report.to_frame()
    assert list(frame.columns) == ["value", "low", "high"]
    assert frame.index.name == "metric"
    assert tuple(frame.loc["brier_score"]) == report["brier_score"]
    text = repr(report)
    assert "200 rows, 3 classes, 95 % intervals" in text
    assert f"{report['aurc'].value:.4f}" in text
    assert "spiegelhalter test" in text
    assert report.tests["resampling"].pvalue < 0.05
    assert repr(pickle.loads(pickle.dumps(report))) == text


def test_calibration_report__intervals_equal_bootstrap_interval(data, report):
    y, p = data
    for name in ("brier_score", "expected_calibration_error", "eaurc"):
        low, high = metrics.bootstrap_interval(
            getattr(metrics, name), y, p, n_resamples=2000, random_state=1
        )
        _, ours_low, ours_high = report[name]
        assert (ours_low, ours_high) == pytest.approx((low, high), abs=0.25 * (high - low))


def test_calibration_report__binary_weights_and_missing_class():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=60)
    weight = rng.integers(0, 3, 60)
    report = calibration_report(rng.random(60) < p, p, sample_weight=weight, n_resamples=20)
    assert report.n_samples == weight.sum()
    p = rng.dirichlet(np.ones(3), size=30)
    report = calibration_report(["b", "a"] * 15, p, labels=["a", "b", "c"], n_resamples=20)
    assert report.n_classes == 3
    fractions = calibration_report(
        ["b", "a"] * 15,
        p,
        labels=["a", "b", "c"],
        sample_weight=rng.uniform(0.5, 2, 30),
        n_resamples=20,
    )
    assert fractions.n_samples == 30
    with pytest.raises(ValueError, match="'n_resamples' parameter of calibration_report"):
        calibration_report(["b", "a"], [0.1, 0.2], n_resamples=1)

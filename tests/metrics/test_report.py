"""The summary: every headline metric with its interval."""

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import binomtest

from sksve import metrics
from sksve.metrics import calibration_report
from tests import private
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
    assert "brier score (0 to 2)" in text
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


# -- subgroups -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sites(data):
    return np.where(
        np.arange(200) % 3 == 0, "north", np.where(np.arange(200) % 3 == 1, "south", "east")
    )


def test_groups__every_row_is_the_report_of_its_group(data, sites):
    y, p = data
    report = calibration_report(y, p, groups=sites, n_resamples=50, random_state=0)
    assert list(report) == ["east", "north", "south"]
    frame = report.to_frame()
    assert list(frame.index) == list(report)
    for group in report:
        chosen = sites == group
        right = np.array(["a", "b", "c"])[p[chosen].argmax(axis=1)] == y[chosen]
        exact = binomtest(int(right.sum()), int(chosen.sum())).proportion_ci(method="exact")
        row = frame.loc[group]
        assert row["rows"] == chosen.sum()
        found = row[["accuracy", "accuracy_low", "accuracy_high"]].tolist()
        assert found == pytest.approx([right.mean(), exact.low, exact.high], abs=1e-12)
        own = metrics.expected_calibration_error(y[chosen], p[chosen], labels=["a", "b", "c"])
        assert row["expected_calibration_error"] == pytest.approx(own, abs=1e-12)
    assert (
        report.overall["accuracy"].value
        == calibration_report(y, p, n_resamples=2)["accuracy"].value
    )
    assert "3 groups" in repr(report)
    assert "equal accuracy: p = " in repr(report)
    assert repr(pickle.loads(pickle.dumps(report))) == repr(report)


def test_groups__rows_and_containers_in_any_form(data, sites):
    y, p = data
    first = calibration_report(y, p, groups=sites, n_resamples=20, random_state=0)
    for groups in (
        pd.Series(sites, dtype="category"),
        pl.Series(sites),
        sites.tolist(),
        sites[:, None],
    ):
        again = calibration_report(y, p, groups=groups, n_resamples=20, random_state=0)
        pd.testing.assert_frame_equal(again.to_frame(), first.to_frame())
    weight = np.where(sites == "east", 0.0, 1.0)
    two = calibration_report(
        y, p, groups=sites, sample_weight=weight, n_resamples=20, random_state=0
    )
    assert list(two) == ["north", "south"]
    assert two["north"]["accuracy"] == first["north"]["accuracy"]


WRONG_GROUPS = {
    "length": (np.zeros(7), r"groups must have shape \(200,\).*Got \(7,\)"),
    "two columns": (np.zeros((200, 2)), "Of several attributes make one"),
    "missing": (np.array([None] + ["a"] * 199), "1 missing entries"),
    "one group": (np.zeros(200), "at least two groups"),
}


@pytest.mark.parametrize("kind", WRONG_GROUPS)
def test_groups__wrong_ones_say_what_is_wrong(kind, data):
    groups, message = WRONG_GROUPS[kind]
    with pytest.raises(ValueError, match=message):
        calibration_report(*data, groups=groups, n_resamples=2)


def test_groups__the_tests_hold_their_level_and_see_a_difference():
    """Groups of 60 and 180 rows, the smaller one with more confident rows."""
    small, names = [], ("accuracy", "negative_log_likelihood", "brier_score", "overconfidence")
    group = np.repeat([0, 1], [60, 180])
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.uniform(size=240)
        y = rng.random(240) < p
        rows = private.Rows(1 * y, np.column_stack([1 - p, p]), None, np.arange(2))
        top = np.maximum(p, 1 - p), (p > 0.5) == y
        tests = private.equality_tests(rows, top, group, 49, rng)
        small.append([tests[name].pvalue <= 0.05 for name in names])
    assert (np.mean(small, axis=0) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)).all()
    y = np.where(group == 0, rng.random(240) < 0.5, y)
    report = calibration_report(y, p, groups=group, n_resamples=99, random_state=0)
    assert all(report.tests[name].pvalue < 0.05 for name in names)


def test_to_frame__without_pandas_names_the_extra(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'to_frame needs pandas.*pip install "sksve\[pandas\]"'):
        report.to_frame()
    with pytest.raises(ImportError, match="pandas"):
        metrics.Uncertainty.from_members(np.full((2, 3, 2), 0.5)).to_frame()

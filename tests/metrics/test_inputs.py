"""Labels of any kind, weights, and errors that say what is wrong; the same for every metric."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve import metrics
from tests.metrics.strategies import problems

METRICS = [
    metrics.expected_calibration_error,
    metrics.classwise_calibration_error,
    metrics.maximum_calibration_error,
    metrics.debiased_calibration_error,
    metrics.smooth_calibration_error,
    metrics.brier_score,
    metrics.negative_log_likelihood,
    metrics.aurc,
    metrics.eaurc,
    metrics.selective_accuracy,
    lambda *a, **k: metrics.brier_decomposition(*a, **k).reliability,
    lambda *a, **k: metrics.risk_coverage_curve(*a, **k).risk.sum(),
    lambda *a, **k: np.nansum(metrics.calibration_curve(*a, **k).interval),
    lambda *a, **k: metrics.calibration_test(*a, **k, test="spiegelhalter").statistic,
    lambda *a, **k: metrics.calibration_test(*a, **k, n_resamples=20, random_state=0).pvalue,
]
NAMES = [
    *(metric.__name__ for metric in METRICS[:10]),
    "brier_decomposition",
    "risk_coverage_curve",
    "calibration_curve",
    "spiegelhalter",
    "resampling",
]
every_metric = pytest.mark.parametrize("metric", METRICS, ids=NAMES)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return np.concatenate([[0, 1, 2], rng.integers(0, 3, 57)]), rng.dirichlet(np.ones(3), size=60)


KINDS = {
    "int8": lambda y: y.astype(np.int8),
    "uint64": lambda y: y.astype(np.uint64),
    "from one": lambda y: y + 1,
    "negative": lambda y: y - 5,
    "far apart": lambda y: y * 10**15,
    "float": lambda y: y / 2,
    "str": lambda y: np.array(["a", "b", "c"])[y],
    "object": lambda y: np.array(["a", "b", "c"], dtype=object)[y],
    "object ints": lambda y: y.astype(object),
    "list": lambda y: y.tolist(),
    "list of str": lambda y: np.array(["a", "b", "c"])[y].tolist(),
    "pandas": lambda y: pd.Series(y, index=np.arange(len(y)) + 7),
    "pandas str": lambda y: pd.Series(np.array(["a", "b", "c"])[y]),
    "pandas categorical": lambda y: pd.Series(np.array(["a", "b", "c"])[y], dtype="category"),
    "polars": lambda y: pl.Series(y),
    "polars str": lambda y: pl.Series(np.array(["a", "b", "c"])[y]),
}


@every_metric
@pytest.mark.parametrize("kind", KINDS)
def test_metrics__labels_of_any_kind(metric, kind, data):
    y, p = data
    assert metric(KINDS[kind](y), p) == metric(y, p)


@every_metric
def test_metrics__labels_name_the_columns_in_the_order_given(metric, data):
    y, p = data
    names = np.array(["c", "a", "b"])
    expected = pytest.approx(metric(y, p), rel=1e-12, abs=1e-12)
    assert metric(names[y], p, labels=["c", "a", "b"]) == expected
    assert metric(names[y].tolist(), pd.DataFrame(p), labels=["c", "a", "b"]) == expected
    # Without labels the columns are those of the sorted labels, a, b, c.
    assert metric(names[y], p[:, [1, 2, 0]]) == expected


@every_metric
def test_metrics__a_class_that_no_row_has(metric, data):
    y, p = data
    few = y < 2
    for names in (range(3), np.array(["a", "b", "c"])):
        value = metric(np.asarray(names)[y[few]], p[few], labels=names)
        assert np.isfinite(value)


@every_metric
def test_metrics__booleans_and_one_dimensional_probabilities(metric, data):
    y, p = data
    q = p[:, 0]
    two = np.column_stack([1 - q, q])
    expected = metric(y > 0, two)
    assert metric(y > 0, q) == expected
    assert metric(pd.Series(y > 0), pl.Series(q)) == expected
    assert metric(np.where(y > 0, "yes", "no"), q) == expected
    # The positive class is the second label.
    assert metric(np.where(y > 0, "no", "yes"), q, labels=["yes", "no"]) == expected


@every_metric
def test_metrics__rows_of_weight_zero_are_absent(metric, data):
    y, p = data
    weight = np.ones(60)
    weight[::5] = 0
    kept = weight > 0
    spoilt = p.copy()
    spoilt[~kept] = np.nan
    labels = y.astype(object)
    labels[~kept] = 99
    expected = metric(y[kept], p[kept], sample_weight=weight[kept])
    assert metric(labels, spoilt, sample_weight=weight) == expected
    assert expected == pytest.approx(metric(y[kept], p[kept]), abs=1e-12)


@every_metric
def test_metrics__rows_near_one_are_renormalised(metric, data):
    y, p = data
    scale = 1 + np.linspace(-9e-4, 9e-4, 60)
    assert metric(y, p * scale[:, None]) == pytest.approx(metric(y, p), abs=1e-9)


VARIANTS = dict(zip(NAMES, METRICS)) | {
    f"{metric.__name__}-{strategy}-{norm}": partial(metric, strategy=strategy, norm=norm)
    for metric in (metrics.expected_calibration_error, metrics.classwise_calibration_error)
    for strategy in ("uniform", "quantile")
    for norm in ("l1", "l2", "max")
}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "resampling"])
@given(problem=problems(), seed=st.integers(0, 99))
def test_metrics__order_of_rows_does_not_matter(name, problem, seed):
    y, p = problem
    metric, labels = VARIANTS[name], range(p.shape[1])
    mixed = np.random.default_rng(seed).permutation(len(y))
    expected = pytest.approx(metric(y, p, labels=labels), abs=1e-10)
    assert metric(y[mixed], p[mixed], labels=labels) == expected


@pytest.mark.parametrize("name", VARIANTS)
@given(problem=problems(), seed=st.integers(0, 99))
def test_metrics__weight_two_is_the_row_twice(name, problem, seed):
    y, p = problem
    # The curve has one point a row: the mean of its risks is the area, and that is what agrees.
    metric = metrics.aurc if name == "risk_coverage_curve" else VARIANTS[name]
    weight = np.random.default_rng(seed).integers(0, 4, len(y))
    weight[0] = 1
    labels = range(p.shape[1])
    twice = metric(np.repeat(y, weight), np.repeat(p, weight, axis=0), labels=labels)
    assert metric(y, p, labels=labels, sample_weight=weight) == pytest.approx(twice, abs=1e-10)


WRONG = [
    ([0, 1, 2], np.eye(3)[:2], {}, r"same number of rows. Got 3 labels.*\(2, 3\)"),
    ([[0, 1], [1, 0]], np.eye(2), {}, r"y_true must have shape \(n_samples,\).*\(2, 2\)"),
    ([0, 1], np.zeros((2, 2, 2)), {}, r"y_proba must have shape .*Got \(2, 2, 2\)"),
    ([0, 1], [[1.0], [1.0]], {}, r"Got \(2, 1\)"),
    ([], np.zeros((0, 2)), {}, "At least one row"),
    ([0, 1], [[0.5, 0.5], [np.nan, 1]], {}, "Row 1 holds NaN or infinity"),
    ([0, 1], [[0.5, 0.5], [np.inf, 1]], {}, "Row 1 holds NaN or infinity"),
    ([0, 1], [[0.5, 0.5], [1.5, -0.5]], {}, r"not below 0. Row 1 is \[1.5, -0.5\].*softmax"),
    ([0, 1], [[0.5, 0.5], [0.5, 0.502]], {}, "sum to 1 within 0.001. Row 1 sums to 1.002.*softmax"),
    ([0, 1], [0.5, 1.2], {}, r"must lie in \[0, 1\]. Row 1 holds 1.2.*sigmoid"),
    ([0, 1], [0.5, np.nan], {}, "Row 1 holds nan"),
    ([0, 1], [["a", "b"], ["c", "d"]], {}, "real numbers"),
    ([0, 1], [[1j, 0], [1, 0]], {}, "real numbers. Got dtype complex128"),
    (
        [0, 1],
        np.eye(3)[:2],
        {},
        r"2 different labels, but y_proba has 3 columns.*labels=.*\[0, 1\]",
    ),
    (["a", "b"], np.eye(3)[:2], {}, r"Pass labels=.*\['a', 'b'\]"),
    ([0, 7], np.eye(2), {"labels": [0, 1]}, r"not in labels: \[7\]. labels is \[0, 1\]"),
    (["a", "z"], np.eye(2), {"labels": ["a", "b"]}, r"not in labels: \['z'\]"),
    ([0.5, 1], np.eye(2), {"labels": [0, 1]}, r"not in labels: \[0.5\]"),
    (["0", "1"], np.eye(2), {"labels": [0, 1]}, "strings in y_true and numbers in labels"),
    ([0, 1], np.eye(2), {"labels": [0, 1, 2]}, r"2 columns, but labels has shape \(3,\)"),
    ([0, 1], np.eye(2), {"labels": [1, 1]}, "must differ"),
    (["a", None], np.eye(2), {}, "y_true has 1 missing labels"),
    (np.array(["a", 1], dtype=object), np.eye(2), {}, "labels of one kind. Got int, str"),
    ([0.0, np.nan], np.eye(2), {}, "y_true has 1 missing labels"),
    (
        [0, 1],
        np.eye(2),
        {"sample_weight": [1, 2, 3]},
        r"shape \(2,\), one weight a row. Got \(3,\)",
    ),
    ([0, 1], np.eye(2), {"sample_weight": [1, -1]}, "negative. Row 1 has -1"),
    ([0, 1], np.eye(2), {"sample_weight": [1, np.nan]}, "sample_weight must be finite"),
    ([0, 1], np.eye(2), {"sample_weight": [0, 0]}, "at least one non-zero"),
    ([0, 1], np.empty((2, 0)), {"labels": []}, r"n_classes >= 2.*Got \(2, 0\)"),
    ([0, 1], [[10**400, 0.5], [0.5, 0.5]], {}, "y_proba must hold real numbers"),
    ([0, 1], [[1e308, 1e308], [0.5, 0.5]], {}, "y_proba must be finite|sum to 1"),
    ([0, 1], [[np.inf, -np.inf], [0.5, 0.5]], {}, "y_proba must be finite"),
    ([0, 1], [[0.5, 0.5], [1.0]], {}, "y_proba must be an array. Its rows differ"),
    ([[0], [1, 2]], np.eye(2), {}, "y_true must be an array. Its rows differ"),
    ([0, 1], np.eye(2), {"labels": 3}, "labels must name every column"),
    ([0, 1], np.eye(2), {"sample_weight": [10**400, 1]}, "sample_weight must hold real"),
]


@pytest.mark.parametrize(("y", "p", "options", "message"), WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize(
    "metric", [metrics.expected_calibration_error, metrics.brier_score], ids=["chunked", "whole"]
)
def test_metrics__wrong_input_says_what_is_wrong(metric, y, p, options, message):
    with pytest.raises(ValueError, match=message):
        metric(y, p, **options)


def test_metrics__numpy_global_state_stays(data):
    y, p = data
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    metrics.calibration_report(y, p, n_resamples=20)
    metrics.calibration_test(y, p, n_resamples=20, random_state=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_metrics__inputs_are_not_written_to(data):
    y, p = data[0].copy(), data[1] * 1.0005
    weight = np.ones(60)
    for array in (y, p, weight):
        array.flags.writeable = False
    for metric in METRICS:
        metric(y, p, sample_weight=weight)


@pytest.mark.parametrize(
    "state", [0, np.random.default_rng(0), np.random.RandomState(0)], ids=["int", "gen", "rs"]
)
def test_random_state__kinds(state, data):
    y, p = data
    low, high = metrics.bootstrap_interval(
        metrics.brier_score, y, p, n_resamples=50, random_state=state
    )
    assert low < metrics.brier_score(y, p) < high


def test_random_state__the_same_int_gives_the_same_interval(data):
    y, p = data
    a, b, c = (
        metrics.bootstrap_interval(metrics.aurc, y, p, n_resamples=50, random_state=seed)
        for seed in (1, 1, 2)
    )
    assert a == b != c
    with pytest.raises(ValueError, match="random_state must be None, an int"):
        metrics.bootstrap_interval(metrics.aurc, y, p, random_state="x")


def test_labels__that_only_python_can_hold():
    y, p = [10**400, -(10**400), 10**400], [[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]]
    assert metrics.brier_score(y, p) == metrics.brier_score([1, 0, 1], p)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_faults__beyond_the_range_of_floats_and_ragged_labels(metric):
    huge = np.full((4, 3), 1e308)  # sums overflow: told in words, without a warning of numpy's
    with pytest.raises(ValueError, match=r"y_proba must sum to 1|must be finite|negative"):
        metric([0, 1, 2, 0], huge)
    with pytest.raises(ValueError, match=r"labels must be an array\. Its rows"):
        metric([0, 1, 1, 0], np.full((4, 2), 0.5), labels=[[0], [1, 2]])


def test_weights__the_smallest_floats_keep_their_digits(rng):
    y, p = rng.integers(0, 3, 30), rng.dirichlet(np.ones(3), 30)
    weight = rng.integers(1, 9, 30) * 1.0
    tiny = weight * 5e-324  # exact: whole multiples of the smallest float
    expected = metrics.brier_decomposition(y, p, sample_weight=weight)
    got = metrics.brier_decomposition(y, p, sample_weight=tiny)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    far_apart = 10.0 ** np.linspace(-300, 300, 30)  # one row is all that counts
    parts = metrics.brier_decomposition(y, p, sample_weight=far_apart)
    np.testing.assert_allclose(
        parts.reliability - parts.resolution + parts.uncertainty,
        metrics.brier_score(y, p, sample_weight=far_apart),
        rtol=1e-12,
    )
    score = metrics.brier_score(y, p, sample_weight=tiny)
    np.testing.assert_allclose(score, metrics.brier_score(y, p, sample_weight=weight), rtol=1e-12)

"""Labels and probabilities in frames, tensors, Arrow and masked arrays: the same value, or one sentence."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sksve import metrics
from tests.metrics.strategies import problems

FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "record batch": lambda frame: pa.RecordBatch.from_pandas(frame, preserve_index=False),
    "nullable": pd.DataFrame.convert_dtypes,
    "Float64": lambda frame: frame.astype("Float64"),
    "arrow doubles": lambda frame: frame.astype("double[pyarrow]"),
    "categorical names": lambda frame: frame.set_axis(pd.CategoricalIndex(frame.columns), axis=1),
}
every_frame = pytest.mark.parametrize("kind", FRAMES)
NAMES = np.array(["ant", "bee", "cat"])
DATES = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], dtype="M8[ns]")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return np.concatenate([[0, 1, 2], rng.integers(0, 3, 57)]), rng.dirichlet(np.ones(3), size=60)


@every_frame
def test_frames__columns_are_found_by_name(kind, data):
    y, p = data
    mixed = FRAMES[kind](pd.DataFrame(p[:, [2, 0, 1]], columns=NAMES[[2, 0, 1]]))
    for metric in (
        metrics.negative_log_likelihood,
        metrics.expected_calibration_error,
        metrics.aurc,
    ):
        expected = pytest.approx(metric(y, p), abs=1e-12)
        assert metric(NAMES[y], mixed) == expected
        assert metric(NAMES[y], mixed, labels=["bee", "ant", "cat"]) == expected
    few = y < 2  # the frame names the class that no row has
    expected = metrics.brier_score(y[few], p[few], labels=range(3))
    part = FRAMES[kind](pd.DataFrame(p[few][:, [2, 0, 1]], columns=NAMES[[2, 0, 1]]))
    assert metrics.brier_score(NAMES[y[few]], part) == pytest.approx(expected, abs=1e-12)


LABELS = {
    "integers": (np.arange(3), ["2", "0", "1"]),
    "negative": (np.array([-1, 0, 1]), ["1", "-1", "0"]),
    "floats": (np.array([0.0, 0.5, 1.0]), ["1.0", "0.0", "0.5"]),
    "dates": (DATES, ["2022-01-01", "2020-01-01", "2021-01-01"]),
    "objects": (NAMES.astype(object), ["cat", "ant", "bee"]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_frames__names_are_strings_where_labels_are_not(kind, data):
    """polars and Arrow have no other names."""
    y, p = data
    labels, names = LABELS[kind]
    frame = pl.DataFrame(p[:, [2, 0, 1]], schema=names)
    expected = pytest.approx(metrics.negative_log_likelihood(y, p), abs=1e-12)
    assert metrics.negative_log_likelihood(labels[y], frame) == expected
    assert metrics.negative_log_likelihood(labels[y], frame, labels=labels) == expected
    own = pd.DataFrame(p[:, [2, 0, 1]], columns=pd.Index(labels[[2, 0, 1]]))
    assert metrics.negative_log_likelihood(labels[y], own) == expected


def test_frames__truth_values(data):
    y, p = data
    two = np.column_stack([p[:, 0], 1 - p[:, 0]])
    expected = pytest.approx(metrics.brier_score(y > 0, two), abs=1e-12)
    for frame in (
        pd.DataFrame(two[:, ::-1], columns=[True, False]),
        pl.DataFrame(two[:, ::-1], schema=["True", "False"]),
        pl.DataFrame(two[:, ::-1], schema=["true", "false"]),
    ):
        assert metrics.brier_score(y > 0, frame) == expected


@pytest.mark.parametrize(
    "frame", [pd.DataFrame, pl.DataFrame, lambda p: pl.DataFrame(p, schema=["0", "1", "2"])]
)
def test_frames__that_nobody_named_are_read_by_place(frame, data):
    y, p = data
    expected = pytest.approx(metrics.brier_score(y, p), abs=1e-12)
    assert metrics.brier_score(NAMES[y], frame(p)) == expected
    mixed = frame(p[:, [2, 0, 1]])
    assert metrics.brier_score(NAMES[y], mixed, labels=["cat", "ant", "bee"]) == expected


@given(problem=problems(), seed=st.integers(0, 99))
def test_frames__renaming_and_reordering_columns_changes_nothing(problem, seed):
    y, p = problem
    c = p.shape[1]
    order = np.random.default_rng(seed).permutation(c)
    names = np.array(["ant", "bee", "cat", "dog", "eel"])[
        np.random.default_rng(seed + 1).permutation(5)
    ][:c]
    frame = pd.DataFrame(p[:, order], columns=names[order])
    for metric in (metrics.brier_score, metrics.classwise_calibration_error):
        assert metric(names[y], frame) == pytest.approx(metric(y, p, labels=range(c)), abs=1e-12)


BAD_FRAMES = {
    "other names": (
        list("xyz"),
        r"named \['x', 'y', 'z'\], but the labels are \['ant', 'bee', 'cat'\]",
    ),
    "one other name": (["ant", "bee", "dog"], r"named \['ant', 'bee', 'dog'\]"),
    "another case": (["Ant", "Bee", "Cat"], "Rename the columns"),
    "no name": (["ant", None, "bee"], "1 of the 3 columns of y_proba have no name"),
    "NaN": (["ant", np.nan, "bee"], "1 of the 3 columns of y_proba have no name"),
    "twice": (["ant", "bee", "bee"], "different names"),
    "levels": (pd.MultiIndex.from_product([["p"], NAMES]), "names of 2 levels"),
    "two kinds": (["ant", "bee", 3], "Rename the columns"),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
@pytest.mark.parametrize("labels", [None, NAMES])
def test_frames__wrong_names_say_so(kind, labels, data):
    y, p = data
    columns, message = BAD_FRAMES[kind]
    with pytest.raises(ValueError, match=message):
        metrics.brier_score(NAMES[y], pd.DataFrame(p, columns=columns), labels=labels)


def test_series__of_the_other_class_is_refused(data):
    y, p = data
    answer = np.where(y > 0, "yes", "no")
    q = 1 - p[:, 0]
    expected = metrics.brier_score(answer, q)
    assert metrics.brier_score(answer, pd.Series(q, name="yes")) == expected
    assert metrics.brier_score(answer, pl.Series("score", q)) == expected
    assert metrics.brier_score(1 * (y > 0), pd.DataFrame({0: 1 - q, 1: q})[1]) == expected
    with pytest.raises(ValueError, match="positive class, yes, but the series is named 'no'"):
        metrics.brier_score(answer, pl.Series("no", 1 - q))
    with pytest.raises(ValueError, match="positive class, 1, but the series is named 0"):
        metrics.brier_score(1 * (y > 0), pd.DataFrame({0: 1 - q, 1: q})[0])


TENSORS = {
    "plain": lambda p: p,
    "float32": lambda p: p.float(),
    "gradient": lambda p: p.clone().requires_grad_(),
    "graph": lambda p: p.clone().requires_grad_() * 1.0,
    "parameter": torch.nn.Parameter,
    "half": lambda p: p.half(),
    "bfloat16": lambda p: p.bfloat16().requires_grad_(),
    "sparse": lambda p: p.to_sparse(),
    "rows": lambda p: list(p),
    "rows with gradient": lambda p: list(p.clone().requires_grad_()),
    "not contiguous": lambda p: p.T.contiguous().T,
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors__are_read_like_arrays(kind, data):
    y, p = data
    tensor = TENSORS[kind](torch.tensor(p))
    tolerance = {"half": 1e-3, "bfloat16": 5e-3, "float32": 1e-6}.get(kind, 1e-12)
    expected = pytest.approx(metrics.brier_score(y, p), abs=tolerance)
    assert metrics.brier_score(torch.tensor(y), tensor) == expected
    assert (
        metrics.brier_score(list(torch.tensor(y)), tensor, sample_weight=torch.ones(60)) == expected
    )
    entropy = metrics.predictive_entropy(torch.tensor(p)[None].bfloat16())
    np.testing.assert_allclose(entropy, metrics.predictive_entropy(p[None]), atol=0.02)


def test_tensors__without_numbers_say_so(data):
    y, p = data
    with pytest.raises(ValueError, match=r"y_proba cannot be read as a numpy array: .*meta"):
        metrics.brier_score(y, torch.tensor(p).to("meta"))


COLUMNS = {
    "arrow": pa.array,
    "chunked": lambda y: pa.chunked_array([y[:7], y[7:]]),
    "dictionary": lambda y: pa.array(y).dictionary_encode(),
    "nullable": lambda y: pd.Series(y).convert_dtypes(),
    "pandas arrow": lambda y: pd.Series(pa.array(y).to_pandas()).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "polars": pl.Series,
    "one column": lambda y: pd.DataFrame({"y": y}),
    "masked, nothing missing": lambda y: np.ma.array(y, mask=np.zeros(60, dtype=bool)),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_labels__of_any_column_type(kind, data):
    y, p = data
    expected = metrics.brier_score(y, p)
    for labels in (np.arange(3), NAMES, np.array([0.0, 0.5, 1.0])):
        assert metrics.brier_score(COLUMNS[kind](labels[y]), p) == expected
    truth = metrics.brier_score(y > 0, 1 - p[:, 0])
    assert metrics.brier_score(COLUMNS[kind](y > 0), 1 - p[:, 0]) == truth


def test_probabilities__in_a_column_of_lists(data):
    y, p = data
    expected = metrics.brier_score(y, p)
    rows = p.tolist()
    for column in (
        pl.Series(rows),
        pa.array(rows),
        pa.array(rows, pa.list_(pa.float64(), 3)),
        pd.Series(rows),
    ):
        assert metrics.brier_score(y, column) == pytest.approx(expected, abs=1e-12)


MISSING = {
    "nullable": (pd.array([0, None, 1], dtype="Int64"), "1 missing labels"),
    "string": (pd.array(["a", None, "b"], dtype="string"), "1 missing labels"),
    "boolean": (pd.array([True, None, False], dtype="boolean"), "1 missing labels"),
    "arrow": (pa.array(["a", None, None]), "2 missing labels"),
    "polars": (pl.Series([1, None, 2]), "1 missing labels"),
    "dates": (np.array(["2020", "NaT", "2021"], dtype="M8[D]"), "1 missing labels"),
    "categorical": (pd.Categorical(["a", None, "b"]), "1 missing labels"),
    "masked": (np.ma.array([0, 1, 0], mask=[0, 1, 0]), "masked array with 1 masked"),
    "all": (np.array([None, None, None]), "3 missing labels"),
}


@pytest.mark.parametrize("kind", MISSING)
def test_labels__missing_ones_say_so(kind):
    y, message = MISSING[kind]
    with pytest.raises(ValueError, match=message):
        metrics.brier_score(y, [0.1, 0.2, 0.3])


def test_probabilities__missing_ones_say_so(data):
    y, p = data
    frame = pd.DataFrame(p, columns=NAMES).astype("Float64")
    frame.iloc[4, 1] = pd.NA
    spoilt = np.ma.array(p, mask=np.zeros((60, 3), dtype=bool))
    spoilt[4, 1] = np.ma.masked
    lazy = pl.DataFrame(p, schema=NAMES.tolist()).lazy()
    for bad, message in (
        (frame, "Row 4 holds NaN"),
        (spoilt, "1 masked"),
        (lazy, r"y_proba\.collect\(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.brier_score(NAMES[y], bad)


def test_members__frames_with_columns_in_different_orders(rng):
    members = rng.dirichlet(np.ones(3), size=(2, 5))
    frames = [
        pd.DataFrame(members[0], columns=NAMES),
        pd.DataFrame(members[1][:, [1, 2, 0]], columns=NAMES[[1, 2, 0]]),
    ]
    expected = metrics.mutual_information(members)
    np.testing.assert_allclose(metrics.mutual_information(frames), expected, atol=1e-12)
    frames[1].columns = ["ant", "bee", "dog"]
    with pytest.raises(ValueError, match="Rename the columns"):
        metrics.mutual_information(frames)

"""TabularToText: the same table in any container gives the same texts."""

import copy
import pickle
from collections import deque

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import _NotAnArray

from sksve.preprocessing import TabularToText

ROWS = [[39, 0.1, "nurse"], [47, 2.5, "cook"]]
TEXTS = ["x0: 39; x1: 0.1; x2: nurse", "x0: 47; x1: 2.5; x2: cook"]
FRAME = {"age": [39, 47], "dose": [0.1, 2.5], "job": ["nurse", "cook"]}
NAMED = ["age: 39; dose: 0.1; job: nurse", "age: 47; dose: 2.5; job: cook"]


def texts_of(X, **params):
    return TabularToText(**params).fit_transform(X).tolist()


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        pytest.param(ROWS, TEXTS, id="list of lists"),
        pytest.param([tuple(row) for row in ROWS], TEXTS, id="list of tuples"),
        pytest.param([np.array(row, dtype=object) for row in ROWS], TEXTS, id="list of arrays"),
        pytest.param(deque(ROWS), TEXTS, id="deque"),
        pytest.param(np.array(ROWS, dtype=object), TEXTS, id="object array"),
        pytest.param(_NotAnArray(np.array(ROWS, dtype=object)), TEXTS, id="not an array"),
        pytest.param(pd.DataFrame(ROWS), TEXTS, id="frame with integer names"),
        pytest.param(pd.DataFrame(FRAME), NAMED, id="pandas"),
        pytest.param(pd.DataFrame(FRAME).convert_dtypes(), NAMED, id="pandas' own types"),
        pytest.param(pd.DataFrame(FRAME).astype({"job": "category"}), NAMED, id="categories"),
        pytest.param(pd.DataFrame(FRAME).astype({"dose": "float32"}), NAMED, id="float32 column"),
        pytest.param(pl.DataFrame(FRAME), NAMED, id="polars"),
        pytest.param(pa.table(FRAME), NAMED, id="pyarrow"),
        pytest.param(pl.DataFrame(FRAME).cast({"dose": pl.Float32}), NAMED, id="polars float32"),
    ],
)
def test_transform__same_table_same_texts(X, expected):
    got = TabularToText().fit_transform(X)
    assert got.shape == (2,)
    assert got.dtype == object
    assert got.tolist() == expected
    assert {type(text) for text in got} == {str}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, object])
def test_transform__numbers_of_any_type(dtype):
    X = np.array([[1.0, -2.5], [0.25, 1024.0]])
    assert texts_of(X.astype(dtype)) == ["x0: 1; x1: -2.5", "x0: 0.25; x1: 1024"]
    assert texts_of(X.astype(dtype).tolist()) == texts_of(X)


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_transform__dates_of_any_container(unit):
    days = np.array([["2020-01-02"], ["NaT"], ["1969-12-31"]], dtype=f"datetime64[{unit}]")
    expected = ["x0: 2020-01-02", "", "x0: 1969-12-31"]
    assert texts_of(days) == expected
    assert texts_of(days.tolist() if unit != "ns" else [list(row) for row in days]) == expected
    assert texts_of(pd.DataFrame({"x0": days[:, 0]})) == expected
    assert texts_of(pl.DataFrame({"x0": days[:, 0].astype("datetime64[ms]")})) == expected


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_transform__an_int_column_with_a_missing_cell_reads_as_before(frame):
    whole = frame({"a": [1, 123_456_789, 3], "b": ["p", "q", "r"]})
    holed = frame({"a": [1, 123_456_789, None], "b": ["p", "q", "r"]})
    assert texts_of(whole)[:2] == texts_of(holed)[:2] == ["a: 1; b: p", "a: 123456789; b: q"]
    assert texts_of(holed)[2] == "b: r"


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_transform__a_float_neighbour_does_not_change_a_large_integer(frame):
    X = frame({"id": [2**53 + 1, 2**53 + 3], "b": [0.5, 1.5]})
    assert texts_of(X) == ["id: 9007199254740993; b: 0.5", "id: 9007199254740995; b: 1.5"]


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**53), 2**53),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.text(max_size=5),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_transform__container_does_not_matter(rows):
    as_list = texts_of([list(row) for row in rows])
    table = np.array(rows, dtype=object)
    assert texts_of(table) == as_list
    frame = pd.DataFrame({f"x{i}": table[:, i].tolist() for i in range(3)})
    assert texts_of(frame) == as_list
    assert texts_of(frame.astype({"x1": "float32", "x0": "Int64"})) == as_list
    polar = pl.DataFrame({f"x{i}": table[:, i].tolist() for i in range(3)})
    assert texts_of(polar) == as_list


@given(st.permutations(range(5)))
def test_transform__a_text_depends_on_its_row_only(order):
    X = np.arange(10.0).reshape(5, 2)
    X[2, 1] = np.nan
    fitted = TabularToText().fit(X)
    every = fitted.transform(X)
    assert fitted.transform(X[order]).tolist() == every[order].tolist()
    assert [fitted.transform(X[[i]])[0] for i in range(5)] == every.tolist()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"template": "The {name} is {value}.", "separator": " "},
            "The age is 39. The job is cook.",
        ),
        ({"template": "{value}", "separator": ","}, "39,cook"),
        ({"template": "{{{name}}}={value:>4}"}, "{age}=  39; {job}=cook"),
        ({"columns": ["job", "age"]}, "job: cook; age: 39"),
        ({"columns": [1], "missing": "?"}, "dose: ?"),
        ({"columns": [-1, "age"]}, "job: cook; age: 39"),
        ({"columns": np.array([2, 1]), "missing": "unknown"}, "job: cook; dose: unknown"),
        ({"names": {"job": "profession"}}, "age: 39; profession: cook"),
        ({"names": ["a", "b", "c"], "columns": ["job", 0]}, "c: cook; a: 39"),
        ({"missing": ""}, "age: 39; dose: ; job: cook"),
    ],
)
def test_transform__parameters(params, expected):
    frame = pd.DataFrame({"age": [39], "dose": [None], "job": ["cook"]})
    assert texts_of(frame, **params) == [expected]


def test_transform__a_row_without_values_is_the_empty_text():
    assert texts_of([[None, np.nan], [1, None]]) == ["", "x0: 1"]


def test_transform__braces_in_cells_and_names_are_only_text():
    assert texts_of(pd.DataFrame({"{value}": ["{name}"]})) == ["{value}: {name}"]


def test_transform__a_cell_may_be_any_object():
    class Odd:
        def __str__(self):
            return "odd"

        def __eq__(self, other):
            raise RuntimeError("not comparable")

        __hash__ = None

    rows = [[Odd(), [1, 2], {"a": None}, (3,), b"x"], [Odd(), [], {}, (), b""]]
    assert texts_of(rows)[0] == "x0: odd; x1: [1, 2]; x2: {'a': None}; x3: (3,); x4: b'x'"


def test_transform__leaves_its_input_alone():
    X = np.array([[1.0, np.nan]])
    X.setflags(write=False)
    frame = pd.DataFrame(FRAME)
    before = frame.copy()
    TabularToText().fit_transform(X)
    TabularToText().fit_transform(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_fit__attributes():
    fitted = TabularToText(columns=["job", "age"]).fit(pd.DataFrame(FRAME))
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["age", "dose", "job"]
    assert fitted.columns_.tolist() == [2, 0]
    assert fitted.names_ == ["job", "age"]
    assert not hasattr(TabularToText().fit(ROWS), "feature_names_in_")


@pytest.mark.parametrize("frames", [False, True])
def test_output__inside_a_column_transformer(frames):
    X = pd.DataFrame(FRAME)
    writer = TabularToText(as_column=not frames)
    both = make_column_transformer(
        (writer, ["age", "job"]), (FunctionTransformer(feature_names_out="one-to-one"), ["dose"])
    )
    both.set_output(transform="pandas" if frames else "default")
    made = both.fit_transform(X)
    assert np.asarray(made).tolist() == [["age: 39; job: nurse", 0.1], ["age: 47; job: cook", 2.5]]
    names = ["tabulartotext__text", "functiontransformer__dose"]
    assert both.get_feature_names_out().tolist() == names
    assert not frames or list(made.columns) == names


@pytest.mark.parametrize("copied", [clone, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies__write_the_same(copied):
    fitted = TabularToText(columns=["job"], names={"job": "work"}).fit(pd.DataFrame(FRAME))
    again = copied(fitted)
    assert again.get_params() == fitted.get_params()
    assert again.fit_transform(pd.DataFrame(FRAME)).tolist() == ["work: nurse", "work: cook"]


def test_pipeline__with_a_text_vectoriser():
    X = pd.DataFrame({"colour": ["red", "blue"] * 10, "size": [1, 2] * 10})
    y = np.array(["r", "b"] * 10)
    pipe = make_pipeline(TabularToText(), CountVectorizer(), LogisticRegression()).fit(X, y)
    assert pipe.predict(X.iloc[:2]).tolist() == ["r", "b"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("annual_income", "annual income"),
        ("AnnualIncome", "annual income"),
        ("annualIncome", "annual income"),
        ("StreamingTV", "streaming TV"),
        ("IDNumber", "ID number"),
        ("dti.30d__past", "dti 30d past"),
        ("  two  words ", "two words"),
        ("x0", "x0"),
        ("ID", "ID"),
        ("Größe", "größe"),
        ("_", "_"),
    ],
)
def test_names__are_written_as_people_do(name, written):
    assert texts_of(pd.DataFrame({name: [1]})) == [f"{written}: 1"]
    assert texts_of(pd.DataFrame({name: [1]}), humanize=False) == [f"{name}: 1"]
    assert texts_of(pd.DataFrame({name: [1]}), names=["a_B"]) == ["a_B: 1"]


def test_names__that_would_read_alike_stay_apart():
    X = pd.DataFrame({"net_pay": [1], "NetPay": [2], "tax_paid": [3]})
    assert texts_of(X) == ["net_pay: 1; NetPay: 2; tax paid: 3"]


def sentence(name, value):
    return f"{name.upper()} = <{value}>"


def test_template__may_be_callable():
    X = pd.DataFrame({"age": [39, None], "job": ["nurse", "cook"]})
    got = TabularToText(sentence, separator=" ").fit(X)
    expected = ["AGE = <39> JOB = <nurse>", "JOB = <cook>"]
    assert got.transform(X).tolist() == expected
    assert clone(got).fit(X).transform(X).tolist() == expected
    assert pickle.loads(pickle.dumps(got)).transform(X).tolist() == expected
    with pytest.raises(ValueError, match=r"must return a str. Got 2 for 'age' and '39'"):
        TabularToText(lambda name, value: len(value)).fit_transform(X)
    with pytest.raises(ValueError, match="fails on 'age' and '39' with TypeError"):
        TabularToText(int).fit_transform(X)  # takes no two strings


LONG = [f"a note of many words, number {i}" for i in range(4)]


def test_text_columns__stand_last_and_whole():
    X = pd.DataFrame({"note": LONG, "age": range(4), "memo": LONG[::-1], "job": ["a", "b"] * 2})
    fitted = TabularToText().fit(X)
    assert fitted.columns_.tolist() == [1, 3, 0, 2]
    assert fitted.text_columns_.tolist() == [0, 2]
    assert fitted.transform(X)[1] == f"age: 1; job: b; note: {LONG[1]}; memo: {LONG[2]}"
    named = texts_of(X, text_columns=["memo", "note"])
    assert named[1] == f"age: 1; job: b; memo: {LONG[2]}; note: {LONG[1]}"
    assert texts_of(X, text_columns=[])[1] == f"note: {LONG[1]}; age: 1; memo: {LONG[2]}; job: b"
    chosen = ["note", "age"]  # the user's order is kept
    assert texts_of(X, columns=chosen)[1] == f"note: {LONG[1]}; age: 1"
    assert texts_of(X, columns=chosen, text_columns=["note"])[1] == f"age: 1; note: {LONG[1]}"
    with pytest.raises(
        ValueError, match=r"'text_columns' has \['memo'\], which 'columns' leaves out"
    ):
        texts_of(X, columns=chosen, text_columns=["memo"])
    with pytest.raises(ValueError, match=r"'text_columns' has 'nite'.*Did you mean 'note'"):
        texts_of(X, text_columns=["nite"])


@pytest.mark.parametrize(
    "cells",
    [
        ["Bank transfer (automatic)", "cash", "Bank transfer (automatic)", "cash"],
        ["of more than four words"] * 4,  # a category
        [*LONG[:3], 4],
        [None] * 4,
        [1, 2, 3, 4],
    ],
    ids=["short", "repeated", "mixed", "missing", "numbers"],
)
def test_text_columns__auto_is_cautious(cells):
    X = pd.DataFrame({"a": pd.Series(cells, dtype=object), "b": range(4)})
    assert TabularToText().fit(X).text_columns_.tolist() == []


@pytest.mark.parametrize(
    ("X", "match"),
    [
        ([[1, 2], [3]], r"Row 0 has 2, row 1 has 1"),
        ([1, 2, 3], "Reshape your data"),
        (["one text"], "Reshape your data"),
        (pd.Series([1, 2]), "Expected a 2-dimensional container"),
        ([{"a": 1}], "Reshape your data"),
        (np.zeros((2, 2), dtype=complex), "Complex data not supported"),
        (np.zeros((0, 2)), r"0 sample\(s\)"),
        ([[], []], r"0 feature\(s\)"),
        ((row for row in ROWS), r"Got generator instead: pass list\(X\)"),
        ({"a": [1, 2]}, r"Got dict instead: pass pandas.DataFrame\(X\)"),
        (np.zeros((2, 2, 2)), "dim 3"),
    ],
)
def test_fit__malformed_table(X, match):
    with pytest.raises(ValueError, match=match):
        TabularToText().fit(X)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"template": "{name}"}, r"must contain \{value\}.*Got '\{name\}' instead"),
        ({"template": "{value} {other}"}, "no other field"),
        ({"template": "{value.__class__}"}, "no other field"),
        ({"template": "{value} {"}, "no other field"),
        ({"template": "{} {value}"}, "no other field"),
        ({"template": "{value:{name}}"}, "no other field"),
        ({"template": "{value:d}"}, "no other field"),
        ({"columns": ["jop"]}, r"has 'jop'.*it has 3: 'age', 'dose', 'job'. Did you mean 'job'\?"),
        ({"columns": [3]}, "'columns' has 3. X has no such column"),
        ({"columns": [0, "age"]}, "each only once"),
        ({"columns": []}, "at least one column"),
        ({"columns": [True]}, "has True"),
        ({"names": ["a"]}, r"which has 3. Got 1 instead"),
        ({"names": {"jop": "x"}}, r"'names' has 'jop'.*Did you mean 'job'"),
        ({"digits": 0, "missing": None}, "(?s)'digits' parameter.*'missing' parameter"),
    ],
)
def test_fit__malformed_parameter(params, match):
    with pytest.raises(ValueError, match=match):
        TabularToText(**params).fit(pd.DataFrame(FRAME))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_transform__finds_the_columns_of_a_frame_by_name(frame):
    fitted = TabularToText().fit(pd.DataFrame(FRAME))
    shuffled = {"job": FRAME["job"], "extra": [1, 2], "dose": FRAME["dose"], "age": FRAME["age"]}
    assert fitted.transform(frame(shuffled)).tolist() == NAMED
    with pytest.raises(
        ValueError, match=r"(?s)feature names should match.*missing:\n- dose\n- job"
    ):
        fitted.transform(frame({"age": FRAME["age"], "jobs": FRAME["job"]}))


def test_transform__other_columns_than_in_fit():
    fitted = TabularToText().fit(pd.DataFrame(FRAME))
    twice = pd.DataFrame([[1, 2, 3, 4]], columns=["age", "dose", "job", "job"])
    with pytest.raises(ValueError, match="more than one column of the name 'job'"):
        fitted.transform(twice)
    with pytest.raises(ValueError, match="X has 2 features, but TabularToText is expecting 3"):
        TabularToText().fit(ROWS).transform([[1, 2]])


def test_transform__unfitted():
    with pytest.raises(NotFittedError):
        TabularToText().transform(ROWS)

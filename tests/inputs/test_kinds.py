"""What X is, told by its shape and cells."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve._exceptions import NotTextError
from sksve.inputs import read_rows
from sksve.preprocessing._cell import is_missing

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8)


@given(texts)
def test__read_rows__returns_texts_as_they_are(X):
    for held in (X, tuple(X), np.array(X, dtype=object), pd.Series(X, dtype=object), pl.Series(X)):
        rows = read_rows(held)
        assert rows.kind == "text"
        assert rows.rows == X
        assert all(type(text) is str for text in rows.rows)
    column = read_rows([[text] for text in X])
    assert column.kind == "text_column"
    assert column.rows == X


def test__read_rows__cells_of_a_list_may_be_lists_themselves():
    cells = [(1, 2), [1, [2]], 3]
    for X in ([cells, [1, 2, 3]], [[1, 2, 3], cells]):
        rows = read_rows(X)
        assert (rows.kind, len(rows)) == ("table", 2)


@pytest.mark.parametrize("shape", [(0, 3), (0, 1), (0, 28, 28)], ids=str)
def test__read_rows__no_rows_of_any_width_are_refused(shape):
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        read_rows(np.empty(shape))


@given(texts, st.data())
def test__read_rows__names_the_row_of_a_missing_text(X, data):
    row = data.draw(st.integers(0, len(X)))
    missing = data.draw(st.sampled_from([None, np.nan, pd.NA, pd.NaT, np.float32("nan")]))
    with pytest.raises(ValueError, match=f"missing text: row {row} is"):
        read_rows([*X[:row], missing, *X[row:]])


@given(texts, st.data())
def test__read_rows__names_the_row_that_is_no_text(X, data):
    row = data.draw(st.integers(0, len(X)))
    wrong = data.draw(st.sampled_from([1, 2.5, True, b"bytes", {"a": 1}, object]))
    with pytest.raises(NotTextError, match=rf"Row {row} is {type(wrong).__name__}\b") as info:
        read_rows([*X[:row], wrong, *X[row:]])
    assert isinstance(info.value, ValueError)
    assert isinstance(info.value, TypeError)


def test__read_rows__names_the_row_that_makes_no_table():
    with pytest.raises(NotTextError, match="Row 0 is list, row 1 is str: 'b'"):
        read_rows([["a"], "b"])
    with pytest.raises(ValueError, match="Row 0 has 1 cells, row 2 has 2"):
        read_rows([["a"], ["b"], ["c", "d"]])


@pytest.mark.parametrize(
    ("X", "kind", "n"),
    [
        ([[1, 2], [3, 4], [5, 6]], "table", 3),
        ([("a", 1)], "table", 1),
        ([["a", "b"], ["c", "d"]], "table", 2),
        (np.zeros((4, 1)), "table", 4),
        (np.array([["a", "b"]]), "table", 1),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "table", 2),
        (pd.DataFrame({"a": [1, 2]}), "table", 2),
        (pd.DataFrame({"a": ["x", "y"]}), "text_column", 2),
        (pl.DataFrame({"a": ["x", "y"]}), "text_column", 2),
        (np.array([["x"], ["y"]]), "text_column", 2),
        (pd.Series(["x"], dtype="category"), "text", 1),
    ],
)
def test__read_rows__tells_the_kind(X, kind, n):
    rows = read_rows(X)
    assert (rows.kind, len(rows)) == (kind, n)


def test__read_rows__keeps_the_index_of_pandas_only():
    assert read_rows(["a"]).index is None
    assert read_rows(("a",)).index is None
    assert read_rows(pl.Series(["a"])).index is None
    assert read_rows(pd.Series(["a"], index=["row"])).index.tolist() == ["row"]
    assert read_rows(pd.DataFrame({"a": [1]}, index=["row"])).index.tolist() == ["row"]


def test__read_rows__names_a_text_that_cannot_be_encoded():
    with pytest.raises(ValueError, match=r"row 1 of X is broken.*ud83d"):
        read_rows(["fine é 😀", "half a \ud83d pair"])


@pytest.mark.parametrize("cell", [None, np.nan, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT")])
def test__is_missing__knows_every_missing_value(cell):
    assert is_missing(cell)


@pytest.mark.parametrize("cell", ["", "nan", 0, False, "None", np.inf, [], np.array([1, 2])])
def test__is_missing__takes_no_value_for_missing(cell):
    assert not is_missing(cell)

"""What X is, told by its shape and cells; two columns of texts, where they are asked for."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve.inputs import read_rows

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
    with pytest.raises(ValueError, match=rf"Row {row} is {type(wrong).__name__}\b") as info:
        read_rows([*X[:row], wrong, *X[row:]])
    assert isinstance(info.value, TypeError)


def test__read_rows__names_the_row_that_makes_no_table():
    with pytest.raises(TypeError, match="Row 0 is list, row 1 is str: 'b'"):
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


# -- pairs ---------------------------------------------------------------------------------------

PAIRS = [("good film", "bad"), ("a", "b c"), ("", "worst"), ("", "")]
FORMS = {
    "tuples": lambda p: p,
    "lists": lambda p: [list(pair) for pair in p],
    "array": np.array,
    "object-array": lambda p: np.array(p, dtype=object),
    "pandas": lambda p: pd.DataFrame(p, columns=["a", "b"]),
    "polars": lambda p: pl.DataFrame(p, schema=["a", "b"], orient="row"),
}


@pytest.mark.parametrize("form", FORMS)
def test_read_pairs__reads_the_same_from_every_form(form):
    rows = read_rows(FORMS[form](PAIRS), pairs=True)
    assert (rows.kind, len(rows)) == ("text_pair", 4)
    assert rows.rows == PAIRS
    assert all(type(text) is str for pair in rows.rows for text in pair)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (["a", "b"], r"two columns of texts.*Got shape \(2,\)"),
        ("ab", "two columns of texts.*Got str"),
        ([("a", "b", "c")], r"Got shape \(1, 3\)"),
        (np.zeros((2, 3)), r"Got shape \(2, 3\)"),
        ([("a", "b"), ("c", None)], "missing text: row 1, column 1 is None"),
        (pd.DataFrame({"a": ["x", np.nan], "b": ["y", "z"]}), "missing text: row 1, column 0"),
        ([("a", "b"), (3, "c")], "Row 1, column 0 is int"),
        (np.zeros((2, 2)), "Row 0, column 0 is float"),
        ([("a", "half a \ud83d")], "row 0, column 1 of X is broken"),
        (np.empty((0, 2), dtype=object), r"0 sample\(s\)"),
    ],
)
def test_read_pairs__names_the_fault(X, words):
    with pytest.raises(ValueError, match=words):
        read_rows(X, pairs=True)

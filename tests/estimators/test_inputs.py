"""What X may be: every container of the same texts gives the same answer, other kinds are refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

CONTAINERS = {
    "tuple": tuple,
    "ndarray-str": np.array,
    "ndarray-object": lambda t: np.array(t, dtype=object),
    "ndarray-StringDType": lambda t: np.array(t, dtype=np.dtypes.StringDType()),
    "list-of-numpy-str": lambda t: list(np.array(t)),
    "series-object": lambda t: pd.Series(t, dtype=object),
    "series-string": lambda t: pd.Series(t, dtype="string"),
    "series-category": lambda t: pd.Series(t, dtype="category"),
    "series-odd-index": lambda t: pd.Series(t, index=range(100, 100 - len(t), -1)),
    "series-repeated-index": lambda t: pd.Series(t, index=[0] * len(t)),
    "index": pd.Index,
    "polars-series": pl.Series,
}
COLUMNS = {
    "array-object": lambda t: np.array(t, dtype=object)[:, None],
    "array-str": lambda t: np.array(t)[:, None],
    "list-of-lists": lambda t: [[text] for text in t],
    "pandas": lambda t: pd.DataFrame({"review": t}),
    "pandas-odd-index": lambda t: pd.DataFrame({"review": t}, index=range(50, 50 + len(t))),
    "polars": lambda t: pl.DataFrame({"review": t}),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test__predict_proba__is_the_same_for_every_container_of_texts(container, fitted, texts):
    X = CONTAINERS[container](texts)
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(texts))


@pytest.mark.parametrize("container", CONTAINERS)
def test__fit__is_the_same_for_every_container_of_texts(container, make, fitted, texts, labels):
    clf = make().fit(CONTAINERS[container](texts), labels)
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))
    assert clf.input_kind_ == "text"
    assert not hasattr(clf, "n_features_in_")
    assert not hasattr(clf, "feature_names_in_")


@pytest.mark.parametrize("container", COLUMNS)
def test__fit__takes_a_column_of_texts_as_texts(container, make, fitted, texts, labels):
    X = COLUMNS[container](texts)
    clf = make().fit(X, labels)
    assert clf.input_kind_ == "text_column"
    assert clf.n_features_in_ == 1
    np.testing.assert_array_equal(clf.predict_proba(X), fitted.predict_proba(texts))
    if hasattr(X, "columns"):
        assert clf.feature_names_in_.tolist() == ["review"]


@pytest.fixture(scope="module")
def table():
    """Numbers that float32 holds exactly, so that every container holds the same values."""
    values = np.random.default_rng(0).integers(-8, 8, size=(12, 2)) / 4
    values[3, 1] = np.nan
    return values


@pytest.fixture(scope="module")
def fitted_table(make, table, labels):
    return make().fit(table, labels)


TABLES = {
    "list-of-lists": lambda v: v.tolist(),
    "list-of-tuples": lambda v: [tuple(row) for row in v.tolist()],
    "list-of-arrays": list,
    "tuple-of-tuples": lambda v: tuple(map(tuple, v.tolist())),
    "float32": lambda v: v.astype(np.float32),
    "object": lambda v: v.astype(object),
    "fortran": np.asfortranarray,
    "none-for-nan": lambda v: [[None if c != c else c for c in row] for row in v.tolist()],
}


@pytest.mark.parametrize("container", TABLES)
def test__predict_proba__is_the_same_for_every_container_of_a_table(container, fitted_table, table):
    assert fitted_table.input_kind_ == "table"
    assert fitted_table.n_features_in_ == 2
    X = TABLES[container](table)
    np.testing.assert_array_equal(fitted_table.predict_proba(X), fitted_table.predict_proba(table))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test__fit__on_a_frame_keeps_names_and_demands_them_again(frame, make, table, labels):
    columns = {"age": table[:, 0], "dose": table[:, 1]}
    clf = make(max_epochs=1).fit(frame(columns), labels)
    assert clf.feature_names_in_.tolist() == ["age", "dose"]
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame({"dose": table[:, 1], "age": table[:, 0]}))
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame({"age": table[:, 0], "weight": table[:, 1]}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        clf.predict(table)


def test__fit__takes_mixed_frames(make, labels):
    X = pd.DataFrame(
        {
            "job": ["nurse", None, "cook"] * 4,
            "age": [39, 47, None] * 4,
            "when": pd.to_datetime(["2020-01-01", "2021-05-05", None] * 4),
            "paid": [True, False, True] * 4,
        }
    )
    clf = make(max_epochs=1).fit(X, labels)
    proba = clf.predict_proba(X)
    assert clf.input_kind_ == "table"
    assert np.isfinite(proba).all()
    np.testing.assert_array_equal(proba[:3], proba[3:6])  # equal rows, equal answers


def test__fit__takes_one_column_of_numbers_as_a_table(make, labels):
    clf = make(max_epochs=1).fit(np.arange(12.0)[:, None], labels)
    assert clf.input_kind_ == "table"


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (np.zeros((2, 2)), "table"),
        ([["good film"], ["bad film"]], "text_column"),
        (pd.DataFrame({"a": ["good film"]}), "text_column"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_uncertainty"])
def test__predict__refuses_another_kind_than_that_of_fit(X, kind, method, fitted):
    with pytest.raises(ValueError, match=f"fitted on X of kind 'text'.*Got '{kind}'"):
        getattr(fitted, method)(X)


def test__predict__of_a_table_refuses_texts_and_another_width(fitted_table, texts):
    with pytest.raises(ValueError, match=r"kind 'table'.*Got 'text'"):
        fitted_table.predict(texts)
    with pytest.raises(ValueError, match="X has 3 features, but SVEClassifier is expecting 2"):
        fitted_table.predict(np.zeros((2, 3)))


def test__serializer__writes_the_rows(make, table, labels):
    from sksve.preprocessing import TabularToText

    serializer = TabularToText(template="{value}", separator=" ")
    X = pd.DataFrame({"a": table[:, 0], "b": table[:, 1]})
    clf = make(serializer=serializer).fit(X, labels)
    as_texts = make().fit(list(serializer.fit_transform(X)), labels)
    np.testing.assert_array_equal(
        clf.predict_proba(X), as_texts.predict_proba(list(serializer.transform(X)))
    )
    assert clf.serializer is serializer


def test__to_frame__has_the_index_of_X(fitted, fitted_table, texts, table):
    index = pd.Index([f"row {i}" for i in range(12)], name="id")
    frame = fitted.predict_uncertainty(pd.Series(texts, index=index)).to_frame()
    pd.testing.assert_index_equal(frame.index, index)
    frame = fitted.predict_uncertainty(texts).to_frame()
    pd.testing.assert_index_equal(frame.index, pd.RangeIndex(12))

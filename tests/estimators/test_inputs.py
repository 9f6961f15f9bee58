"""What X may be: every container of the same texts gives the same answer, other kinds are refused."""

import datetime
from collections import UserList, deque

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from sksve import predict_uncertainty
from sksve.preprocessing import TabularToText
from tests.making import slow_but

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
    "deque": deque,
    "user-list": UserList,
    "arrow": pa.array,
    "arrow-chunks": lambda t: pa.chunked_array([t[:5], t[5:]]),
    "arrow-dictionary": lambda t: pa.array(t).dictionary_encode(),
    "series-arrow": lambda t: pd.Series(t, dtype=pd.ArrowDtype(pa.string())),
}
COLUMNS = {
    "array-object": lambda t: np.array(t, dtype=object)[:, None],
    "array-str": lambda t: np.array(t)[:, None],
    "list-of-lists": lambda t: [[text] for text in t],
    "pandas": lambda t: pd.DataFrame({"review": t}),
    "pandas-odd-index": lambda t: pd.DataFrame({"review": t}, index=range(50, 50 + len(t))),
    "polars": lambda t: pl.DataFrame({"review": t}),
    "arrow": lambda t: pa.table({"review": t}),
}


@pytest.mark.parametrize("container", slow_but(CONTAINERS, *[*CONTAINERS][::3], "series-arrow"))
def test__fit__is_the_same_for_every_container_of_texts(container, make, fitted, texts, labels):
    X = CONTAINERS[container](texts)
    clf = make().fit(X, labels)
    np.testing.assert_array_equal(clf.predict_proba(X), fitted.predict_proba(texts))
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
    if hasattr(X, "columns"):  # a frame, or a table of pyarrow
        assert clf.feature_names_in_.tolist() == ["review"]


@pytest.fixture(scope="module")
def table():
    """Numbers that float32 holds exactly, so that every container holds the same values."""
    values = np.random.default_rng(0).integers(-8, 8, size=(12, 2)) / 4
    values[3, 1] = np.nan
    return values


@pytest.fixture(scope="module")
def fitted_table(make, table, labels):
    return make(side_features=None).fit(table, labels)


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
def test__predict_proba__is_the_same_for_every_container_of_a_table(
    container, fitted_table, texts, table
):
    with pytest.raises(ValueError, match=r"kind 'table'.*Got 'text'"):
        fitted_table.predict(texts)
    with pytest.raises(ValueError, match="X has 3 features, but SVEClassifier is expecting 2"):
        fitted_table.predict(np.zeros((2, 3)))
    assert fitted_table.input_kind_ == "table"
    assert fitted_table.n_features_in_ == 2
    X = TABLES[container](table)
    np.testing.assert_array_equal(fitted_table.predict_proba(X), fitted_table.predict_proba(table))


FRAMES = [pd.DataFrame, pl.DataFrame]


@pytest.mark.parametrize("frame", FRAMES)
def test__fit__on_a_frame_keeps_names_and_finds_columns_by_them(frame, make, table, labels):
    columns = {"age": table[:, 0], "dose": table[:, 1]}
    clf = make(max_epochs=1, side_features=None).fit(frame(columns), labels)
    proba = clf.predict_proba(frame(columns))
    assert clf.feature_names_in_.tolist() == ["age", "dose"]
    shuffled = {"dose": table[:, 1], "age": table[:, 0]}
    more = {"row": np.arange(12), "dose": table[:, 1], "note": ["x"] * 12, "age": table[:, 0]}
    for other in (shuffled, more):
        for kind in FRAMES:
            np.testing.assert_array_equal(clf.predict_proba(kind(other)), proba)
    with pytest.raises(ValueError, match=r"(?s)feature names.*unseen.*- weight.*missing:\n- dose"):
        clf.predict(frame({"age": table[:, 0], "weight": table[:, 1]}))
    with pytest.raises(ValueError, match="yet now missing:\n- age"):
        clf.predict(frame({"dose": table[:, 1]}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(clf.predict_proba(table), proba)


def test__fit__knows_a_column_of_texts_among_others(make, texts, labels):
    clf = make(max_epochs=1).fit(pd.DataFrame({"review": texts}), labels)
    wide = pd.DataFrame({"stars": range(12), "review": texts})
    np.testing.assert_array_equal(clf.predict_proba(wide), clf.predict_proba(wide[["review"]]))


@pytest.fixture(scope="module")
def mixed():
    """Numbers, a category, a date, a switch, free text and missing cells."""
    return {
        "annual_income": [39_000.0, 47_500.5, None] * 4,
        "job": ["nurse", None, "cook"] * 4,
        "since": [datetime.date(2020, 1, 2), datetime.date(2021, 5, 5), None] * 4,
        "paid": [True, False, True] * 4,
        "note": [f"the customer number {i} said that all is well" for i in range(12)],
    }


@pytest.fixture(scope="module")
def round_trip(make, mixed, labels):
    return make(max_epochs=1).fit(pd.DataFrame(mixed), labels)


def rows_of(columns):
    return [list(row) for row in zip(*columns.values())]


def test__round_trip__same_predictions_for_every_container(round_trip, make, mixed, labels):
    X = pd.DataFrame(mixed)
    proba = round_trip.predict_proba(X)
    assert np.ptp(proba[:, 0]) > 0
    names = list(mixed)
    same = {
        "polars": pl.DataFrame(mixed),
        "shuffled": X[names[::-1]],
        "own types": X.convert_dtypes(),
        "categories": X.astype({"job": "category", "note": "string"}),
        "times": X.assign(since=pd.to_datetime(X["since"])),
        "rows shuffled": X.iloc[::-1],
        "extra": X.assign(new=1)[["new", *names[::-1]]],
    }
    for name, other in same.items():
        got = round_trip.predict_proba(other)
        got = got[::-1] if name == "rows shuffled" else got
        np.testing.assert_allclose(got, proba, rtol=0, atol=1e-9, err_msg=name)
    # Fitted without names: the same for all containers, with advice to give a frame.
    with pytest.warns(UserWarning, match="as a ColumnTransformer makes it.*the frame itself"):
        bare = make(max_epochs=1).fit(np.array(rows_of(mixed), dtype=object), labels)
    assert not hasattr(bare, "feature_names_in_")
    expected = bare.predict_proba(rows_of(mixed))
    numbered = pd.DataFrame(np.array(rows_of(mixed), dtype=object))
    np.testing.assert_array_equal(bare.predict_proba(numbered), expected)
    fitted = make(max_epochs=1).fit(pl.DataFrame(mixed), labels)
    np.testing.assert_array_equal(fitted.predict_proba(X), proba)


def test__round_trip__new_categories_and_new_gaps_are_no_error(round_trip, mixed):
    X = pd.DataFrame(mixed).iloc[:3].astype(object)
    X.loc[0, "job"] = "astronaut"
    X.loc[1, ["paid", "note"]] = None
    X.loc[2, :] = None
    proba = round_trip.predict_proba(X)
    assert np.isfinite(proba).all()
    before = round_trip.predict_proba(pd.DataFrame(mixed).iloc[:3])
    assert (np.abs(proba - before).max(axis=1) > 1e-9).all()


def test__pipeline__with_a_serializer_equals_the_direct_fit(make, mixed, labels):
    X = pd.DataFrame(mixed, index=range(100, 112))
    writer = TabularToText(
        template="{name} is {value}.", separator=" ", missing="unknown", digits=3
    )
    direct = make(max_epochs=1, serializer=writer).fit(X, labels)
    pipe = make_pipeline(writer, make(max_epochs=1)).fit(X, labels)
    np.testing.assert_array_equal(direct.predict_proba(X), pipe.predict_proba(X))
    written = list(writer.fit_transform(X))
    as_texts = make(max_epochs=1).fit(written, labels)
    np.testing.assert_array_equal(direct.predict_proba(X), as_texts.predict_proba(written))
    assert direct.serializer is writer
    assert pipe.feature_names_in_.tolist() == direct.feature_names_in_.tolist() == list(mixed)
    frame = direct.predict_uncertainty(X).to_frame()
    assert frame.index.tolist() == list(range(100, 112))
    default = make(max_epochs=1, side_features=None).fit(X, labels)
    plain = make_pipeline(TabularToText(), make(max_epochs=1)).fit(X, labels)
    np.testing.assert_array_equal(default.predict_proba(X), plain.predict_proba(X))
    pd.testing.assert_frame_equal(
        predict_uncertainty(pipe, X).to_frame(), direct.predict_uncertainty(X).to_frame()
    )


def test__html__shows_the_parameters(round_trip, make):
    for estimator in (round_trip, make_pipeline(TabularToText(), make(n_members=7))):
        page = estimator_html_repr(estimator)
        assert page == estimator._repr_html_() or "SVEClassifier" in estimator._repr_html_()
        assert "n_members" in page
    assert "<span>Fitted</span>" in round_trip._repr_html_()
    assert "<span>Not fitted</span>" in make()._repr_html_()


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


def test__to_frame__has_the_index_of_X(fitted, texts):
    index = pd.Index([f"row {i}" for i in range(12)], name="id")
    frame = fitted.predict_uncertainty(pd.Series(texts, index=index)).to_frame()
    pd.testing.assert_index_equal(frame.index, index)
    frame = fitted.predict_uncertainty(texts).to_frame()
    pd.testing.assert_index_equal(frame.index, pd.RangeIndex(12))

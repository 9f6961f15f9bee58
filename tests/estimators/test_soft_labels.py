"""Soft labels: rows of probabilities, such as the shares of people who chose each class."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score

ONE_BATCH = {"batch_size": 64, "max_grad_norm": None}


@pytest.fixture(scope="module")
def shares():
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=12)
    return rows / rows.sum(axis=1, keepdims=True)


def members(clf, X):
    return clf.predict_proba_members(X)


def test__one_hot__equals_the_plain_fit(make, texts, labels):
    classes, codes = np.unique(labels, return_inverse=True)
    settings = {"early_stopping": True, "validation_fraction": 0.4}
    hard = make(**settings).fit(texts, labels)
    soft = make(**settings).fit(texts, pd.DataFrame(np.eye(2)[codes], columns=classes))
    np.testing.assert_array_equal(members(soft, texts), members(hard, texts))
    assert soft.classes_.tolist() == hard.classes_.tolist()
    assert soft.predict(texts).tolist() == hard.predict(texts).tolist()
    for a, b in zip(soft.history_, hard.history_, strict=True):
        for key in b:
            np.testing.assert_allclose(a[key], b[key], rtol=1e-12)


def test__fit__equals_weighted_duplicated_rows(make, texts, shares):
    soft = make(**ONE_BATCH).fit(texts, shares)
    X = [text for text in texts for _ in range(3)]
    hard = make(**ONE_BATCH).fit(X, np.tile([0, 1, 2], 12), sample_weight=shares.ravel())
    # The loss of a step is divided by its rows, and Adam is all but blind to the scale.
    np.testing.assert_allclose(members(soft, texts), members(hard, texts), rtol=0, atol=1e-6)
    plain = make(**ONE_BATCH).fit(texts, shares.argmax(axis=1))
    assert np.abs(members(soft, texts) - members(plain, texts)).max() > 1e-3


@pytest.mark.parametrize(
    "container",
    [
        np.asarray,
        lambda y: y.tolist(),
        pd.DataFrame,
        lambda y: y * 1.0004,
        lambda y: torch.tensor(y).requires_grad_(),
    ],
    ids=["array", "list", "frame", "rounded", "tensor"],
)
def test__fit__takes_any_container(container, make, texts, shares):
    clf = make(max_epochs=1).fit(texts, container(shares))
    assert clf.classes_.tolist() == [0, 1, 2]
    expected = make(max_epochs=1).fit(texts, shares)
    np.testing.assert_allclose(members(clf, texts), members(expected, texts), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame,
        pl.DataFrame,
        lambda y: pd.DataFrame(y).convert_dtypes(),
        lambda y: pd.DataFrame(y).astype("double[pyarrow]"),
    ],
    ids=["pandas", "polars", "nullable", "arrow"],
)
def test__frame__columns_are_the_classes(frame, make, texts, shares):
    y = frame({name: shares[:, j] for j, name in enumerate(["ugly", "bad", "good"])})
    clf = make(max_epochs=1).fit(texts, y)
    assert clf.classes_.tolist() == ["ugly", "bad", "good"]
    assert set(clf.predict(texts)) <= {"ugly", "bad", "good"}
    plain = make(max_epochs=1).fit(texts, shares)
    np.testing.assert_array_equal(clf.predict_proba(texts), plain.predict_proba(texts))


def test__y_val__is_soft_too_and_found_by_name(make, texts, shares):
    names = ["ugly", "bad", "good"]
    y = pd.DataFrame(shares, columns=names)
    clf = make().fit(texts, y, X_val=texts[:5], y_val=y[["good", "ugly", "bad"]].iloc[:5])
    last = clf.history_[-1]
    proba = members(clf, texts[:5])
    cross_entropy = -(shares[:5] * np.log(proba)).sum(axis=-1).mean(axis=1)
    np.testing.assert_allclose(last["valid_loss"], cross_entropy, rtol=1e-9)
    chosen = proba.argmax(axis=-1)
    expected = [np.mean(shares[np.arange(5), row]) for row in chosen]
    np.testing.assert_allclose(last["valid_accuracy"], expected, rtol=1e-9)
    mixed = make().fit(texts, y, X_val=texts[:5], y_val=["good"] * 5)  # certain ones will do
    np.testing.assert_allclose(
        mixed.history_[-1]["valid_loss"], -np.log(members(mixed, texts[:5])[..., 2]).mean(axis=1)
    )


def test__weights__count_rows(make, texts, shares):
    weight = np.array([2, 1, 0] * 4)
    a = make(**ONE_BATCH).fit(texts, shares, sample_weight=weight)
    rows = np.repeat(np.arange(12), weight)
    b = make(**ONE_BATCH).fit([texts[i] for i in rows], shares[rows])
    np.testing.assert_allclose(members(a, texts), members(b, texts), rtol=0, atol=1e-7)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 2: 0.5}])
def test__class_weight__of_one_hot_equals_the_plain_fit(class_weight, make, texts):
    codes = np.array([0, 1, 1, 2] * 3)
    hard = make(class_weight=class_weight, max_epochs=1).fit(texts, codes)
    soft = make(class_weight=class_weight, max_epochs=1).fit(texts, np.eye(3)[codes])
    np.testing.assert_allclose(members(soft, texts), members(hard, texts), rtol=0, atol=1e-9)


def test__class_weight__weighs_each_share(make, texts, shares):
    factors = {0: 3.0, 1: 1.0, 2: 0.5}
    soft = make(class_weight=factors, **ONE_BATCH).fit(texts, shares)
    X = [text for text in texts for _ in range(3)]
    weight = (shares * list(factors.values())).ravel()
    hard = make(**ONE_BATCH).fit(X, np.tile([0, 1, 2], 12), sample_weight=weight)
    np.testing.assert_allclose(members(soft, texts), members(hard, texts), rtol=0, atol=1e-6)


def test__score__is_the_expected_accuracy(make, texts, shares):
    clf = make(max_epochs=1).fit(texts, shares)
    chosen = clf.predict(texts)
    weight = np.arange(12.0)
    expected = np.average(shares[np.arange(12), chosen], weights=weight)
    assert clf.score(texts, shares, sample_weight=weight) == pytest.approx(expected, rel=1e-12)
    assert clf.score(texts, np.eye(3)[chosen]) == 1.0
    assert clf.score(texts, chosen) == 1.0


def test__search__takes_soft_labels(make, texts, shares):
    clf = make(max_epochs=1, n_members=1)
    assert np.isfinite(cross_val_score(clf, texts, shares, cv=3, error_score="raise")).all()
    search = GridSearchCV(clf, {"rank": [1, None]}, cv=2, error_score="raise").fit(texts, shares)
    assert search.predict_proba(texts).shape == (12, 3)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.full((12, 2), 0.6), "summing to 1. Got .0.6, 0.6. in row 0"),
        (np.array([[1.5, -0.5]] * 12), "floats >= 0"),
        (np.full((12, 2), np.nan), "contains NaN"),
        (np.eye(2, dtype=int)[[0, 1] * 6], r"Got int64s. For one class per row, pass y.argmax"),
        (np.eye(2, dtype=bool)[[0, 1] * 6], "several classes per row are not supported"),
        (np.full((12, 2), "a"), "must hold soft labels"),
        (np.array([[1.0, 0.0]] * 12), "at least two classes"),
        (np.full((11, 2), 0.5), "X has 12 rows, y has 11"),
        (pd.DataFrame(np.full((12, 2), 0.5), columns=["a", "a"]), "different names"),
        (
            pd.DataFrame(np.full((12, 2), 0.5), columns=["a", None]),
            "1 of the 2 columns of y have no name",
        ),
        (pd.concat({"p": pd.DataFrame(np.full((12, 2), 0.5))}, axis=1), "names of 2 levels"),
        (
            pd.DataFrame(np.full((12, 2), 0.5)).astype("Float64").mask(np.eye(12, 2) > 0),
            "contains NaN",
        ),
    ],
    ids=[
        "sum",
        "negative",
        "nan",
        "one-hot",
        "multilabel",
        "str",
        "one-class",
        "rows",
        "names",
        "no-name",
        "levels",
        "missing",
    ],
)
def test__fit__refuses_what_is_no_distribution(y, words, make, texts):
    with pytest.raises(ValueError, match=words):
        make().fit(texts, y)


def test__y_val__must_have_the_classes(make, texts, shares):
    with pytest.raises(ValueError, match="y_val must have one column per class"):
        make().fit(texts, shares, X_val=texts, y_val=np.full((12, 2), 0.5))


def test__a_column__warns_as_scikit_learn_does(make, texts, labels):
    from sklearn.exceptions import DataConversionWarning

    with pytest.warns(DataConversionWarning):
        clf = make(max_epochs=1).fit(texts, np.array(labels)[:, None])
    assert clf.classes_.tolist() == ["neg", "pos"]

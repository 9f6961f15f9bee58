"""Labels of every kind come back as they went in, in the order of classes_."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

LABELS = {
    "str": ["no", "yes"] * 6,
    "object": np.array(["no", "a longer yes"] * 6, dtype=object),
    "str-array": np.array(["b", "a", "c"] * 4),
    "zero-two": np.array([0, 2] * 6),
    "one-two-three": [1, 2, 3] * 4,
    "negative": np.array([-1, 1] * 6, dtype=np.int8),
    "bool": np.array([True, False] * 6),
    "float": np.array([0.0, 1.0, 5.0] * 4),
    "series": pd.Series([7, 9] * 6, index=range(40, 28, -1)),
    "series-string": pd.Series(["x", "y"] * 6, dtype="string"),
    "series-category": pd.Series(["x", "y"] * 6, dtype="category"),
    "polars": pl.Series(["x", "y", "z"] * 4),
    "arrow": pa.array(["x", "y"] * 6),
    "arrow-ints": pa.chunked_array([[3, 5], [3, 5] * 5]),
    "arrow-dictionary": pa.array(["x", "y"] * 6).dictionary_encode(),
    "arrow-dates": pa.array([datetime.date(2020, 1, 2), datetime.date(2021, 5, 5)] * 6),
}


@pytest.mark.parametrize("case", LABELS)
def test__labels__survive_the_round_trip(case, make, texts):
    y = LABELS[case]
    clf = make(max_epochs=1).fit(texts, y)
    values = np.asarray(y)
    np.testing.assert_array_equal(clf.classes_, np.unique(values))
    if isinstance(y, np.ndarray):
        assert clf.classes_.dtype == y.dtype
    predicted = clf.predict(texts)
    assert predicted.dtype == clf.classes_.dtype
    assert predicted.shape == (12,)
    assert set(predicted.tolist()) <= set(values.tolist())
    assert clf.score(texts, y) == np.mean(predicted == values)
    if type(y).__module__.startswith("pyarrow"):
        theirs = LogisticRegression().fit(np.eye(12), y).classes_
        np.testing.assert_array_equal(clf.classes_, theirs)
        assert clf.classes_.dtype == theirs.dtype
    np.testing.assert_array_equal(predicted, clf.classes_[clf.predict_proba(texts).argmax(axis=1)])


@pytest.mark.parametrize("names", [["no", "yes"], [-1, 1], [0, 2], [False, True]])
def test__fit__does_not_depend_on_the_names_of_the_classes(names, make, fitted, texts, labels):
    y = [names[label == "pos"] for label in labels]
    clf = make().fit(texts, y)
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))


def test__columns__follow_classes_whatever_the_order_of_rows(make, texts):
    # Rows in another order are another training, but the class a column stands for must not move.
    y = np.array(["c", "a", "b"] * 4)
    settings = {"max_epochs": 25, "batch_size": 12, "head_lr": 0.1, "n_members": 1}
    for rows in (np.arange(12), np.arange(12)[::-1]):
        clf = make(**settings).fit([texts[i] for i in rows], y[rows])
        assert clf.classes_.tolist() == ["a", "b", "c"]
        column = np.searchsorted(clf.classes_, y)
        own = clf.predict_proba(texts)[np.arange(12), column]
        assert own.mean() > 0.8


def test__decision_function__is_log_odds_of_two_and_log_probabilities_of_many(
    fitted, fitted32, texts
):
    proba = fitted.predict_proba(texts)
    scores = fitted.decision_function(texts)
    assert scores.shape == (12,)
    np.testing.assert_allclose(scores, np.log(proba[:, 1] / proba[:, 0]), atol=1e-12)
    np.testing.assert_array_equal(fitted.predict(texts), fitted.classes_[(scores > 0).astype(int)])
    scores = fitted32.decision_function(texts)
    assert scores.shape == (12, 3)
    np.testing.assert_allclose(scores, np.log(fitted32.predict_proba(texts)), atol=1e-12)
    np.testing.assert_allclose(scores, fitted32.predict_log_proba(texts), atol=0)


def test__score__is_the_weighted_accuracy(fitted, texts, labels):
    hits = fitted.predict(texts) == np.array(labels)
    weight = np.arange(12.0)
    assert fitted.score(texts, labels) == hits.mean()
    assert fitted.score(texts, labels, weight) == pytest.approx(np.average(hits, weights=weight))


def test__log_proba__stays_finite_where_the_probability_underflows(make, texts, labels):
    clf = make(n_members=2, max_epochs=1).fit(texts, labels)
    head = clf.net_.module_.heads
    head.weight.data.mul_(0)
    head.bias.data.copy_(head.bias.new_tensor([[0.0, 2000.0], [0.0, 1500.0]]))
    assert clf.predict_proba(texts)[0].tolist() == [0.0, 1.0]
    # log of the mean of exp(-2000) and exp(-1500)
    np.testing.assert_allclose(clf.predict_log_proba(texts)[:, 0], -1500 - np.log(2))
    np.testing.assert_allclose(clf.decision_function(texts), 1500 + np.log(2))

"""Weights: dropped, scaled, and in one full batch the same as repeated rows."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

ONE_BATCH = {"batch_size": 64, "max_epochs": 4}


def proba(clf, texts):
    return clf.predict_proba_members(texts)


@pytest.mark.filterwarnings("ignore:X has no column of free text")
@pytest.mark.parametrize("kind", ["texts", "table", "columns"])
def test__zero_weight__equals_a_dropped_row(kind, make, texts, labels, rng):
    X = np.array(texts) if kind == "texts" else rng.integers(0, 9, size=(12, 2))
    weight = np.array([1, 2, 0, 1, 1, 0, 3, 1, 1, 1, 0, 1.0])
    kept = np.flatnonzero(weight)
    side = {"side_features": None if kind == "table" else "auto"}
    a = make(**side).fit(X, labels, sample_weight=weight)
    b = make(**side).fit(X[kept], np.array(labels)[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(proba(a, X), proba(b, X))


def test__integer_weights__equal_repeated_rows_in_one_batch(make, texts, labels):
    weight = np.array([1, 2, 3, 1, 1, 2, 0, 1, 4, 1, 1, 1])
    a = make(**ONE_BATCH).fit(texts, labels, sample_weight=weight)
    rows = np.repeat(np.arange(12), weight)
    b = make(**ONE_BATCH).fit([texts[i] for i in rows], np.array(labels)[rows])
    np.testing.assert_allclose(proba(a, texts), proba(b, texts), rtol=0, atol=1e-7)
    unweighted = make(**ONE_BATCH).fit(texts, labels)
    assert np.abs(proba(a, texts) - proba(unweighted, texts)).max() > 1e-4


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e6])
def test__weights__matter_up_to_scale_only(scale, make, fitted, texts, labels):
    equal = make().fit(texts, labels, sample_weight=np.full(12, scale))
    np.testing.assert_allclose(proba(equal, texts), proba(fitted, texts), rtol=0, atol=1e-9)
    weight = np.linspace(0.5, 2, 12)
    a = make(max_epochs=1).fit(texts, labels, weight)
    b = make(max_epochs=1).fit(texts, labels, scale * weight)
    np.testing.assert_allclose(proba(a, texts), proba(b, texts), rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def unbalanced():
    return np.array(["b"] + ["a"] * 8 + ["c"] * 3)


def test__class_weight__balanced_equals_by_hand(make, texts, unbalanced):
    classes = np.unique(unbalanced)
    by_hand = dict(zip(classes, compute_class_weight("balanced", classes=classes, y=unbalanced)))
    weight = np.array([by_hand[label] for label in unbalanced])
    a = make(class_weight="balanced").fit(texts, unbalanced)
    b = make(class_weight=by_hand).fit(texts, unbalanced)
    c = make().fit(texts, unbalanced, sample_weight=weight)
    np.testing.assert_allclose(proba(a, texts), proba(b, texts), rtol=0, atol=1e-9)
    np.testing.assert_allclose(proba(a, texts), proba(c, texts), rtol=0, atol=1e-9)
    plain = make().fit(texts, unbalanced)
    assert np.abs(proba(a, texts) - proba(plain, texts)).max() > 1e-4


def test__class_weight__multiplies_sample_weight(make, texts, labels):
    weight = np.linspace(0.5, 2, 12)
    factor = np.where(np.array(labels) == "neg", 3.0, 0.5)
    a = make(class_weight={"neg": 3.0, "pos": 0.5}).fit(texts, labels, weight)
    b = make().fit(texts, labels, weight * factor)
    np.testing.assert_allclose(proba(a, texts), proba(b, texts), rtol=0, atol=1e-9)


def test__classes__come_from_all_of_y(make, texts):
    # The third class has no weight: it keeps its column.
    y = np.array([0, 1, 2] * 4)
    clf = make(max_epochs=1).fit(texts, y, sample_weight=(y < 2).astype(float))
    assert clf.classes_.tolist() == [0, 1, 2]
    assert clf.predict_proba(texts).shape == (12, 3)

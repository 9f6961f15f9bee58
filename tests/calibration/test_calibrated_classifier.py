"""CalibratedClassifier against its own definition, carried out by hand with scikit-learn's tools."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from sksve import CalibrationWarning
from sksve.calibration import CalibratedClassifier, TemperatureScaling, make_calibrator


class Recorder(BaseEstimator):
    """A calibrator that keeps what it is given and changes nothing."""

    def __init__(self, input="proba"):
        self.input = input

    def fit(self, y_proba, y, sample_weight=None, *, labels=None):
        self.scores_, self.y_, self.weight_, self.labels_ = y_proba, y, sample_weight, labels
        return self

    def predict_proba(self, y_proba):
        p = np.exp(y_proba) if self.input == "logits" else y_proba
        return p / p.sum(axis=1, keepdims=True)


class Flat(BaseEstimator):
    """The smallest calibrator there can be: no weights, no labels."""

    def fit(self, y_proba, y):
        return self

    def predict_proba(self, y_proba):
        return np.full_like(y_proba, 1 / y_proba.shape[1])


class OneColumn(Flat):
    def predict_proba(self, y_proba):
        return y_proba[:, 0]


@pytest.mark.parametrize(
    "method",
    ["temperature", "isotonic", "vector", TemperatureScaling(input="logits")],
    ids=["temperature", "isotonic", "vector", "object"],
)
def test__learns_from_out_of_fold_probabilities(method, data):
    X, y = data
    found = CalibratedClassifier(GaussianNB(), method, cv=4).fit(X, y)
    assert len(found.calibrators_) == 1
    unseen = cross_val_predict(GaussianNB(), X, y, cv=StratifiedKFold(4), method="predict_proba")
    final = GaussianNB().fit(X, y).predict_proba(X)
    if not isinstance(method, str):
        unseen, final = (np.log(np.maximum(p, np.finfo(float).eps)) for p in (unseen, final))
    expected = make_calibrator(method).fit(unseen, y).predict_proba(final)
    np.testing.assert_allclose(found.predict_proba(X), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.predict(X), found.classes_[expected.argmax(axis=1)])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(found.predict_log_proba(X), np.log(found.predict_proba(X)))


def test__frozen__calibrates_on_the_rows_given_and_refits_nothing(data):
    X, y = data
    inner = GaussianNB().fit(X[:100], y[:100])
    frozen = FrozenEstimator(inner)
    found = CalibratedClassifier(frozen).fit(X[100:], y[100:])
    assert found.estimator_ is frozen
    expected = TemperatureScaling().fit(inner.predict_proba(X[100:]), y[100:])
    assert found.calibrators_[0].temperature_ == expected.temperature_
    np.testing.assert_array_equal(found.predict(X), inner.predict(X))


def test__frozen__keeps_its_classes_where_the_rows_lack_one(data):
    X, y = data
    inner = GaussianNB().fit(X, y)
    rows = y != "bee"
    found = CalibratedClassifier(FrozenEstimator(inner)).fit(X[rows], y[rows])
    assert found.classes_.tolist() == ["ant", "bee", "cow"]
    assert np.isfinite(found.predict_proba(X)).all()
    np.testing.assert_array_equal(found.predict(X), inner.predict(X))
    with pytest.raises(ValueError, match=r"does not know: \['dog'\]"):
        CalibratedClassifier(FrozenEstimator(inner)).fit(X, np.where(rows, y, "dog"))
    with pytest.raises(NotFittedError):
        CalibratedClassifier(FrozenEstimator(GaussianNB())).fit(X, y)


def test__labels_of_any_kind_give_the_same_probabilities(data):
    X, y = data
    proba = CalibratedClassifier(GaussianNB(), cv=3).fit(X, y).predict_proba(X)
    codes = np.unique(y, return_inverse=True)[1]
    for labels in (codes, codes - 5, codes.astype(float), pd.Series(y), y.astype(object), list(y)):
        other = CalibratedClassifier(GaussianNB(), cv=3).fit(X, labels)
        np.testing.assert_array_equal(other.predict_proba(X), proba)
        assert set(other.predict(X)) <= set(labels)


@pytest.mark.parametrize("container", [list, np.array, pd.Series])
def test__texts_are_indexed_never_converted(container):
    texts = ["good film", "bad film", "great fun", "dull plot", "good fun", "bad plot"] * 5
    y = [1, 0] * 15
    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression())
    found = CalibratedClassifier(pipe, Recorder(), cv=3).fit(container(texts), y)
    unseen = cross_val_predict(pipe, texts, y, cv=StratifiedKFold(3), method="predict_proba")
    np.testing.assert_allclose(found.calibrators_[0].scores_, unseen, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(
        found.predict_proba(container(texts)), pipe.fit(texts, y).predict_proba(texts)
    )


def test__a_calibrator_of_logits_is_given_log_probabilities(data):
    X, y = data
    inner = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    proba = inner.predict_proba(X)
    assert (proba == 0).any()
    found = CalibratedClassifier(FrozenEstimator(inner), Recorder(input="logits")).fit(X, y)
    expected = np.log(np.maximum(proba, np.finfo(float).eps))
    np.testing.assert_array_equal(found.calibrators_[0].scores_, expected)
    np.testing.assert_allclose(found.predict_proba(X), proba, rtol=0, atol=1e-15)


# -- weights and metadata ------------------------------------------------------------------------


def test__weights_reach_estimator_and_calibrator(data, rng):
    X, y = data
    weight = rng.integers(1, 5, len(y))
    found = CalibratedClassifier(GaussianNB(), Recorder(), cv=3).fit(X, y, weight)
    unseen = cross_val_predict(
        GaussianNB(), X, y, cv=3, method="predict_proba", params={"sample_weight": weight}
    )
    np.testing.assert_allclose(found.calibrators_[0].scores_, unseen, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.calibrators_[0].weight_, weight)
    np.testing.assert_array_equal(found.estimator_.theta_, GaussianNB().fit(X, y, weight).theta_)


def test__weights_reach_the_calibrator_where_the_estimator_takes_none(data):
    X, y = data
    weight = np.linspace(0, 2, len(y))
    clf = CalibratedClassifier(KNeighborsClassifier(), cv=3)
    with pytest.warns(UserWarning, match="KNeighborsClassifier.fit takes no sample_weight"):
        clf.fit(X, y, sample_weight=weight)
    unseen = cross_val_predict(KNeighborsClassifier(), X, y, cv=3, method="predict_proba")
    expected = TemperatureScaling().fit(unseen, y, weight)
    assert clf.calibrators_[0].temperature_ == expected.temperature_
    assert expected.temperature_ != TemperatureScaling().fit(unseen, y).temperature_


def test__fit_parameters_of_a_step_are_indexed(data):
    X, y = data
    weight = np.linspace(0.1, 2, len(y))
    pipe = make_pipeline("passthrough", GaussianNB())
    through = CalibratedClassifier(pipe, cv=3).fit(X, y, gaussiannb__sample_weight=weight)
    frozen_weights = CalibratedClassifier(GaussianNB(), Flat(), cv=3)
    assert through.estimator_[-1].theta_ == pytest.approx(GaussianNB().fit(X, y, weight).theta_)
    # A calibrator that takes no weights is no obstacle as long as none are given.
    assert np.ptp(frozen_weights.fit(X, y).predict_proba(X)) == 0


# -- folds ---------------------------------------------------------------------------------------


def test__rows_may_be_tested_often_or_never(data):
    X, y = data
    cv = ShuffleSplit(3, test_size=0.3, random_state=0)
    found = CalibratedClassifier(GaussianNB(), Recorder(), cv=cv).fit(X, y)
    proba, rows = [], []
    for train, test in cv.split(X):
        proba.append(GaussianNB().fit(X[train], y[train]).predict_proba(X[test]))
        rows.append(test)
    order = np.argsort(np.concatenate(rows), kind="stable")
    seen = found.calibrators_[0]
    np.testing.assert_array_equal(seen.y_, y[np.concatenate(rows)[order]])
    np.testing.assert_array_equal(seen.scores_, np.concatenate(proba)[order])


def test__a_class_that_a_fold_lacks_has_probability_zero_there(data):
    X, y = data
    order = np.argsort(y, kind="stable")[:220]  # "cow" is in the last of four folds only
    X, y = X[order], y[order]
    assert y[165] != "cow"
    clf = CalibratedClassifier(GaussianNB(), Recorder(), cv=KFold(4))
    n_lost = np.count_nonzero(y == "cow")
    with pytest.warns(CalibrationWarning, match=rf"{n_lost} rows of \['cow'\] are in folds"):
        clf.fit(X, y)
    seen = clf.calibrators_[0]
    assert seen.labels_.tolist() == ["ant", "bee", "cow"]
    np.testing.assert_array_equal(seen.y_, y[y != "cow"])
    last = np.flatnonzero(y[165:] != "cow")
    inner = GaussianNB().fit(X[:165], y[:165]).predict_proba(X[165:][last])
    np.testing.assert_array_equal(seen.scores_[165:], np.column_stack([inner, 0 * inner[:, 0]]))
    assert clf.predict_proba(X).shape == (220, 3)


def test__a_fold_with_one_class_is_an_error_and_leaves_the_former_fit(data):
    X, y = data
    clf = CalibratedClassifier(GaussianNB(), cv=3).fit(X, y)
    before = clf.predict_proba(X)
    two = np.sort(np.where(y == "cow", "bee", y))
    clf.set_params(cv=[(np.flatnonzero(two == "ant"), np.flatnonzero(two == "bee"))])
    with pytest.raises(ValueError, match="Split 0 of 1 leaves only one class, 'ant'"):
        clf.fit(X, two)
    np.testing.assert_array_equal(clf.predict_proba(X), before)


def test__no_row_left_to_calibrate_on(data):
    X, y = data
    cv = [(np.flatnonzero(y != "cow"), np.flatnonzero(y == "cow"))]
    with (
        pytest.warns(CalibrationWarning, match="rows of"),
        pytest.raises(ValueError, match="No row of positive weight is left"),
    ):
        CalibratedClassifier(GaussianNB(), cv=cv).fit(X, y)


def test__a_kernel_matrix_is_cut_on_both_sides(data):
    X, y = data
    distance = np.linalg.norm(X[:, None] - X, axis=2)
    direct = CalibratedClassifier(KNeighborsClassifier(), cv=3).fit(X, y)
    found = CalibratedClassifier(KNeighborsClassifier(metric="precomputed"), cv=3)
    assert get_tags(found).input_tags.pairwise
    np.testing.assert_allclose(
        found.fit(distance, y).predict_proba(distance), direct.predict_proba(X), atol=1e-12
    )


def test__folds_in_parallel_change_nothing(data):
    from joblib import parallel_config

    X, y = data
    one = CalibratedClassifier(GaussianNB(), cv=3).fit(X, y)
    with parallel_config("threading"):
        two = CalibratedClassifier(GaussianNB(), cv=3, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


# -- what is handed through, and what is refused ---------------------------------------------------


def test__names_widths_and_tags_are_the_estimators(data):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    clf = CalibratedClassifier(HistGradientBoostingClassifier(max_iter=2), cv=2)
    assert not hasattr(clf, "n_features_in_")
    assert get_tags(clf).input_tags.allow_nan
    assert not get_tags(clf).input_tags.sparse
    assert get_tags(CalibratedClassifier(LogisticRegression())).input_tags.sparse
    clf.fit(frame, y)
    assert clf.n_features_in_ == 6
    assert clf.feature_names_in_.tolist() == list("abcdef")
    texts = make_pipeline(TfidfVectorizer(), LogisticRegression())
    of_texts = CalibratedClassifier(texts, Flat(), cv=2).fit(["good", "bad"] * 4, [0, 1] * 4)
    assert not hasattr(of_texts, "n_features_in_")


def test__pickle_and_clone(data):
    X, y = data
    clf = CalibratedClassifier(GaussianNB(), TemperatureScaling(), cv=3).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    fresh = clone(clf)
    assert fresh.method is not clf.method
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test__without_members__has_no_methods_for_them(data):
    X, y = data
    clf = CalibratedClassifier(GaussianNB(), cv=3).fit(X, y)
    assert not hasattr(clf, "predict_proba_members")
    with pytest.raises(AttributeError, match="predict_uncertainty") as caught:
        clf.predict_uncertainty(X)
    assert "GaussianNB has no members" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="calibrates each member, but GaussianNB has none"):
        CalibratedClassifier(GaussianNB(), order="calibrate-then-pool").fit(X, y)


@pytest.mark.parametrize(
    ("clf", "words"),
    [
        (
            CalibratedClassifier(LinearSVC()),
            "LinearSVC has no predict_proba.*CalibratedClassifierCV",
        ),
        (CalibratedClassifier(GaussianNB), "must be a classifier instance"),
        (CalibratedClassifier(GaussianNB(), "platt"), "'temperature'"),
        (CalibratedClassifier(GaussianNB(), order="pool"), "'order' parameter"),
        (CalibratedClassifier(GaussianNB(), cv="five"), "'cv' parameter"),
        (CalibratedClassifier(GaussianNB(), OneColumn()), r"OneColumn.*shape \(1, 3\). Got"),
    ],
    ids=["no-proba", "class", "method", "order", "cv", "calibrator"],
)
def test__bad_parameters(clf, words, data):
    with pytest.raises(ValueError, match=words):
        clf.fit(*data)
    assert not hasattr(clf, "estimator_")


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "requires y to be passed"),
        (["a"] * 300, "only one class"),
        ([None, "a", "b"] * 100, "NaN or None.*Row 0"),
        (["a", "b"], "inconsistent numbers of samples"),
        (np.linspace(0, 1, 300), "continuous"),
    ],
    ids=["none", "one-class", "missing", "short", "continuous"],
)
def test__bad_labels(y, words, data):
    with pytest.raises(ValueError, match=words):
        CalibratedClassifier(GaussianNB()).fit(data[0], y)

"""sksve.predict_uncertainty finds the calibrated uncertainty, however it is wrapped."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sksve import predict_uncertainty
from sksve.calibration import CalibratedClassifier, SelectiveClassifier
from sksve.metrics import Uncertainty

ORDERS = ["pool-then-calibrate", "calibrate-then-pool"]


def same(a, b):
    assert (a.novelty is None) == (b.novelty is None)  # committees know of none
    for field in fields(Uncertainty):
        if field.name != "index" and getattr(a, field.name) is not None:
            np.testing.assert_allclose(
                getattr(a, field.name), getattr(b, field.name), rtol=0, atol=1e-12
            )


def wrap(how, fitted):
    """Wrap a fitted classifier whose answers no wrapper changes."""
    frozen = FrozenEstimator(fitted)
    return {
        "itself": fitted,
        "frozen": frozen,
        "pipeline": make_pipeline("passthrough", frozen),
        "search": GridSearchCV(make_pipeline(frozen), {"memory": [None]}, cv=2),
        "selective": SelectiveClassifier(frozen, coverage=0.8),
        "selective pipeline": SelectiveClassifier(
            make_pipeline(StandardScaler(with_mean=False, with_std=False), frozen),
            coverage=0.8,
            random_state=0,
        ),
        "scikit-learn's": CalibratedClassifierCV(frozen, method="temperature"),
        "threshold in frozen in pipeline": make_pipeline(
            FunctionTransformer(), FrozenEstimator(make_pipeline(frozen))
        ),
    }[how]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "how",
    ["itself", "frozen", "pipeline", "search", "selective", "selective pipeline", "scikit-learn's",
     "threshold in frozen in pipeline"],
)  # fmt: skip
def test__calibrated_uncertainty_through(how, order, committee, data):
    X, y = data
    inner = committee().fit(X[:150], y[:150])
    calibrated = CalibratedClassifier(FrozenEstimator(inner), order=order).fit(X[150:], y[150:])
    wrapped = wrap(how, calibrated)
    if how != "itself":
        wrapped.fit(X, y)
    frame = pd.DataFrame(X, index=np.arange(300) * 2)
    found = predict_uncertainty(wrapped, frame)
    same(found, calibrated.predict_uncertainty(X))
    assert found.to_frame().index.tolist() == list(range(0, 600, 2))
    before = inner.predict_uncertainty(X)
    assert np.abs(found.total - before.total).max() > 0.05
    np.testing.assert_allclose(found.confidence, calibrated.predict_proba(X).max(axis=1))


def test__threshold_classifiers(committee, data):
    X, y = data
    y = np.where(y == "cow", "bee", y)
    clf = CalibratedClassifier(committee(), cv=2)
    threshold = FixedThresholdClassifier(clf, threshold=0.7, pos_label="bee").fit(X, y)
    same(predict_uncertainty(threshold, X), clf.fit(X, y).predict_uncertainty(X))


def test__calibrated_around_scikit_learns_ensemble_of_folds(committee, data):
    X, y = data
    theirs = CalibratedClassifierCV(committee(), method="temperature", cv=2, ensemble=True)
    clf = CalibratedClassifier(theirs, cv=2).fit(X, y)
    inner = [c.estimator for c in clf.estimator_.calibrated_classifiers_]
    members = np.concatenate([e.predict_proba_members(X) for e in inner])
    expected = [clf.calibrators_[0].predict_proba(p) for p in members]
    np.testing.assert_allclose(clf.predict_proba_members(X), expected, atol=1e-12)
    found = predict_uncertainty(clf, X)
    np.testing.assert_allclose(found.total, Uncertainty.from_members(expected).total)
    np.testing.assert_allclose(found.confidence, clf.predict_proba(X).max(axis=1))


def test__who_answers_with_many_models_has_no_members(committee, data):
    bag = BaggingClassifier(committee(), n_estimators=2, random_state=0).fit(*data)
    with pytest.raises(TypeError, match="BaggingClassifier holds no classifier with members"):
        predict_uncertainty(bag, data[0])
    plain = CalibratedClassifier(LogisticRegression(), cv=2).fit(*data)
    with pytest.raises(TypeError, match="CalibratedClassifier holds no classifier"):
        predict_uncertainty(plain, data[0])


def test__an_unfitted_wrapper(committee, data):
    inner = FrozenEstimator(committee().fit(*data))
    for wrapper in (CalibratedClassifier(inner), SelectiveClassifier(inner, coverage=0.5)):
        with pytest.raises(NotFittedError):
            predict_uncertainty(wrapper, data[0])


def test__texts_in_a_series(sve, reviews):
    series = pd.Series(reviews, index=range(100, 160))
    clf = CalibratedClassifier(FrozenEstimator(sve(2)), "beta").fit(series, [0, 1] * 30)
    pipe = make_pipeline(FunctionTransformer(lambda X: list(X)), FrozenEstimator(clf)).fit(series)
    found = predict_uncertainty(pipe, series)
    same(found, clf.predict_uncertainty(reviews))
    assert found.to_frame().index[0] == 100


def test__one_sweep_gives_members_and_mean(sve, reviews, monkeypatch):
    inner = sve(3)
    clf = CalibratedClassifier(make_pipeline(FrozenEstimator(inner)), "vector", cv=2)
    clf.fit(reviews, [0, 1, 2] * 20)
    proba = clf.predict_proba(reviews)
    sweep, calls = type(inner)._member_logits, []
    counted = lambda self, X, **how: calls.append(1) or sweep(self, X, **how)  # noqa: E731
    monkeypatch.setattr(type(inner), "_member_logits", counted)
    found = predict_uncertainty(clf, reviews)
    assert len(calls) == 1
    np.testing.assert_array_equal(found.confidence, proba.max(axis=1))


# -- scikit-learn's wrapper and ours give the same answers ------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test__both_routes__frozen(method, n_classes, sve, reviews, rng):
    inner = sve(n_classes)
    y = rng.choice(
        n_classes, len(reviews), p=[0.5, 0.3, 0.2][:n_classes] / np.sum([0.5, 0.3, 0.2][:n_classes])
    )
    y[::2] = inner.predict(reviews)[::2]  # half right
    ours = CalibratedClassifier(FrozenEstimator(inner), method).fit(reviews, y)
    theirs = CalibratedClassifierCV(FrozenEstimator(inner), method=method).fit(reviews, y)
    # Isotonic: equal on the rows learned from. Between these, theirs interpolates in log-odds.
    atol = 1e-5 if method == "temperature" else 1e-9  # theirs minimises to 1e-5 or so
    np.testing.assert_allclose(
        ours.predict_proba(reviews), theirs.predict_proba(reviews), rtol=0, atol=atol
    )
    before = inner.predict_proba(reviews)
    assert np.abs(ours.predict_proba(reviews) - before).max() > 0.01
    np.testing.assert_allclose(
        predict_uncertainty(theirs, reviews).total, inner.predict_uncertainty(reviews).total
    )


def test__both_routes__texts_by_cross_validation(sve, reviews):
    y = np.array(["neg", "pos"])[sve(2).predict(reviews)]
    y[::5] = "pos"
    clf = CalibratedClassifier(sve(2), cv=2).fit(reviews, y)
    theirs = CalibratedClassifierCV(
        sve(2), method="temperature", cv=StratifiedKFold(2), ensemble=False
    ).fit(reviews, y)
    assert clf.classes_.tolist() == ["neg", "pos"]
    np.testing.assert_allclose(
        clf.predict_proba(reviews), theirs.predict_proba(reviews), rtol=0, atol=1e-5
    )
    members = clf.estimator_.predict_proba_members(reviews)
    calibrated = [clf.calibrators_[0].predict_proba(p) for p in members]
    np.testing.assert_allclose(clf.predict_proba_members(reviews), calibrated, atol=1e-12)

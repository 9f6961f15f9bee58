"""An ensemble stays one: members and uncertainty after calibration, in both orders."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksve.calibration import CalibratedClassifier, TemperatureScaling, make_calibrator
from sksve.metrics import Uncertainty, mutual_information

POOL, EACH = "pool-then-calibrate", "calibrate-then-pool"


@pytest.mark.parametrize("method", ["temperature", "isotonic", "dirichlet"])
def test__pool_then_calibrate__one_map_for_the_mean_and_for_the_members(method, committee, data):
    X, y = data
    inner = committee().fit(X[:150], y[:150])
    clf = CalibratedClassifier(FrozenEstimator(inner), method).fit(X[150:], y[150:])
    members = inner.predict_proba_members(X)
    (calibrator,) = clf.calibrators_
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(
        proba, calibrator.predict_proba(members.mean(axis=0)), rtol=0, atol=1e-12
    )
    expected = np.stack([calibrator.predict_proba(p) for p in members])
    np.testing.assert_allclose(clf.predict_proba_members(X), expected, rtol=0, atol=1e-12)
    assert np.abs(expected.mean(axis=0) - proba).max() > 1e-3  # the map is no linear one
    found, of_members = clf.predict_uncertainty(X), Uncertainty.from_members(expected)
    for name in ("total", "aleatoric", "epistemic", "variance"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(of_members, name), rtol=0, atol=1e-12
        )
    np.testing.assert_allclose(found.epistemic, mutual_information(expected), atol=1e-12)
    assert (found.epistemic >= 0).all()
    np.testing.assert_array_equal(found.confidence, proba.max(axis=1))
    differs = clf.classes_[expected.argmax(axis=2)] != clf.predict(X)
    np.testing.assert_array_equal(found.disagreement, differs.mean(axis=0))


def test__calibrate_then_pool__each_member_has_its_own_map(committee, data):
    X, y = data
    clf = CalibratedClassifier(committee(), cv=4, order=EACH).fit(X, y)
    unseen = np.empty((3, 300, 3))
    for train, test in StratifiedKFold(4).split(X, y):
        unseen[:, test] = committee().fit(X[train], y[train]).predict_proba_members(X[test])
    members = committee().fit(X, y).predict_proba_members(X)
    maps = [TemperatureScaling().fit(p, y) for p in unseen]
    assert [g.temperature_ for g in clf.calibrators_] == pytest.approx(
        [g.temperature_ for g in maps], rel=1e-9
    )
    assert len({round(g.temperature_, 6) for g in maps}) == 3
    expected = np.stack([g.predict_proba(p) for g, p in zip(maps, members)])
    np.testing.assert_allclose(clf.predict_proba_members(X), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(clf.predict_proba(X), expected.mean(axis=0), rtol=0, atol=1e-9)
    found = clf.predict_uncertainty(X)
    np.testing.assert_allclose(found.epistemic, mutual_information(expected), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.confidence, clf.predict_proba(X).max(axis=1), atol=1e-15)


@pytest.mark.parametrize("order", [POOL, EACH])
def test__an_ensemble_inside_a_pipeline_or_a_search_keeps_its_members(order, committee, data):
    X, y = data
    direct = CalibratedClassifier(committee(), cv=3, order=order)
    scaled = StandardScaler().fit(X).transform(X)
    pipe = make_pipeline(StandardScaler(), committee())
    found = CalibratedClassifier(FrozenEstimator(pipe.fit(X, y)), order=order).fit(X, y)
    plain = CalibratedClassifier(FrozenEstimator(pipe[-1]), order=order).fit(scaled, y)
    np.testing.assert_allclose(
        found.predict_proba_members(X), plain.predict_proba_members(scaled), atol=1e-12
    )
    search = GridSearchCV(committee(), {"boldness": [3.0]}, cv=2)
    searched = CalibratedClassifier(search, cv=3, order=order)
    assert hasattr(searched, "predict_uncertainty")  # before fit already
    np.testing.assert_allclose(
        searched.fit(X, y).predict_uncertainty(X).total,
        direct.fit(X, y).predict_uncertainty(X).total,
        atol=1e-12,
    )


def test__members_of_the_parts_are_not_members_of_a_bag(committee):
    assert not hasattr(CalibratedClassifier(BaggingClassifier(committee())), "predict_uncertainty")


def test__uncertainty_keeps_the_index(committee, data):
    X, y = data
    frame = pd.DataFrame(X, index=range(1000, 1300))
    clf = CalibratedClassifier(committee(), cv=2).fit(frame, y)
    assert clf.predict_uncertainty(frame[5:9]).to_frame().index.tolist() == [1005, 1006, 1007, 1008]
    assert clf.predict_uncertainty(X[:2]).to_frame().index.tolist() == [0, 1]


def test__the_number_of_members_must_not_change(committee, data):
    class Growing(committee):
        def fit(self, X, y):
            self.n_members = 1 + len(X) // 250
            return super().fit(X, y)

    with pytest.raises(ValueError, match=r"Expected 1 members\. Got 2"):
        CalibratedClassifier(Growing(), cv=3, order=EACH).fit(*data).predict_proba(data[0])


@pytest.mark.parametrize("order", [POOL, EACH])
def test__a_missing_class_keeps_its_column_in_every_member(order, committee, data):
    X, y = data
    inner = committee().fit(X, y)
    rows = y != "bee"
    clf = CalibratedClassifier(FrozenEstimator(inner), order=order).fit(X[rows], y[rows])
    members = clf.predict_proba_members(X)
    assert members.shape == (3, 300, 3)
    np.testing.assert_allclose(members.sum(axis=2), 1, atol=1e-12)


def test__weights_reach_every_member(committee, data):
    X, y = data
    weight = np.linspace(0, 2, len(y))
    inner = committee().fit(X, y)
    clf = CalibratedClassifier(FrozenEstimator(inner), "vector", order=EACH).fit(X, y, weight)
    for p, found in zip(inner.predict_proba_members(X), clf.calibrators_):
        expected = make_calibrator("vector").fit(p, y, weight).predict_proba(p)
        np.testing.assert_allclose(found.predict_proba(p), expected, rtol=0, atol=1e-9)

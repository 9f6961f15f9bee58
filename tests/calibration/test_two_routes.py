"""Our estimators calibrated by scikit-learn's wrapper and by ours: the same answers."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedKFold

from sksve import predict_uncertainty
from sksve.calibration import CalibratedClassifier


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test__frozen__both_routes_agree(method, n_classes, sve, reviews, rng):
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


def test__texts__by_cross_validation(sve, reviews):
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

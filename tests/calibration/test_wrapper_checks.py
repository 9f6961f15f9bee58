"""scikit-learn's own checks of both wrappers, around a scikit-learn classifier."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator

from sksve.calibration import CalibratedClassifier, SelectiveClassifier

CALIBRATED = CalibratedClassifier(LogisticRegression(), cv=3)
BY_COVERAGE = SelectiveClassifier(LogisticRegression(), coverage=0.8)
BY_RISK = SelectiveClassifier(LogisticRegression(), max_risk=0.2, cv=3)


def each_check(estimator):
    pairs = list(estimator_checks_generator(estimator))
    return pytest.mark.parametrize(("estimator", "check"), pairs, ids=[name(c) for _, c in pairs])


def name(check):
    settings = "-".join(f"{k}={v}" for k, v in getattr(check, "keywords", {}).items())
    return "-".join(filter(None, (getattr(check, "func", check).__name__, settings)))


# Some checks fit rows that are pure noise or trivially separable: the wrappers say so, and rightly.
pytestmark = pytest.mark.filterwarnings("ignore::sksve.CalibrationWarning")


@each_check(CALIBRATED)
def test_calibrated(estimator, check):
    check(estimator)


@each_check(BY_COVERAGE)
def test_selective__by_coverage(estimator, check):
    check(estimator)


@each_check(BY_RISK)
def test_selective__by_risk(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [CALIBRATED, BY_COVERAGE, BY_RISK], ids=["c", "s", "r"])
def test_the_checks_are_many(estimator):
    assert len(list(estimator_checks_generator(estimator))) > 60

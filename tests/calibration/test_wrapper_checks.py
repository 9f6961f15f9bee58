"""scikit-learn's own checks of every wrapper, around a scikit-learn classifier."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator

from sksve.calibration import (
    CalibratedClassifier,
    ConformalClassifier,
    CostSensitiveClassifier,
    PriorCorrection,
    SelectiveClassifier,
)

WRAPPERS = {
    "calibrated": CalibratedClassifier(LogisticRegression(), cv=3),
    "by-coverage": SelectiveClassifier(LogisticRegression(), coverage=0.8),
    "by-risk": SelectiveClassifier(LogisticRegression(), max_risk=0.2, cv=3),
    "conformal": ConformalClassifier(LogisticRegression()),
    "conformal-folds": ConformalClassifier(LogisticRegression(), cv=3),
    "priors": PriorCorrection(LogisticRegression()),
    "costs": CostSensitiveClassifier(LogisticRegression()),
}


def name(check):
    settings = "-".join(f"{k}={v}" for k, v in getattr(check, "keywords", {}).items())
    return "-".join(filter(None, (getattr(check, "func", check).__name__, settings)))


CASES = [
    pytest.param(estimator, check, id=f"{wrapper}-{name(check)}")
    for wrapper, each in WRAPPERS.items()
    for estimator, check in estimator_checks_generator(each)
]


# Some checks fit rows that are pure noise or trivially separable: the wrappers say so, and rightly.
@pytest.mark.filterwarnings("ignore::sksve.CalibrationWarning")
@pytest.mark.parametrize(("estimator", "check"), CASES)
def test_wrapper__passes_scikit_learns_check(estimator, check):
    check(estimator)


def test_the_checks_are_many():
    assert len(CASES) > 7 * 60

"""The scikit-learn face: parameters, labels, weights, tags, ``predict_*``."""

from sksve.estimators._base import MemberClassifier
from sksve.estimators._member_search import MemberSearchCV
from sksve.estimators._presets import RANDOM_SUBSPACES
from sksve.estimators._settings import CONSTRAINTS
from sksve.estimators._sve import SVEClassifier
from sksve.metrics._predict_uncertainty import predict_uncertainty

__all__ = [
    "CONSTRAINTS",
    "RANDOM_SUBSPACES",
    "MemberClassifier",
    "MemberSearchCV",
    "SVEClassifier",
    "predict_uncertainty",
]

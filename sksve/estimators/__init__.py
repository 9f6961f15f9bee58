"""The scikit-learn face: parameters, labels, weights, tags, ``predict_*``."""

from sksve.estimators._base import MemberClassifier
from sksve.estimators._settings import CONSTRAINTS
from sksve.estimators._sve import SVEClassifier
from sksve.estimators._uncertainty import predict_uncertainty

__all__ = ["CONSTRAINTS", "MemberClassifier", "SVEClassifier", "predict_uncertainty"]

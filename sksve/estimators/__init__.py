"""The scikit-learn face: parameters, labels, weights, tags, ``predict_*``."""

from sksve.estimators._base import MemberClassifier
from sksve.estimators._member_search import MemberSearchCV
from sksve.estimators._novelty import NoveltyDetector
from sksve.estimators._sve import SVEClassifier
from sksve.metrics._predict_uncertainty import predict_uncertainty
from sksve.training import Training

__all__ = [
    "MemberClassifier",
    "MemberSearchCV",
    "NoveltyDetector",
    "SVEClassifier",
    "Training",
    "predict_uncertainty",
]

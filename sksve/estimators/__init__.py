"""The scikit-learn face: parameters, labels, weights, tags, ``predict_*``."""

from sksve.estimators._sve import SVEClassifier
from sksve.estimators._uncertainty import predict_uncertainty

__all__ = ["SVEClassifier", "predict_uncertainty"]

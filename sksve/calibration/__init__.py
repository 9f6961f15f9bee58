"""Calibrators: probabilities that mean what they say, for any classifier.

Needs numpy, scipy and scikit-learn only; `BBQ` and `ENIR` import netcal when they are fitted.
"""

from sksve.calibration._base import Calibrator
from sksve.calibration._calibrated_classifier import CalibratedClassifier
from sksve.calibration._make import CALIBRATORS, make_calibrator
from sksve.calibration._selective import SelectiveClassifier
from sksve.calibration._temperature import TemperatureScaling

__all__ = [
    "CALIBRATORS",
    "CalibratedClassifier",
    "Calibrator",
    "SelectiveClassifier",
    "TemperatureScaling",
    "make_calibrator",
]

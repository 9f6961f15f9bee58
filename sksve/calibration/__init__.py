"""Calibrators: probabilities that mean what they say, for any classifier.

Needs numpy, scipy and scikit-learn only; `BBQ` and `ENIR` import netcal when they are fitted.
"""

from sksve.calibration._base import Calibrator
from sksve.calibration._make import CALIBRATORS, make_calibrator
from sksve.calibration._temperature import TemperatureScaling

__all__ = [
    "CALIBRATORS",
    "Calibrator",
    "TemperatureScaling",
    "make_calibrator",
]

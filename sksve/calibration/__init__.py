"""Calibrators, and wrappers that use them: probabilities that mean what they say, for any classifier.

Needs numpy, scipy and scikit-learn only; `BBQ` and `ENIR` import netcal when they are fitted.
"""

from sksve.calibration._affine import (
    DirichletCalibration,
    MatrixScaling,
    StructuredMatrixScaling,
    VectorScaling,
)
from sksve.calibration._calibrated_classifier import CalibratedClassifier
from sksve.calibration._conformal import ConformalClassifier
from sksve.calibration._make import CALIBRATORS, make_calibrator
from sksve.calibration._netcal import BBQ, ENIR
from sksve.calibration._one_vs_rest import BetaCalibration, HistogramBinning, IsotonicCalibration
from sksve.calibration._prior import CostSensitiveClassifier, PriorCorrection
from sksve.calibration._selective import SelectiveClassifier
from sksve.calibration._temperature import EnsembleTemperatureScaling, TemperatureScaling
from sksve.calibration._venn_abers import VennAbers

__all__ = [
    "BBQ",
    "CALIBRATORS",
    "ENIR",
    "BetaCalibration",
    "CalibratedClassifier",
    "ConformalClassifier",
    "CostSensitiveClassifier",
    "DirichletCalibration",
    "EnsembleTemperatureScaling",
    "HistogramBinning",
    "IsotonicCalibration",
    "MatrixScaling",
    "PriorCorrection",
    "SelectiveClassifier",
    "StructuredMatrixScaling",
    "TemperatureScaling",
    "VectorScaling",
    "VennAbers",
    "make_calibrator",
]

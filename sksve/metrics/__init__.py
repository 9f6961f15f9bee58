"""Numbers for calibration and uncertainty, each with one written definition.

Needs numpy, scipy and scikit-learn only.
"""

from sksve.metrics._brier import BrierDecomposition, brier_decomposition, brier_score
from sksve.metrics._calibration_error import (
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
)
from sksve.metrics._curve import CalibrationCurve, calibration_curve
from sksve.metrics._likelihood import negative_log_likelihood
from sksve.metrics._members import (
    Uncertainty,
    expected_entropy,
    member_disagreement,
    member_diversity,
    mutual_information,
    predictive_entropy,
)

__all__ = [
    "BrierDecomposition",
    "CalibrationCurve",
    "Uncertainty",
    "brier_decomposition",
    "brier_score",
    "calibration_curve",
    "classwise_calibration_error",
    "expected_calibration_error",
    "expected_entropy",
    "maximum_calibration_error",
    "member_disagreement",
    "member_diversity",
    "mutual_information",
    "negative_log_likelihood",
    "predictive_entropy",
]

"""Numbers for calibration and uncertainty, each with one written definition.

Needs numpy, scipy and scikit-learn only.
"""

from sksve.metrics._bootstrap import bootstrap_interval
from sksve.metrics._calibration_error import (
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
)
from sksve.metrics._curve import calibration_curve, calibration_test
from sksve.metrics._kinds import scorers
from sksve.metrics._members import (
    Uncertainty,
    expected_entropy,
    member_disagreement,
    member_diversity,
    mutual_information,
    predictive_entropy,
)
from sksve.metrics._ood import fpr_at_tpr, ood_aupr, ood_auroc
from sksve.metrics._report import calibration_report
from sksve.metrics._scores import brier_decomposition, brier_score, negative_log_likelihood
from sksve.metrics._selective import aurc, eaurc, risk_coverage_curve, selective_accuracy
from sksve.metrics._smooth import smooth_calibration_error

__all__ = [
    "Uncertainty",
    "aurc",
    "bootstrap_interval",
    "brier_decomposition",
    "brier_score",
    "calibration_curve",
    "calibration_report",
    "calibration_test",
    "classwise_calibration_error",
    "debiased_calibration_error",
    "eaurc",
    "expected_calibration_error",
    "expected_entropy",
    "fpr_at_tpr",
    "maximum_calibration_error",
    "member_disagreement",
    "member_diversity",
    "mutual_information",
    "negative_log_likelihood",
    "ood_aupr",
    "ood_auroc",
    "predictive_entropy",
    "risk_coverage_curve",
    "scorers",
    "selective_accuracy",
    "smooth_calibration_error",
]

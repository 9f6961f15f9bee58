"""Numbers for calibration and uncertainty, each with one written definition.

Needs numpy, scipy and scikit-learn only.
"""

from sksve.metrics._members import (
    Uncertainty,
    expected_entropy,
    member_disagreement,
    member_diversity,
    mutual_information,
    predictive_entropy,
)

__all__ = [
    "Uncertainty",
    "expected_entropy",
    "member_disagreement",
    "member_diversity",
    "mutual_information",
    "predictive_entropy",
]

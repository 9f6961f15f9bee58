"""Displays of calibration and uncertainty: computed first, drawn after.

Each display holds numbers; ``plot`` draws them. matplotlib is imported when something is drawn.
"""

from sksve.plotting._reliability import ReliabilityDisplay
from sksve.plotting._risk_coverage import RiskCoverageDisplay
from sksve.plotting._spectrum import LayerDiversityDisplay, SpectrumDisplay
from sksve.plotting._uncertainty import UncertaintyDisplay

__all__ = [
    "LayerDiversityDisplay",
    "ReliabilityDisplay",
    "RiskCoverageDisplay",
    "SpectrumDisplay",
    "UncertaintyDisplay",
]

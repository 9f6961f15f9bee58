"""Several classifiers, several calibrators: which to pick, and how sure one can be.

``compare_calibration`` computes everything; the record it returns makes tables, figures and a page of it.
matplotlib and pandas are imported when something is drawn or put into a frame. No torch.
"""

from sksve.comparison._compare import compare_calibration
from sksve.comparison._result import CalibrationComparison

__all__ = ["CalibrationComparison", "compare_calibration"]

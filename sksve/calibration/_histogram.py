"""Histogram binning, one class against the rest."""

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sksve.calibration._base import Calibrator
from sksve.calibration._one_vs_rest import StepCalibrator
from sksve.metrics._binning import bin_edges, fill_bins

__all__ = ["HistogramBinning"]


class HistogramBinning(StepCalibrator):
    r"""Histogram binning: per class and bin the share of rows that are of the class.

    .. math:: f_k(p) = \frac{\sum_{i: p_{ik} \in B(p)} w_i [y_i = k]}{\sum_{i: p_{ik} \in B(p)} w_i},
              \qquad q_{ik} = f_k(p_{ik}) \Big/ \sum_j f_j(p_{ij}).

    Bins are right-closed, the first also holds 0, as in :mod:`sksve.metrics`. An empty bin has its
    midpoint. A row whose values are all 0 keeps its probabilities.

    Parameters
    ----------
    n_bins : int, default=15
        Bins per class.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    edges_ : list of n_classes ndarrays
        Per class the edges of its bins, from 0 to 1.
    values_ : list of n_classes ndarrays
        Per class the value of each bin.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    See Also
    --------
    BBQ : An average over many numbers of bins.
    IsotonicCalibration : An increasing function instead of bins.

    References
    ----------
    .. [1] Zadrozny, B. and Elkan, C. (2001). Obtaining calibrated probability estimates from decision
           trees and naive Bayesian classifiers. ICML.

    Examples
    --------
    >>> from sksve.calibration import HistogramBinning
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> HistogramBinning(n_bins=5).fit(y_proba, y).predict_proba([[0.95, 0.05]]).round(3)
    array([[0.667, 0.333]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **Calibrator._parameter_constraints,
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "strategy": [StrOptions({"uniform", "quantile"})],
    }

    def __init__(
        self, *, n_bins: int = 15, strategy: str = "uniform", input: str = "proba"
    ) -> None:
        super().__init__(input=input)
        self.n_bins = n_bins
        self.strategy = strategy

    def _fit_class(
        self, proba: np.ndarray, hit: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        edges = bin_edges(proba, weight, self.n_bins, self.strategy)
        bins = fill_bins(proba, hit, weight, edges)
        middle = (edges[:-1] + edges[1:]) / 2
        values = np.divide(bins.hits, bins.weight, out=middle, where=bins.weight > 0)
        return {"edges_": edges, "values_": values}

"""Calibrators with one map per class against the rest, whose rows are then divided by their sums."""

from abc import abstractmethod
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.utils._param_validation import Interval, StrOptions

from sksve.calibration._base import Calibrator
from sksve.calibration._losses import fit_logistic
from sksve.calibration._scores import PROBA_FLOOR, normalise, shares
from sksve.metrics._binning import bin_edges, bin_index, fill_bins


class OneVsRestCalibrator(Calibrator):
    """A map from [0, 1] to [0, 1] for each class; a row whose values are all 0 stays as it was."""

    _space: ClassVar[str] = "proba"

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        columns = enumerate(np.ascontiguousarray(scores.T))
        maps = [self._fit_class(column, codes == k, weight) for k, column in columns]
        return {name: [fitted[name] for fitted in maps] for name in maps[0]}

    def _map(self, scores: ndarray) -> ndarray:
        columns = [self._map_class(k, scores[:, k]) for k in range(scores.shape[1])]
        return normalise(np.column_stack(columns), fallback=scores)

    @abstractmethod
    def _fit_class(
        self, proba: ndarray, hit: ndarray, weight: ndarray | None
    ) -> dict[str, ndarray]:
        """Learn one class's map from its probabilities and whether it was the label."""

    @abstractmethod
    def _map_class(self, k: int, proba: ndarray) -> ndarray:
        """Apply class k's map."""


class StepCalibrator(OneVsRestCalibrator):
    """One-vs-rest by step functions: `values_[k][b]` on the bin (edges_[k][b], edges_[k][b + 1]]."""

    edges_: list[ndarray]
    values_: list[ndarray]

    def _map_class(self, k: int, proba: ndarray) -> ndarray:
        return self.values_[k][bin_index(proba, self.edges_[k])]


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
        self, proba: ndarray, hit: ndarray, weight: ndarray | None
    ) -> dict[str, ndarray]:
        edges = bin_edges(proba, weight, self.n_bins, self.strategy)
        bins = fill_bins(proba, hit, weight, edges)
        middle = (edges[:-1] + edges[1:]) / 2
        values = np.divide(bins.hits, bins.weight, out=middle, where=bins.weight > 0)
        return {"edges_": edges, "values_": values}


class IsotonicCalibration(OneVsRestCalibrator):
    r"""Isotonic calibration: per class the best increasing function, then rows renormalised.

    .. math:: f_k = \arg\min_{f \uparrow} \sum_i w_i \bigl(f(p_{ik}) - [y_i = k]\bigr)^2, \qquad
              q_{ik} = f_k(p_{ik}) \Big/ \sum_j f_j(p_{ij}),

    by scikit-learn's :class:`~sklearn.isotonic.IsotonicRegression`; between the learned points the
    function is linear, beyond them constant. A row whose values are all 0 keeps its probabilities.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    x_thresholds_, y_thresholds_ : list of n_classes ndarrays
        Per class the points of its function.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    See Also
    --------
    HistogramBinning : Bins instead of an increasing function.
    TemperatureScaling : For few rows: isotonic calibration overfits below about 1,000.

    Notes
    -----
    The class with the highest probability may change. Exact zeros are possible, so the log loss on
    new rows can be large.

    References
    ----------
    .. [1] Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate multiclass
           probability estimates. KDD. :doi:`10.1145/775047.775151`

    Examples
    --------
    >>> from sksve.calibration import IsotonicCalibration
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> IsotonicCalibration().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.667, 0.333]])
    """

    x_thresholds_: list[ndarray]
    y_thresholds_: list[ndarray]

    def _fit_class(
        self, proba: ndarray, hit: ndarray, weight: ndarray | None
    ) -> dict[str, ndarray]:
        regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        regression.fit(proba, hit.astype(np.float64), sample_weight=weight)
        return {
            "x_thresholds_": np.asarray(regression.X_thresholds_),
            "y_thresholds_": np.asarray(regression.y_thresholds_),
        }

    def _map_class(self, k: int, proba: ndarray) -> ndarray:
        return np.interp(proba, self.x_thresholds_[k], self.y_thresholds_[k])


class BetaCalibration(Calibrator):
    r"""Beta calibration: three numbers a class, then rows renormalised.

    .. math:: f(p) = \frac{1}{1 + 1 \big/ \bigl(e^c\, p^a / (1 - p)^b\bigr)}, \qquad a, b \ge 0,

    by maximum likelihood, one class against the rest. The family holds the identity
    (a = b = 1, c = 0), S-shaped and inverse S-shaped maps: what probabilities need if they follow a
    beta distribution within each class. Two classes: the maps of both mirror each other, so this is
    the published method.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, 3)
        a, b and c of each class.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    See Also
    --------
    DirichletCalibration : Its extension to several classes at once.

    Notes
    -----
    A pull of 1e-8 to the identity is added to the published loss. It keeps separable classes finite.

    References
    ----------
    .. [1] Kull, M., Silva Filho, T. and Flach, P. (2017). Beyond sigmoids: How to obtain
           well-calibrated probabilities from binary classifiers with beta calibration. Electronic
           Journal of Statistics 11, 5052-5080. :doi:`10.1214/17-EJS1338SI`

    Examples
    --------
    >>> from sksve.calibration import BetaCalibration
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> BetaCalibration().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.667, 0.333]])
    """

    _space: ClassVar[str] = "proba"

    coef_: ndarray

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        columns, share = np.ascontiguousarray(scores.T), shares(weight, len(codes))
        step = max(CELLS // len(codes), 1)
        parts = [slice(k, k + step) for k in range(0, len(columns), step)]
        classes = np.arange(len(columns))[:, None]
        coef = [_fit_beta(columns[part], codes == classes[part], share) for part in parts]
        return {"coef_": np.concatenate(coef)}

    def _map(self, scores: ndarray) -> ndarray:
        features = _beta_features(scores.T)
        values = expit((self.coef_[:, None] @ features)[:, 0])
        return normalise(values.T, fallback=scores)


_IDENTITY = np.array([1.0, 1.0, 0.0])
CELLS = 2**17  # probabilities at a time


def _beta_features(proba: ndarray) -> ndarray:
    """Return log p, -log(1 - p) and 1, as rows of an array ``(..., 3, n)``."""
    low = np.log(np.maximum(proba, PROBA_FLOOR))
    high = np.log(np.maximum(1.0 - proba, PROBA_FLOOR))
    return np.stack([low, -high, np.ones_like(low)], axis=-2)


def _fit_beta(proba: ndarray, hit: ndarray, share: ndarray) -> ndarray:
    """Coefficients a, b >= 0 and c of largest likelihood, ``(k, 3)``, for classes ``(k, n)``.

    The loss is convex: if the free optimum is not allowed, the best allowed one has a = 0, or b = 0,
    or both.
    """
    x = _beta_features(proba)
    best, _ = fit_logistic(x, hit, share, _IDENTITY)
    bad = np.flatnonzero((best[:, :2] < 0).any(axis=1))
    lowest = np.full(len(bad), np.inf)
    for free in ([1, 2], [0, 2], [2]) if len(bad) else ():
        theta = np.zeros((len(bad), 3))
        theta[:, free], loss = fit_logistic(x[bad][:, free], hit[bad], share, _IDENTITY[free])
        better = (theta[:, :2] >= 0).all(axis=1) & (loss < lowest)
        best[bad[better]], lowest[better] = theta[better], loss[better]
    return best

"""Isotonic calibration, one class against the rest."""

import numpy as np
from sklearn.isotonic import IsotonicRegression

from sksve.calibration._one_vs_rest import OneVsRestCalibrator

__all__ = ["IsotonicCalibration"]


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

    x_thresholds_: list[np.ndarray]
    y_thresholds_: list[np.ndarray]

    def _fit_class(
        self, proba: np.ndarray, hit: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        found = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        found.fit(proba, hit.astype(np.float64), sample_weight=weight)
        return {
            "x_thresholds_": np.asarray(found.X_thresholds_),
            "y_thresholds_": np.asarray(found.y_thresholds_),
        }

    def _map_class(self, k: int, proba: np.ndarray) -> np.ndarray:
        return np.interp(proba, self.x_thresholds_[k], self.y_thresholds_[k])

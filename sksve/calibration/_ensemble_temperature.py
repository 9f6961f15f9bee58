"""Ensemble temperature scaling (ETS)."""

from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from sksve.calibration._base import Calibrator, shares
from sksve.calibration._scores import centred, softmax
from sksve.calibration._temperature import find_temperature, warn_at_bound

__all__ = ["EnsembleTemperatureScaling"]


class EnsembleTemperatureScaling(Calibrator):
    r"""Ensemble temperature scaling: tempered, given and uniform probabilities mixed.

    .. math:: q_i = w_1\, \mathrm{softmax}(z_i / T) + w_2\, p_i + w_3 / c, \qquad
              w \ge 0,\; w_1 + w_2 + w_3 = 1.

    T is that of temperature scaling; the weights then minimise the negative log-likelihood, a convex
    problem. As in temperature scaling the order of the classes in a row never changes. It mends what
    one temperature cannot: a few confident mistakes among sure and right answers.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    temperature_ : float
        T.
    weights_ : ndarray of shape (3,)
        Weight of the tempered, of the given and of the uniform probabilities.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the best temperature lies at an end of its range.

    See Also
    --------
    TemperatureScaling : The first of the three alone.

    References
    ----------
    .. [1] Zhang, J., Kailkhura, B. and Han, T.Y.-J. (2020). Mix-n-Match: Ensemble and Compositional
           Methods for Uncertainty Calibration in Deep Learning. ICML. :arxiv:`2003.07329`

    Examples
    --------
    >>> from sksve.calibration import EnsembleTemperatureScaling
    >>> y_proba = [[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.99, 0.01]]
    >>> y = ["cat", "cat", "dog", "dog"]
    >>> EnsembleTemperatureScaling().fit(y_proba, y).predict_proba([[0.99, 0.01]]).round(4)
    array([[0.75, 0.25]])
    """

    _space: ClassVar[str] = "logits"
    _monotone: ClassVar[bool] = True

    temperature_: float
    weights_: np.ndarray

    def _fit(
        self, scores: np.ndarray, codes: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, Any]:
        found = find_temperature(scores, codes, weight)
        warn_at_bound(found, stacklevel=4)
        rows = np.arange(len(codes))
        uniform = np.full(len(codes), 1.0 / scores.shape[1])
        tempered = softmax(centred(scores) / found.value)[rows, codes]
        given = softmax(scores)[rows, codes]
        parts = np.stack([tempered, given, uniform])
        weights = mixture_weights(parts, shares(weight, len(codes)))
        return {"temperature_": found.value, "weights_": weights}

    def _map(self, scores: np.ndarray) -> np.ndarray:
        tempered, given = softmax(centred(scores) / self.temperature_), softmax(scores)
        first, second, third = self.weights_
        return first * tempered + second * given + third / scores.shape[1]


def mixture_weights(parts: np.ndarray, share: np.ndarray) -> np.ndarray:
    r"""Weights on the simplex that maximise :math:`\sum_i s_i \log(w \cdot p_i)`.

    Parameters
    ----------
    parts : ndarray of shape (k, n_samples)
        Probability of the label under each of the k components; the last is never 0.
    share : ndarray of shape (n_samples,)
        Weights of the rows.

    Returns
    -------
    weights : ndarray of shape (k,)
    """

    def loss(w: np.ndarray) -> float:
        with np.errstate(divide="ignore"):
            return float(-(share @ np.log(w @ parts)))

    def slope(w: np.ndarray) -> np.ndarray:
        return -(parts @ (share / (w @ parts)))

    k = len(parts)
    settings: dict[str, Any] = {
        "jac": slope,
        "method": "SLSQP",
        # The lower bound keeps every mixture above 0 while the optimiser looks around.
        "bounds": [(0.0, 1.0)] * (k - 1) + [(1e-12, 1.0)],
        "constraints": {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
        "options": {"ftol": 1e-14, "maxiter": 200},
    }
    found: Any = minimize(loss, np.full(k, 1.0 / k), **settings)
    mixed = np.maximum(found.x, 0.0)
    # Never worse than any component alone.
    candidates = [*np.eye(k), mixed / mixed.sum()]
    return min(candidates, key=loss)

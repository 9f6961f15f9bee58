"""Beta calibration, one class against the rest."""

from typing import Any

import numpy as np
from scipy.special import expit

from sksve.calibration._base import shares
from sksve.calibration._one_vs_rest import OneVsRestCalibrator
from sksve.calibration._optimise import TINY_RIDGE, minimise
from sksve.calibration._scores import PROBA_FLOOR

__all__ = ["BetaCalibration"]

IDENTITY = np.array([1.0, 1.0, 0.0])


class BetaCalibration(OneVsRestCalibrator):
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

    Warns
    -----
    CalibrationWarning
        If the optimiser stops before the optimum.

    See Also
    --------
    DirichletCalibration : Its extension to several classes at once.

    Notes
    -----
    A pull of 1e-8 to the identity is added to the published loss. It keeps a class without rows
    finite.

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

    coef_: np.ndarray

    def _fit(
        self, scores: np.ndarray, codes: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, Any]:
        fitted = super()._fit(scores, codes, weight)
        return {"coef_": np.array(fitted["coef_"])}

    def _fit_class(
        self, proba: np.ndarray, hit: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        return {"coef_": fit_beta(beta_features(proba), hit, shares(weight, len(hit)))}

    def _map_class(self, k: int, proba: np.ndarray) -> np.ndarray:
        return expit(self.coef_[k] @ beta_features(proba))


def beta_features(proba: np.ndarray) -> np.ndarray:
    """Return log p, -log(1 - p) and 1, as rows of an array ``(3, n)``."""
    low = np.log(np.maximum(proba, PROBA_FLOOR))
    high = np.log(np.maximum(1.0 - proba, PROBA_FLOOR))
    return np.stack([low, -high, np.ones_like(low)])


def fit_beta(x: np.ndarray, hit: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Coefficients a, b >= 0 and c of largest likelihood.

    The loss is convex: if the free optimum is not allowed, the best allowed one has a = 0, or b = 0,
    or both.
    """
    best, lowest = IDENTITY, np.inf
    for free in ([0, 1, 2], [1, 2], [0, 2], [2]):
        problem = _LogisticLoss(x[free], hit, share, IDENTITY[free])
        found = np.zeros(3)
        found[free] = minimise(problem, IDENTITY[free], stacklevel=7)
        if (found[:2] >= 0).all():
            loss = problem.value_and_gradient(found[free])[0]
            if loss < lowest:
                best, lowest = found, loss
            if len(free) == 3:
                break
    return best


class _LogisticLoss:
    """Mean log loss of expit(theta @ x), pulled a little to a centre."""

    def __init__(
        self, x: np.ndarray, hit: np.ndarray, share: np.ndarray, centre: np.ndarray
    ) -> None:
        self.x, self.share, self.centre = x, share, centre
        self.sign = np.where(hit, 1.0, -1.0)

    def value_and_gradient(self, theta: np.ndarray, /) -> tuple[float, np.ndarray]:
        margin = self.sign * (theta @ self.x)
        away = theta - self.centre
        # log(1 + exp(-m)) without overflow
        losses = np.maximum(-margin, 0.0) + np.log1p(np.exp(-np.abs(margin)))
        slope = -self.sign * expit(-margin) * self.share
        value = self.share @ losses + TINY_RIDGE * away @ away
        return float(value), self.x @ slope + 2 * TINY_RIDGE * away

    def hessian(self, theta: np.ndarray, /) -> np.ndarray:
        q = expit(theta @ self.x)
        curve = (self.x * (self.share * q * (1.0 - q))) @ self.x.T
        return curve + 2 * TINY_RIDGE * np.eye(len(theta))

"""The convex losses that calibrators minimise, with their derivatives, and the minimiser."""

import warnings
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.optimize import minimize
from scipy.special import expit

from sksve._exceptions import CalibrationWarning

__all__ = ["TINY_RIDGE", "LogisticLoss", "MultinomialLoss", "minimise"]

# Pull to the identity where a published loss has none: it makes the optimum finite and unique (a
# class without rows, separable rows), and moves an ordinary one in the eighth digit.
TINY_RIDGE = 1e-8
# Above this many parameters the Hessian costs more than it saves.
DENSE = 600
# A larger slope (nats per unit of a parameter) is no optimum.
LOOSE = 1e-4
# Rows at a time in the Hessian, which needs as many numbers per row as there are parameters.
CHUNK = 2048


def minimise(problem: Any, start: ndarray, stacklevel: int = 4) -> ndarray:
    """Return the minimiser; never a point that is worse than the start.

    Up to 600 parameters by a trust-region Newton method, more by L-BFGS.
    """
    method: dict[str, Any]
    if start.size <= DENSE:
        options = {"gtol": 1e-10, "maxiter": 200}
        method = {"method": "trust-exact", "hess": problem.hessian, "options": options}
    else:
        options = {"gtol": 1e-8, "ftol": 1e-15, "maxiter": 2000, "maxcor": 20}
        method = {"method": "L-BFGS-B", "options": options}
    optimum: Any = minimize(problem.value_and_gradient, start, jac=True, **method)
    value, gradient = problem.value_and_gradient(optimum.x)
    steep = float(np.abs(gradient).max())
    if not value <= problem.value_and_gradient(start)[0]:
        warnings.warn(
            "The fit found nothing better than leaving the probabilities as they are, so they are "
            "left as they are.",
            CalibrationWarning,
            stacklevel=stacklevel,
        )
        return start
    if steep > LOOSE:
        warnings.warn(
            f"The fit stopped before its optimum (largest slope {steep:.2g}). What was found fits "
            "better than the probabilities as they are.",
            CalibrationWarning,
            stacklevel=stacklevel,
        )
    return np.asarray(optimum.x)


class MultinomialLoss:
    r"""Mean negative log-likelihood of affine maps of logits, plus a quadratic penalty.

    .. math:: \sum_i w_i \bigl(\log\textstyle\sum_k e^{\ell_{ik}} - \ell_{i y_i}\bigr)
              + \sum_j \lambda_j (\theta_j - \theta^0_j)^2, \qquad \ell_{ik} = \theta_k \cdot x_{ik}

    Parameters are ``(c, d)``, one row per class. Features x are ``(d, n)``, the same for every class,
    or ``(c, d, n)``; classes come first, so that sums over them are sums of long rows. `share` are
    weights that sum to 1, `penalty` and `centre` are as the parameters.
    """

    def __init__(
        self, x: ndarray, codes: ndarray, share: ndarray, penalty: ndarray, centre: ndarray
    ) -> None:
        self.x, self.share, self.penalty, self.centre = x, share, penalty, centre
        self.shared = x.ndim == 2
        self.at_label = (codes, np.arange(len(codes)))
        self.seen: ndarray | None = None  # the point of the last evaluation, and its probabilities
        self.proba = np.array([])

    def value_and_gradient(self, theta: ndarray, /) -> tuple[float, ndarray]:
        """Loss and gradient at a flat parameter vector."""
        self.seen = theta.copy()
        theta = theta.reshape(self.centre.shape)
        logits = theta @ self.x if self.shared else (theta[:, None] @ self.x)[:, 0]
        logits -= logits.max(axis=0)
        of_label = logits[self.at_label]
        proba = np.exp(logits, out=logits)
        total = proba.sum(axis=0)
        proba /= total
        away = theta - self.centre
        loss = self.share @ (np.log(total) - of_label) + (self.penalty * away**2).sum()
        residual = proba * self.share
        residual[self.at_label] -= self.share
        if self.shared:
            gradient = residual @ self.x.T
        else:
            gradient = (self.x @ residual[:, :, None])[:, :, 0]
        gradient += 2 * self.penalty * away
        self.proba = proba
        return float(loss), gradient.ravel()

    def hessian(self, theta: ndarray, /) -> ndarray:
        """Second derivatives: per row, (diag(p) - p p') times the features' outer product."""
        if self.seen is None or not np.array_equal(self.seen, theta):
            self.value_and_gradient(theta)
        c, d = self.centre.shape
        blocks = np.zeros((c, d, d))
        outer = np.zeros((c * d, c * d))
        for start in range(0, len(self.share), CHUNK):
            rows = slice(start, start + CHUNK)
            root = np.sqrt(self.proba[:, None, rows])
            scaled = root * (self.x[..., rows] * np.sqrt(self.share[rows]))
            blocks += scaled @ scaled.transpose(0, 2, 1)
            flat = (scaled * root).reshape(c * d, -1)
            outer -= flat @ flat.T
        each = np.arange(c)
        outer.reshape(c, d, c, d)[each, :, each, :] += blocks
        outer[np.diag_indices_from(outer)] += 2 * self.penalty.ravel()
        return outer


class LogisticLoss:
    """Mean log loss of expit(theta @ x) for features ``(d, n)``, pulled a little to a centre."""

    def __init__(self, x: ndarray, hit: ndarray, share: ndarray, centre: ndarray) -> None:
        self.x, self.share, self.centre = x, share, centre
        self.sign = np.where(hit, 1.0, -1.0)

    def value_and_gradient(self, theta: ndarray, /) -> tuple[float, ndarray]:
        margin = self.sign * (theta @ self.x)
        away = theta - self.centre
        slope = -self.sign * expit(-margin) * self.share
        value = self.share @ np.logaddexp(0.0, -margin) + TINY_RIDGE * away @ away
        return float(value), self.x @ slope + 2 * TINY_RIDGE * away

    def hessian(self, theta: ndarray, /) -> ndarray:
        q = expit(theta @ self.x)
        curve = (self.x * (self.share * q * (1.0 - q))) @ self.x.T
        return curve + 2 * TINY_RIDGE * np.eye(len(theta))

"""The convex losses that calibrators minimise, with their derivatives, and the minimisers."""

import warnings
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.optimize import minimize

from sksve._exceptions import CalibrationWarning

# Pull to the identity where a published loss has none: it makes the optimum finite and unique
# (separable rows), and moves an ordinary one in the eighth digit.
TINY_RIDGE = 1e-8
# Above this many parameters the Hessian costs more than it saves.
DENSE = 600
# A larger slope (nats per unit of a parameter) is no optimum.
LOOSE = 1e-4
# Rows at a time in the Hessian, which needs as many numbers per row as there are parameters.
CHUNK = 2048
# Numbers at a time in a sweep over many classes: they stay in a core's cache.
CELLS = 2**17


def minimise(problem: Any, start: ndarray, stacklevel: int = 4) -> ndarray:
    """Return the minimiser; never a point that is worse than the start.

    Up to 600 parameters by a trust-region Newton method, more by L-BFGS, each parameter (or each class's
    pair of them) in units in which its curvature at the start is 1.
    """
    if start.size <= DENSE:
        optimum: Any = minimize(
            problem.value_and_gradient, start, jac=True, hess=problem.hessian, method="trust-exact",
            options={"gtol": 1e-10, "maxiter": 200},
        )  # fmt: skip
        x = optimum.x
    else:
        units = problem.units(start)

        def in_units(u: ndarray) -> tuple[float, ndarray]:
            value, gradient = problem.value_and_gradient(start + _times(units, u))
            return value, _times(units, gradient, transposed=True)

        # With few rows per parameter a step of a millionth of what chance gives is not worth its time.
        per_row = start.size / len(problem.share)
        enough = 1e-10 if per_row < 0.1 else 1e-6 * per_row
        optimum = minimize(
            in_units, np.zeros_like(start), jac=True, method="L-BFGS-B",
            options={"gtol": 1e-8, "ftol": enough, "maxiter": 2000, "maxcor": 20},
        )  # fmt: skip
        x = start + _times(units, optimum.x)
    value, gradient = problem.value_and_gradient(x)
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
    return np.asarray(x)


def _times(units: ndarray, flat: ndarray, transposed: bool = False) -> ndarray:
    """Scale a flat vector by factors ``(c, d)``, or multiply its parts by matrices ``(c, d, d)``."""
    if units.ndim == 2:
        return flat * units.ravel()
    parts = flat.reshape(len(units), -1, 1)
    return ((units.transpose(0, 2, 1) if transposed else units) @ parts).ravel()


class MultinomialLoss:
    r"""Mean negative log-likelihood of affine maps of logits, plus a quadratic penalty.

    .. math:: \sum_i w_i \bigl(\log\textstyle\sum_k e^{\ell_{ik}} - \ell_{i y_i}\bigr)
              + \sum_j \lambda_j (\theta_j - \theta^0_j)^2, \qquad \ell_{ik} = \theta_k \cdot x_i

    Parameters are ``(c, d)``, one row per class. Features x are ``(d, n)``: classes come first, so that
    sums over them are sums of long rows. `share` are weights that sum to 1, `penalty` and `centre` are
    as the parameters.
    """

    _fewest_rows = CHUNK  # at a time: products of matrices want many

    def __init__(
        self, x: ndarray, codes: ndarray, share: ndarray, penalty: ndarray, centre: ndarray
    ) -> None:
        self.x, self.codes, self.share, self.penalty, self.centre = x, codes, share, penalty, centre
        self.seen: ndarray | None = None  # the point of the last evaluation, and its probabilities
        self.proba = np.array([])

    def _logits(self, theta: ndarray, rows: slice) -> ndarray:
        return theta @ self.x[:, rows]

    def _pull(self, residual: ndarray, rows: slice) -> ndarray:
        """Gradient ``(c, d)`` of logits ``(c, n)`` whose own gradient is `residual`."""
        return residual @ self.x[:, rows].T

    def _features(self, rows: slice) -> ndarray:
        return self.x[:, rows]

    def value_and_gradient(self, theta: ndarray, /) -> tuple[float, ndarray]:
        """Loss and gradient at a flat parameter vector."""
        self.seen = theta.copy()
        theta = theta.reshape(self.centre.shape)
        n, step = len(self.share), max(CELLS // len(theta), self._fewest_rows)
        if self.proba.shape != (len(theta), n):
            self.proba = np.empty((len(theta), n))
        away = theta - self.centre
        loss, gradient = float((self.penalty * away**2).sum()), 2 * self.penalty * away
        for start in range(0, n, step):
            rows = slice(start, start + step)
            logits, share = self._logits(theta, rows), self.share[rows]
            logits -= logits.max(axis=0)
            at_label = (self.codes[rows], np.arange(logits.shape[1]))
            of_label = logits[at_label]
            proba = np.exp(logits, out=logits)
            total = proba.sum(axis=0)
            proba /= total
            self.proba[:, rows] = proba
            loss += share @ (np.log(total) - of_label)
            proba *= share
            proba[at_label] -= share
            gradient += self._pull(proba, rows)
        return float(loss), gradient.ravel()

    def _see(self, theta: ndarray) -> None:
        if self.seen is None or not np.array_equal(self.seen, theta):
            self.value_and_gradient(theta)

    def units(self, theta: ndarray) -> ndarray:
        """Factors ``(c, d)`` for the parameters that make each one's curvature 1."""
        self._see(theta)
        curvature = (self.share * self.proba * (1.0 - self.proba)) @ (self.x**2).T
        return 1.0 / np.sqrt(curvature + 2 * self.penalty)

    def hessian(self, theta: ndarray, /) -> ndarray:
        """Second derivatives: per row, (diag(p) - p p') times the features' outer product."""
        self._see(theta)
        c, d = self.centre.shape
        blocks = np.zeros((c, d, d))
        outer = np.zeros((c * d, c * d))
        for start in range(0, len(self.share), CHUNK):
            rows = slice(start, start + CHUNK)
            root = np.sqrt(self.proba[:, None, rows])
            scaled = root * (self._features(rows) * np.sqrt(self.share[rows]))
            blocks += scaled @ scaled.transpose(0, 2, 1)
            flat = (scaled * root).reshape(c * d, -1)
            outer -= flat @ flat.T
        each = np.arange(c)
        outer.reshape(c, d, c, d)[each, :, each, :] += blocks
        outer[np.diag_indices_from(outer)] += 2 * self.penalty.ravel()
        return outer


class DiagonalLoss(MultinomialLoss):
    """As MultinomialLoss, each class with a factor and an offset of its own logit; x is ``(c, n)``."""

    _fewest_rows = 1

    def _logits(self, theta: ndarray, rows: slice) -> ndarray:
        return self.x[:, rows] * theta[:, :1] + theta[:, 1:]

    def _pull(self, residual: ndarray, rows: slice) -> ndarray:
        return np.stack([np.vecdot(residual, self.x[:, rows]), residual.sum(axis=1)], axis=1)

    def _features(self, rows: slice) -> ndarray:
        x = self.x[:, rows]
        return np.stack([x, np.ones_like(x)], axis=1)

    def units(self, theta: ndarray) -> ndarray:
        """Matrices ``(c, 2, 2)`` that make the curvature of each class's pair of parameters 1."""
        self._see(theta)
        curvature = self.share * self.proba * (1.0 - self.proba)
        blocks = np.empty((len(self.x), 2, 2))
        blocks[:, 0, 0] = np.vecdot(curvature, self.x**2) + 2 * self.penalty[:, 0]
        blocks[:, 1, 1] = curvature.sum(axis=1) + 2 * self.penalty[:, 1]
        blocks[:, 0, 1] = blocks[:, 1, 0] = np.vecdot(curvature, self.x)
        return np.linalg.inv(np.linalg.cholesky(blocks)).transpose(0, 2, 1)


def fit_logistic(
    x: ndarray, hit: ndarray, share: ndarray, centre: ndarray
) -> tuple[ndarray, ndarray]:
    r"""Minimisers ``(k, d)`` of k logistic losses at once, and their losses ``(k,)``.

    .. math:: \sum_i w_i \log\bigl(1 + e^{-s_{ki} \theta_k \cdot x_{ki}}\bigr)
              + 10^{-8} \lVert\theta_k - \theta^0\rVert^2, \qquad s_{ki} = \pm 1

    by Newton's method with halved steps; features are ``(k, d, n)``, `hit` is ``(k, n)``.
    """
    theta, sign = np.tile(centre, (len(x), 1)), np.where(hit, 1.0, -1.0)
    losses, miss = _logistic(x, sign, share, theta, centre)
    going = np.arange(len(x))
    for _ in range(200):
        if not len(going):
            break
        features, wrong = x[going], miss[going]
        weights = share * wrong * (1.0 - wrong)
        hessian = (features * weights[:, None]) @ features.transpose(0, 2, 1)
        hessian += 2 * TINY_RIDGE * np.eye(len(centre))
        slope = -(features @ (sign[going] * wrong * share)[..., None])[..., 0]
        slope += 2 * TINY_RIDGE * (theta[going] - centre)
        step = np.linalg.solve(hessian, slope[..., None])[..., 0]
        gain = np.vecdot(slope, step)
        moved, size = np.zeros(len(going), dtype=bool), np.ones(len(going))
        while (trying := np.flatnonzero((gain > 1e-17) & ~moved & (size > 1e-6))).size:
            at = going[trying]
            trial = theta[at] - size[trying, None] * step[trying]
            reached, wrong = _logistic(x[at], sign[at], share, trial, centre)
            good = reached <= losses[at] - 1e-4 * size[trying] * gain[trying]
            at, moved[trying[good]] = at[good], True
            theta[at], losses[at], miss[at] = trial[good], reached[good], wrong[good]
            size[trying[~good]] /= 2
        going = going[moved]
    return theta, losses


def _logistic(
    x: ndarray, sign: ndarray, share: ndarray, theta: ndarray, centre: ndarray
) -> tuple[ndarray, ndarray]:
    """Losses ``(k,)``, and the probabilities ``(k, n)`` of what did not happen."""
    margin = sign * (theta[:, None] @ x)[:, 0]
    small = np.exp(-np.abs(margin))
    value = (np.log1p(small) - np.minimum(margin, 0.0)) @ share
    miss = np.where(margin > 0, small, 1.0) / (1.0 + small)
    return value + TINY_RIDGE * ((theta - centre) ** 2).sum(axis=1), miss

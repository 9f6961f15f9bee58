"""Multinomial logistic loss of affine maps of logits, with its derivatives.

Parameters are an array ``(c, d)``: row k holds the coefficients of class k's features, the intercept
last. Classes come first in all arrays, ``(c, n)``: sums over classes are then sums of long rows.
"""

from typing import Protocol

import numpy as np

__all__ = ["DiagonalFeatures", "FullFeatures", "MultinomialLoss"]

# Rows at a time in the Hessian: what a chunk needs stays in the cache.
CHUNK = 2048


class Features(Protocol):
    """Which numbers of a row each class's coefficients multiply."""

    shape: tuple[int, int]  # of the parameters

    def logits(self, theta: np.ndarray, /) -> np.ndarray:
        """New logits ``(c, n)``."""

    def gradient(self, residual: np.ndarray, /) -> np.ndarray:
        """Sum over rows of residual ``(c, n)`` times features: ``(c, d)``."""

    def of_rows(self, rows: slice, /) -> np.ndarray:
        """Features of some rows: ``(c or 1, d, rows)``."""


class FullFeatures:
    """Every class sees every logit, and a one: matrix scaling."""

    def __init__(self, logits: np.ndarray) -> None:
        n, c = logits.shape
        self.z = np.vstack([logits.T, np.ones(n)])
        self.shape = (c, c + 1)

    def logits(self, theta: np.ndarray, /) -> np.ndarray:
        return theta @ self.z

    def gradient(self, residual: np.ndarray, /) -> np.ndarray:
        return residual @ self.z.T

    def of_rows(self, rows: slice, /) -> np.ndarray:
        return self.z[None, :, rows]


class DiagonalFeatures:
    """Each class sees its own logit, and a one: vector scaling."""

    def __init__(self, logits: np.ndarray) -> None:
        self.z = np.ascontiguousarray(logits.T)
        self.shape = (len(self.z), 2)

    def logits(self, theta: np.ndarray, /) -> np.ndarray:
        return theta[:, :1] * self.z + theta[:, 1:]

    def gradient(self, residual: np.ndarray, /) -> np.ndarray:
        return np.column_stack([(residual * self.z).sum(axis=1), residual.sum(axis=1)])

    def of_rows(self, rows: slice, /) -> np.ndarray:
        own = self.z[:, rows]
        return np.stack([own, np.ones_like(own)], axis=1)


class MultinomialLoss:
    r"""Mean negative log-likelihood plus a quadratic penalty.

    .. math:: \sum_i w_i \bigl(\log\textstyle\sum_k e^{\ell_{ik}} - \ell_{i y_i}\bigr)
              + \sum_j \lambda_j (\theta_j - \theta^0_j)^2

    with logits :math:`\ell` linear in :math:`\theta`, so the whole is convex.

    Parameters
    ----------
    features : Features
    codes : ndarray of shape (n_samples,)
        The label's column.
    share : ndarray of shape (n_samples,)
        Weights that sum to 1.
    penalty, centre : ndarray of shape (n_classes, d)
        :math:`\lambda` and :math:`\theta^0`.
    """

    def __init__(
        self,
        features: Features,
        codes: np.ndarray,
        share: np.ndarray,
        penalty: np.ndarray,
        centre: np.ndarray,
    ) -> None:
        self.features = features
        self.share = share
        self.at_label = (codes, np.arange(len(codes)))
        self.penalty = penalty
        self.centre = centre
        self.seen = np.array([])  # the point of the last evaluation, and its probabilities
        self.proba = np.array([])

    def value_and_gradient(self, theta: np.ndarray, /) -> tuple[float, np.ndarray]:
        """Loss and gradient at a flat parameter vector."""
        theta = theta.reshape(self.features.shape)
        logits = self.features.logits(theta)
        logits -= logits.max(axis=0)
        of_label = logits[self.at_label]
        proba = np.exp(logits, out=logits)
        total = proba.sum(axis=0)
        proba /= total
        away = theta - self.centre
        loss = self.share @ (np.log(total) - of_label) + (self.penalty * away**2).sum()
        residual = proba * self.share
        residual[self.at_label] -= self.share
        gradient = self.features.gradient(residual) + 2 * self.penalty * away
        self.seen, self.proba = theta.copy(), proba
        return float(loss), gradient.ravel()

    def hessian(self, theta: np.ndarray, /) -> np.ndarray:
        """Second derivatives: per row, (diag(p) - p p') times the features' outer product."""
        if not np.array_equal(self.seen.ravel(), theta):
            self.value_and_gradient(theta)
        c, d = self.features.shape
        blocks = np.zeros((c, d, d))
        outer = np.zeros((c * d, c * d))
        for start in range(0, len(self.share), CHUNK):
            rows = slice(start, start + CHUNK)
            root, p = np.sqrt(self.share[rows]), self.proba[:, rows]
            x = self.features.of_rows(rows) * root
            scaled = np.sqrt(p)[:, None, :] * x
            blocks += scaled @ scaled.transpose(0, 2, 1)
            scaled *= np.sqrt(p)[:, None, :]
            flat = scaled.reshape(c * d, -1)
            outer -= flat @ flat.T
        hessian = outer.reshape(c, d, c, d)
        each = np.arange(c)
        hessian[each, :, each, :] += blocks
        outer[np.diag_indices_from(outer)] += 2 * self.penalty.ravel()
        return outer

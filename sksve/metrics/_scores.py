"""Proper scores: Brier score, its decomposition by isotonic recalibration (CORP), log-likelihood."""

from typing import NamedTuple

import numpy as np

from sksve.metrics._inputs import validate_inputs

SMALL = 1e-200  # of weights


class BrierDecomposition(NamedTuple):
    """Parts of a Brier score: ``reliability - resolution + uncertainty`` is the score."""

    reliability: float
    resolution: float
    uncertainty: float


def brier_score(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Brier score, summed over the classes.

    .. math:: \mathrm{BS} = \frac1n \sum_i \sum_k (p_{ik} - 1[y_i = k])^2

    For two classes this is twice scikit-learn's default ``brier_score_loss`` (equal with
    ``scale_by_half=False``).

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice.

    Returns
    -------
    score : float
        Between 0 (best) and 2.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    brier_decomposition : How much of it is miscalibration.

    References
    ----------
    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review
    1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Examples
    --------
    >>> from sksve.metrics import brier_score
    >>> brier_score(["a", "b"], [[0.5, 0.5], [0.5, 0.5]])
    0.5
    """
    codes, proba, weight, _ = validate_inputs(y_true, y_proba, labels, sample_weight)
    return float(np.average(brier_losses(codes, proba), weights=_relative(weight)))


def brier_decomposition(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Split the Brier score into reliability, resolution and uncertainty, exactly.

    Each class against the rest is recalibrated by isotonic regression, :math:`\hat p_k`, and
    compared with its base rate, :math:`\bar y_k`; with :math:`S_k` the mean squared error,

    .. math::
        \mathrm{reliability} = \sum_k S_k(p_k) - S_k(\hat p_k), \quad
        \mathrm{resolution} = \sum_k S_k(\bar y_k) - S_k(\hat p_k), \quad
        \mathrm{uncertainty} = \sum_k S_k(\bar y_k)

    so that reliability - resolution + uncertainty is :func:`brier_score`. A decomposition by bins
    does not add up, and depends on the bins.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice.

    Returns
    -------
    decomposition : BrierDecomposition
        A named tuple ``(reliability, resolution, uncertainty)`` of floats, none negative.
        Reliability: what recalibration would improve (lower is better). Resolution: what the forecast
        adds to the base rates (higher is better). Uncertainty: the score of the base rates.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    brier_score : The sum.

    References
    ----------
    Dimitriadis, Gneiting and Jordan, "Stable reliability diagrams for probabilistic classifiers",
    PNAS 2021, doi:10.1073/pnas.2016191118.

    Examples
    --------
    >>> from sksve.metrics import brier_decomposition
    >>> brier_decomposition([0, 0, 1, 1], [0.2, 0.2, 0.2, 0.8])
    BrierDecomposition(reliability=0.0466..., resolution=0.1666..., uncertainty=0.5)
    """
    codes, proba, weight, _ = validate_inputs(y_true, y_proba, labels, sample_weight)
    w = np.ones(len(codes)) if weight is None else _relative(weight)
    parts = np.array([_split_column(p, codes == k, w) for k, p in enumerate(proba.T)])
    return BrierDecomposition(*np.maximum(parts.sum(axis=0), 0.0).tolist())


def negative_log_likelihood(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Mean negative log-likelihood (log loss, cross-entropy), in nats.

    .. math:: \mathrm{NLL} = -\frac1n \sum_i \log p_{i, y_i}

    A proper score: only the true probabilities minimise it in expectation. Probabilities are
    floored at float64's epsilon (2.2e-16), so a row can cost at most 36.04.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice.

    Returns
    -------
    loss : float
        In nats, at least 0; ``log(n_classes)`` for a uniform prediction.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    brier_score : The other common proper score, with a bound.

    References
    ----------
    Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 2007,
    doi:10.1198/016214506000001437.

    Examples
    --------
    >>> from sksve.metrics import negative_log_likelihood
    >>> round(negative_log_likelihood([0, 1], [[0.5, 0.5], [0.25, 0.75]]), 6)
    0.490415
    """
    codes, proba, weight, _ = validate_inputs(y_true, y_proba, labels, sample_weight)
    return float(np.average(log_losses(codes, proba), weights=weight))


def _relative(weight):
    """Weights; relative to the largest, where all are so small that products would lose digits."""
    return weight if weight is None or weight.max() > SMALL else weight / weight.max()


def brier_losses(codes, proba):
    """Squared error of each row, summed over classes: ``sum p^2 - 2 p_y + 1``."""
    p_label = proba[np.arange(len(codes)), codes]
    # Not expanded for the label's column, where 1 - 2 p + p^2 would cancel near p = 1.
    others = np.einsum("ij,ij->i", proba, proba) - p_label**2
    return np.maximum(others, 0.0) + (1.0 - p_label) ** 2


def _split_column(p, hit, w):
    """Reliability, resolution and uncertainty of one class's probability."""
    total = w.sum()
    score = w @ (p - hit) ** 2 / total
    base = w @ hit / total
    uncertainty = base * (1.0 - base)
    recalibrated = w @ (_isotonic(p, hit, w) - hit) ** 2 / total
    return score - recalibrated, uncertainty - recalibrated, uncertainty


def _isotonic(x, y, w):
    """Fit y by a non-decreasing function of x in weighted least squares; equal x, equal fit."""
    from sklearn.isotonic import isotonic_regression  # only here: slow to import

    _, group = np.unique(x, return_inverse=True)
    mass = np.bincount(group, w)
    mean = np.bincount(group, w * y) / mass
    return isotonic_regression(mean, sample_weight=mass)[group]


def log_losses(codes, proba):
    """Negative log-probability of each row's label."""
    p = proba[np.arange(len(codes)), codes]
    return -np.log(np.maximum(p, np.finfo(np.float64).eps))

"""Negative log-likelihood."""

import numpy as np

from sksve.metrics._inputs import check_inputs

__all__ = ["log_losses", "negative_log_likelihood"]


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
    codes, proba, weight, _ = check_inputs(y_true, y_proba, labels, sample_weight)
    return float(np.average(log_losses(codes, proba), weights=weight))


def log_losses(codes, proba):
    """Negative log-probability of each row's label."""
    p = proba[np.arange(len(codes)), codes]
    return -np.log(np.maximum(p, np.finfo(np.float64).eps))

"""The l2 calibration error without the upward bias of few rows per bin."""

import numpy as np

from sksve._validation import check_parameters
from sksve.metrics._binning import bin_edges, fill_bins
from sksve.metrics._calibration_error import CONSTRAINTS, error_of_bins
from sksve.metrics._top_label import top_label

__all__ = ["debiased_calibration_error", "debiased_error", "plugin_error"]


def debiased_calibration_error(
    y_true, y_proba, *, labels=None, sample_weight=None, n_bins=15, strategy="quantile"
):
    r"""Debiased l2 calibration error of the predicted class (Kumar et al., 2019).

    Even a calibrated model's bins are off by chance, so the plain error is too large. The expected
    square of that chance is estimated in each bin and subtracted:

    .. math::
        \Big[ \sum_b \frac{n_b}{n} \Big( (\mathrm{acc}(b) - \mathrm{conf}(b))^2
        - \frac{\mathrm{acc}(b) (1 - \mathrm{acc}(b))}{n_b - 1} \Big) \Big]_+^{1/2}

    A bin of fewer than two rows counts 0, as in the authors' code.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice. As numbers of rows they have a scale here: weights
        that sum to 1 would say that there is one row in all, and are refused.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="quantile"
        Bins of equal width, or of equally many rows (the authors' choice).

    Returns
    -------
    error : float
        Between 0 (best, and where the corrected square is negative) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    expected_calibration_error : With ``norm="l2"``, the same without the correction.

    References
    ----------
    Kumar, Liang and Ma, "Verified Uncertainty Calibration", NeurIPS 2019, arXiv:1909.10155.

    Examples
    --------
    >>> from sksve.metrics import debiased_calibration_error, expected_calibration_error
    >>> y_true = [0, 0, 1, 1, 1, 1, 1, 0]
    >>> y_proba = [0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9]
    >>> round(expected_calibration_error(y_true, y_proba, norm="l2"), 4)
    0.275
    >>> round(debiased_calibration_error(y_true, y_proba), 4)
    0.2053
    """
    options = {"n_bins": n_bins, "strategy": strategy}
    check_parameters(CONSTRAINTS, options, owner="debiased_calibration_error")
    confidence, correct, weight = top_label(y_true, y_proba, labels, sample_weight)
    if weight is not None and len(weight) > 1 and weight.sum() < 2:
        raise ValueError(
            "sample_weight counts rows in debiased_calibration_error (weight 2 is the row twice), "
            f"but the weights sum to {weight.sum():g}. Multiply them up to the number of rows."
        )
    return debiased_error(confidence, correct, weight, **options)


def debiased_error(confidence, correct, weight, *, n_bins, strategy):
    """Debiased l2 error of checked confidences."""
    edges = bin_edges(confidence, weight, n_bins, strategy)
    bins = fill_bins(confidence, correct, weight, edges)
    many = bins.weight >= 2
    n = bins.weight[many]
    accuracy = bins.hits[many] / n
    square = (bins.gap[many] / n) ** 2 - accuracy * (1 - accuracy) / (n - 1)
    return float(np.sqrt(max(n @ square / bins.weight.sum(), 0.0)))


def plugin_error(confidence, correct, weight, *, n_bins, strategy):
    """Return the same without the correction: the error of the law that the rows themselves are."""
    edges = bin_edges(confidence, weight, n_bins, strategy)
    return error_of_bins(fill_bins(confidence, correct, weight, edges), "l2")

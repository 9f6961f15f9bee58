"""Binned calibration errors: top-label, classwise, maximum."""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sksve._validation import check_parameters
from sksve.metrics._binning import (
    Bins,
    bin_adder,
    bin_edges,
    fill_bins,
    gap_adder,
    uniform_edges,
)
from sksve.metrics._inputs import check_inputs, settle
from sksve.metrics._top_label import each_block, reduce_rows

__all__ = [
    "classwise_calibration_error",
    "expected_calibration_error",
    "maximum_calibration_error",
]

CONSTRAINTS = {
    "n_bins": [Interval(Integral, 1, None, closed="left")],
    "strategy": [StrOptions({"uniform", "quantile"})],
    "norm": [StrOptions({"l1", "l2", "max"})],
}


def expected_calibration_error(
    y_true,
    y_proba,
    *,
    labels=None,
    sample_weight=None,
    n_bins=15,
    strategy="uniform",
    norm="l1",
):
    r"""Expected calibration error (ECE) of the predicted class, from bins of its probability.

    .. math::
        \mathrm{ECE}_q = \Big( \sum_b \frac{n_b}{n}
        \,\lvert \mathrm{acc}(b) - \mathrm{conf}(b) \rvert^q \Big)^{1/q}

    with ``q = 1`` or ``2``; ``norm="max"`` is the largest gap of a bin that holds rows. Bins are
    right-closed, the first includes 0, and confidence 1.0 is in the last.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class, the second of `labels`. Rows within
        1e-3 of 1 are renormalised.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels, in the columns' order. None: the sorted labels of `y_true`, of which
        there must be one per column.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice, weight 0 no row.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows (equal confidences stay in one bin).
    norm : {"l1", "l2", "max"}, default="l1"
        How the gaps are put together.

    Returns
    -------
    error : float
        Between 0 (best) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    bootstrap_interval : An interval around it.
    debiased_calibration_error : Without the upward bias of few rows.
    smooth_calibration_error : Without bins.

    References
    ----------
    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI 2015, doi:10.1609/aaai.v29i1.9602. Guo et al., "On Calibration of Modern Neural Networks",
    ICML 2017, arXiv:1706.04599.

    Examples
    --------
    >>> from sksve.metrics import expected_calibration_error
    >>> y_proba = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.3, 0.7]]
    >>> round(expected_calibration_error(["a", "a", "b", "b"], y_proba), 6)
    0.175
    """
    options = {"n_bins": n_bins, "strategy": strategy, "norm": norm}
    check_parameters(CONSTRAINTS, options, owner="expected_calibration_error")
    return _top_label_error(y_true, y_proba, labels, sample_weight, **options)


def maximum_calibration_error(
    y_true, y_proba, *, labels=None, sample_weight=None, n_bins=15, strategy="uniform"
):
    r"""Maximum calibration error (MCE): the largest gap of any bin that holds rows.

    .. math:: \mathrm{MCE} = \max_{b : n_b > 0} \lvert \mathrm{acc}(b) - \mathrm{conf}(b) \rvert

    A bin of one row can decide it: read it beside the counts of :func:`calibration_curve`.

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
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows.

    Returns
    -------
    error : float
        Between 0 (best) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    expected_calibration_error : The mean gap.

    References
    ----------
    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI 2015, doi:10.1609/aaai.v29i1.9602.

    Examples
    --------
    >>> from sksve.metrics import maximum_calibration_error
    >>> y_proba = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.3, 0.7]]
    >>> round(maximum_calibration_error([0, 0, 1, 1], y_proba), 6)
    0.3
    """
    options = {"n_bins": n_bins, "strategy": strategy}
    check_parameters(CONSTRAINTS, options, owner="maximum_calibration_error")
    return _top_label_error(y_true, y_proba, labels, sample_weight, **options, norm="max")


def classwise_calibration_error(
    y_true,
    y_proba,
    *,
    labels=None,
    sample_weight=None,
    n_bins=15,
    strategy="uniform",
    norm="l1",
):
    r"""Calibration error of every class's probability, averaged over the classes.

    .. math::
        \Big( \frac1c \sum_k \mathrm{ECE}_q(p_k, 1[y = k])^q \Big)^{1/q}

    with ``q = 1`` or ``2``; ``norm="max"`` is the largest gap of any class. A model can be right in
    the predicted class's probability and wrong in the others'; this one sees it.

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
    n_bins : int, default=15
        Number of bins of each class.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows.
    norm : {"l1", "l2", "max"}, default="l1"
        How the gaps are put together.

    Returns
    -------
    error : float
        Between 0 (best) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    expected_calibration_error : Of the predicted class only.

    References
    ----------
    Kull et al., "Beyond temperature scaling", NeurIPS 2019, arXiv:1910.12656. Kumar, Liang and Ma,
    "Verified Uncertainty Calibration", NeurIPS 2019, arXiv:1909.10155.

    Examples
    --------
    >>> from sksve.metrics import classwise_calibration_error
    >>> y_proba = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.3, 0.7]]
    >>> round(classwise_calibration_error([0, 0, 1, 1], y_proba), 6)
    0.175
    """
    options = {"n_bins": n_bins, "strategy": strategy, "norm": norm}
    check_parameters(CONSTRAINTS, options, owner="classwise_calibration_error")
    codes, proba, weight, _ = check_inputs(y_true, y_proba, labels, sample_weight)
    return classwise_error(codes, proba, weight, **options)


def _top_label_error(y_true, y_proba, labels, sample_weight, *, n_bins, strategy, norm):
    codes, proba, weight, _ = settle(y_true, y_proba, labels, sample_weight)
    if strategy == "uniform":  # the edges are known, so nothing of length n needs to be kept
        edges = uniform_edges(n_bins)
        adder = gap_adder if norm == "l1" else bin_adder
        blocks = each_block(lambda: adder(len(codes), weight, edges), codes, proba)
        sums = [sum(parts) for parts in zip(*blocks)]
        if norm == "l1":
            gap, total = sums
            return float(np.abs(gap).sum() / total)
        return error_of_bins(Bins(*sums), norm)
    confidence, correct = reduce_rows(codes, proba)
    return binned_error(confidence, correct, weight, n_bins=n_bins, strategy=strategy, norm=norm)


def binned_error(confidence, correct, weight, *, n_bins, strategy, norm):
    """Calibration error of checked confidences."""
    edges = bin_edges(confidence, weight, n_bins, strategy)
    return error_of_bins(fill_bins(confidence, correct, weight, edges), norm)


def classwise_error(codes, proba, weight, *, n_bins, strategy, norm):
    """Calibration error of each checked column, put together."""
    errors = np.array(
        [
            binned_error(p, codes == k, weight, n_bins=n_bins, strategy=strategy, norm=norm)
            for k, p in enumerate(proba.T)
        ]
    )
    return float(pool_classes(errors, norm))


def pool_classes(errors, norm):
    """Put the classes' errors (last axis) together, each norm in its own way."""
    if norm == "max":
        return errors.max(axis=-1)
    if norm == "l2":
        return np.sqrt(np.mean(errors**2, axis=-1))
    return errors.mean(axis=-1)


def error_of_bins(bins, norm):
    """Calibration error from what the bins add up to; empty bins have no vote."""
    return float(pool_bins(bins.gap, bins.weight, norm))


def pool_bins(gap, weight, norm):
    """Put bins (last axis) together: `gap` sums confidence minus correct, `weight` sums rows."""
    if norm == "l1":
        return np.abs(gap).sum(axis=-1) / weight.sum(axis=-1)
    mean = np.abs(gap) / np.where(weight > 0, weight, 1.0)
    if norm == "max":
        return mean.max(axis=-1)
    return np.sqrt((weight * mean**2).sum(axis=-1) / weight.sum(axis=-1))

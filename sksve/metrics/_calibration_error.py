"""Binned calibration errors: top-label, classwise, maximum, debiased."""

import numpy as np

from sksve._validation import check_parameters
from sksve.metrics._binning import CONSTRAINTS, bin_edges, error_of_bins, fill_bins, pool_classes
from sksve.metrics._inputs import top_label, validate_inputs


def expected_calibration_error(
    y_true, y_proba, *, labels=None, sample_weight=None, n_bins=15, strategy="uniform", norm="l1"
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
    return binned_error(*top_label(y_true, y_proba, labels, sample_weight), **options)


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
    top = top_label(y_true, y_proba, labels, sample_weight)
    return binned_error(*top, **options, norm="max")


def classwise_calibration_error(
    y_true, y_proba, *, labels=None, sample_weight=None, n_bins=15, strategy="uniform", norm="l1"
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
    codes, proba, weight, _ = validate_inputs(y_true, y_proba, labels, sample_weight)
    return classwise_error(codes, proba, weight, **options)


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


def binned_error(confidence, correct, weight, *, n_bins, strategy, norm):
    """Calibration error of checked confidences."""
    edges = bin_edges(confidence, weight, n_bins, strategy)
    return error_of_bins(fill_bins(confidence, correct, weight, edges), norm)


def classwise_error(codes, proba, weight, **options):
    """Calibration error of the checked columns, combined."""
    errors = [binned_error(p, codes == k, weight, **options) for k, p in enumerate(proba.T)]
    return float(pool_classes(np.array(errors), options["norm"]))


def debiased_error(confidence, correct, weight, *, n_bins, strategy):
    """Debiased l2 error of checked confidences."""
    edges = bin_edges(confidence, weight, n_bins, strategy)
    bins = fill_bins(confidence, correct, weight, edges)
    many = bins.weight >= 2
    n = bins.weight[many]
    accuracy = bins.hits[many] / n
    square = (bins.gap[many] / n) ** 2 - accuracy * (1 - accuracy) / (n - 1)
    return float(np.sqrt(max(n @ square / bins.weight.sum(), 0.0)))


def plugin_error(confidence, correct, weight, **options):
    """Debiased error without the correction: that of the population that the rows themselves are."""
    return binned_error(confidence, correct, weight, **options, norm="l2")

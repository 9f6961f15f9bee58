"""Selective prediction: risk against coverage, with ties in confidence resolved by expectation.

Within a group of equal confidences every order is equally likely, so each row gets the group's mean
error, and the order of the rows does not matter.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.special import digamma
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics._inputs import effective_weight, top_label


class RiskCoverageCurve(NamedTuple):
    """Risk of the most confident rows; one point a row, most confident first."""

    coverage: np.ndarray
    risk: np.ndarray
    threshold: np.ndarray


def risk_coverage_curve(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Error rate among the i most confident rows, for every i.

    .. math:: \mathrm{risk}_i = E\Big[ \frac1i \sum_{j \le i} 1[\hat y_{(j)} \ne y_{(j)}] \Big]

    over a random order of rows with equal confidence.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice. Rows of weight 0 have no point.

    Returns
    -------
    curve : RiskCoverageCurve
        A named tuple of arrays of shape (n_samples,): ``coverage``, the share of the rows answered,
        rising to 1; ``risk``, their error rate; ``threshold``, the least confidence among them.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    aurc : Area under it.

    References
    ----------
    El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010,
    https://jmlr.org/papers/v11/el-yaniv10a.html.

    Examples
    --------
    >>> from sksve.metrics import risk_coverage_curve
    >>> curve = risk_coverage_curve([0, 1, 0, 1], [0.1, 0.8, 0.7, 0.6])
    >>> curve.coverage
    array([0.25, 0.5 , 0.75, 1.  ])
    >>> curve.risk.round(3)
    array([0.   , 0.   , 0.333, 0.25 ])
    """
    confidence, correct, weight = top_label(y_true, y_proba, labels, sample_weight)
    w = np.ones(len(confidence)) if weight is None else weight
    order = np.lexsort((w, -confidence))  # by weight among ties, so that the points are unique
    groups = _groups(confidence, correct, weight)
    end = np.cumsum(w[order])
    group = np.searchsorted(groups.end, end * (1 - 1e-12)).clip(max=len(groups.end) - 1)
    errors = groups.errors_before[group] + groups.rate[group] * (end - groups.before[group])
    return RiskCoverageCurve(end / end[-1], np.clip(errors / end, 0.0, 1.0), confidence[order])


def aurc(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Area under the risk-coverage curve (AURC).

    .. math:: \mathrm{AURC} = \frac1n \sum_i \mathrm{risk}_i

    the mean of :func:`risk_coverage_curve`'s risks. Low if the classifier is accurate and its
    errors are among the rows it is least confident of.

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
    area : float
        Between 0 (best) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    eaurc : Less the area that no ranking could avoid.

    References
    ----------
    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
    ICLR 2019, arXiv:1805.08206.

    Examples
    --------
    >>> from sksve.metrics import aurc
    >>> round(aurc([0, 1, 0, 1], [0.1, 0.8, 0.7, 0.6]), 6)
    0.145833
    """
    return risk_area(*top_label(y_true, y_proba, labels, sample_weight))


def eaurc(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Excess area under the risk-coverage curve (E-AURC): the part of AURC due to the ranking.

    .. math:: \mathrm{E\text{-}AURC} = \mathrm{AURC} - \frac1n \sum_{j=1}^{e} \frac{j}{n - e + j}

    with e errors among n rows: the subtracted area is that of a ranking that puts all errors last.

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
    area : float
        Between 0 (confidence ranks every error last) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    aurc : The whole area.

    References
    ----------
    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
    ICLR 2019, arXiv:1805.08206.

    Examples
    --------
    >>> from sksve.metrics import eaurc
    >>> round(eaurc([0, 1, 0, 1], [0.1, 0.8, 0.7, 0.6]), 6)
    0.083333
    """
    return excess_risk_area(*top_label(y_true, y_proba, labels, sample_weight))


def selective_accuracy(y_true, y_proba, *, coverage=0.8, labels=None, sample_weight=None):
    r"""Accuracy on the most confident share of the rows.

    .. math:: 1 - E\Big[ \frac1t \sum_{j \le t} 1[\hat y_{(j)} \ne y_{(j)}] \Big],
        \qquad t = \mathrm{coverage} \cdot n

    Of the row at the border the fraction that is covered counts; equal confidences count as a
    random order of theirs in expectation.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    coverage : float, default=0.8
        Share of the rows that are answered, in (0, 1].
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice.

    Returns
    -------
    accuracy : float
        Between 0 and 1 (best).

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or `coverage` are not as above.

    See Also
    --------
    risk_coverage_curve : At every coverage.

    References
    ----------
    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017,
    arXiv:1705.08500.

    Examples
    --------
    >>> from sksve.metrics import selective_accuracy
    >>> selective_accuracy([0, 1, 0, 1], [0.1, 0.8, 0.7, 0.6], coverage=0.5)
    1.0
    """
    check_parameters(
        {"coverage": [Interval(Real, 0, 1, closed="right")]},
        {"coverage": coverage},
        owner="selective_accuracy",
    )
    rows = top_label(y_true, y_proba, labels, sample_weight)
    return accuracy_at(*rows, coverage=coverage)


class _Groups(NamedTuple):
    """Rows of equal confidence, most confident first; sizes and errors count weights as rows."""

    before: np.ndarray  # rows more confident than the group
    end: np.ndarray  # before + the group's rows
    errors_before: np.ndarray
    rate: np.ndarray  # error rate within the group


def _groups(score, correct, weight):
    """Group rows by score, highest first."""
    w = np.ones(len(score)) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    s, w_sorted = score[order], w[order]
    wrong = w_sorted * (1.0 - correct[order])
    first = np.flatnonzero(np.concatenate([[True], s[1:] != s[:-1]]))
    size = np.add.reduceat(w_sorted, first)
    errors = np.add.reduceat(wrong, first)
    end = np.cumsum(size)
    return _Groups(end - size, end, np.cumsum(errors) - errors, errors / size)


def risk_area(confidence, correct, weight):
    """Area under the risk-coverage curve of checked confidences."""
    weight = effective_weight(weight)
    before, end, errors_before, rate = _groups(confidence, correct, weight)
    # A group of w rows after A rows with E errors adds sum_{j=1}^{w} (E + j r) / (A + j), which is
    # w r + (E - r A) (psi(A + w + 1) - psi(A + 1)), with a meaning for fractional weights as well.
    size = end - before
    harmonic = _harmonic(before, end, len(confidence) if weight is None else None)
    total = (size * rate + (errors_before - rate * before) * harmonic).sum()
    return float(np.clip(total / end[-1], 0.0, 1.0))


def _harmonic(before, end, n_rows):
    """Sum of 1 / j over ``before < j <= end``; by a table if these count `n_rows` rows."""
    if n_rows is None:
        many = digamma(end + 1) - digamma(before + 1)
    else:
        table = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n_rows + 1))])
        many = table[end.astype(np.int64)] - table[before.astype(np.int64)]
    return np.where(end - before == 1, 1 / (before + 1), many)


def excess_risk_area(confidence, correct, weight):
    """Area less that of the ranking that knows which rows are correct."""
    weight = effective_weight(weight)
    w = np.ones(len(correct)) if weight is None else weight
    total, right = w.sum(), w @ correct
    # Errors last: sum_{j=1}^{e} j / (right + j), with e = total - right, by the same formula.
    best = (total - right) - right * (digamma(total + 1) - digamma(right + 1))
    return max(risk_area(confidence, correct, weight) - float(best / total), 0.0)


def accuracy_at(confidence, correct, weight, *, coverage):
    """Accuracy of the most confident share of checked confidences."""
    before, end, errors_before, rate = _groups(confidence, correct, weight)
    target = coverage * end[-1]
    group = min(int(np.searchsorted(end, target)), len(end) - 1)
    errors = errors_before[group] + rate[group] * (target - before[group])
    return float(np.clip(1.0 - errors / target, 0.0, 1.0))

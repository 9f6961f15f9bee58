"""The calibration curve, which a reliability diagram draws, and tests of calibration."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtr
from sklearn.utils._param_validation import Interval, StrOptions

from sksve._validation import check_parameters
from sksve.metrics._binning import CONSTRAINTS, bin_edges, error_of_bins, fill_bins, pool_bins
from sksve.metrics._inputs import make_generator, top_label, validate_inputs
from sksve.metrics._resampling import null_gaps


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Confidence against accuracy, bin by bin; what :func:`calibration_curve` returns.

    Bins without rows keep their place: count 0 and NaN.

    Parameters
    ----------
    bin_edges : ndarray of shape (n_bins + 1,)
        From 0 to 1. Bins are right-closed, the first includes 0.
    counts : ndarray of shape (n_bins,)
        Rows in each bin; with weights, their sum.
    mean_confidence : ndarray of shape (n_bins,)
        Mean probability of the bin's rows.
    accuracy : ndarray of shape (n_bins,)
        Share of the bin's rows that are correct (of the class, with ``class_label``).
    interval : ndarray of shape (n_bins, 2)
        Clopper-Pearson interval of the accuracy: low, high.
    confidence_level : float
        Level of the interval.

    Examples
    --------
    >>> from sksve.metrics import calibration_curve
    >>> curve = calibration_curve([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], n_bins=2)
    >>> curve.counts, curve.mean_confidence, curve.accuracy
    (array([0., 4.]), array([nan, 0.8]), array([nan,  1.]))
    """

    bin_edges: np.ndarray
    counts: np.ndarray
    mean_confidence: np.ndarray
    accuracy: np.ndarray
    interval: np.ndarray
    confidence_level: float

    def __len__(self):
        return len(self.counts)


def calibration_curve(
    y_true,
    y_proba,
    *,
    labels=None,
    sample_weight=None,
    n_bins=15,
    strategy="uniform",
    confidence_level=0.95,
    class_label=None,
):
    r"""Mean confidence and accuracy per bin, with an exact interval for the accuracy.

    In bin b, with :math:`\hat p_i` the predicted class's probability,

    .. math::
        \mathrm{conf}(b) = \frac{1}{n_b} \sum_{i \in b} \hat p_i, \qquad
        \mathrm{acc}(b) = \frac{1}{n_b} \sum_{i \in b} 1[\hat y_i = y_i]

    and the interval is Clopper and Pearson's. The bins are those of
    :func:`expected_calibration_error`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice, in the interval too.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows (fewer bins where confidences tie).
    confidence_level : float, default=0.95
        Level of each bin's interval.
    class_label : label, default=None
        None: the predicted class. A label: this class against the rest, so that the curve is of
        its column's probability.

    Returns
    -------
    curve : CalibrationCurve
        The record.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    expected_calibration_error : The curve's mean distance from the diagonal.

    References
    ----------
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 1934, doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> from sksve.metrics import calibration_curve
    >>> curve = calibration_curve(["a", "a", "b"], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], n_bins=5)
    >>> curve.counts
    array([0., 0., 0., 2., 1.])
    >>> curve.interval.round(3)[3:]
    array([[0.158, 1.   ], [0.025, 1.   ]])
    """
    options = {"n_bins": n_bins, "strategy": strategy, "confidence_level": confidence_level}
    check_parameters(
        CONSTRAINTS | {"confidence_level": [Interval(Real, 0, 1, closed="neither")]},
        options,
        owner="calibration_curve",
    )
    if class_label is None:
        confidence, correct, weight = top_label(y_true, y_proba, labels, sample_weight)
    else:
        codes, proba, weight, names = validate_inputs(y_true, y_proba, labels, sample_weight)
        column = column_of(class_label, names)
        confidence, correct = proba[:, column], codes == column
    edges = bin_edges(confidence, weight, n_bins, strategy)
    counts, confidences, hits = fill_bins(confidence, correct, weight, edges)
    full = np.where(counts > 0, counts, np.nan)
    return CalibrationCurve(
        bin_edges=edges,
        counts=counts,
        mean_confidence=confidences / full,
        accuracy=hits / full,
        interval=clopper_pearson(hits, counts, confidence_level),
        confidence_level=float(confidence_level),
    )


def clopper_pearson(hits, counts, confidence_level):
    """Return exact binomial intervals of shape ``(b, 2)``; NaN where there are no rows.

    Weights count as rows, so `hits` and `counts` may be fractions.
    """
    tail = (1.0 - confidence_level) / 2
    misses = np.maximum(counts - hits, 0.0)
    some, missed = hits > 0, misses > 0
    low, high = np.zeros(len(counts)), np.ones(len(counts))
    low[some] = betaincinv(hits[some], misses[some] + 1, tail)
    high[missed] = betaincinv(hits[missed] + 1, misses[missed], 1 - tail)
    interval = np.column_stack([low, high])
    interval[counts == 0] = np.nan
    return interval


def column_of(class_label, labels):
    """Return the column of a label, or say which labels there are."""
    for column, label in enumerate(labels):
        equal = label == class_label
        if isinstance(equal, (bool, np.bool_)) and equal:  # an array or pandas' NA is no label
            return column
    raise ValueError(f"class_label must be one of {labels.tolist()}. Got {class_label!r}.")


class _Result(NamedTuple):
    statistic: float
    pvalue: float


class CalibrationTestResult(_Result):
    """Statistic and p-value of a calibration test; unpacks into these two.

    Parameters
    ----------
    statistic : float
        The test's statistic.
    pvalue : float
        Probability of a statistic at least as extreme if the probabilities are true.
    test : str
        Which test it was.

    Examples
    --------
    >>> from sksve.metrics import calibration_test
    >>> result = calibration_test([0, 1, 1, 1], [0.1, 0.2, 0.2, 0.1], test="spiegelhalter")
    >>> result
    CalibrationTestResult(statistic=3.333..., pvalue=0.00085..., test='spiegelhalter')
    >>> statistic, pvalue = result
    """

    test: str

    def __new__(cls, statistic, pvalue, test):
        self = super().__new__(cls, float(statistic), float(pvalue))
        self.test = test
        return self

    def __getnewargs__(self):
        return (self.statistic, self.pvalue, self.test)

    def __repr__(self):
        return (
            f"CalibrationTestResult(statistic={self.statistic!r}, pvalue={self.pvalue!r}, "
            f"test={self.test!r})"
        )


def calibration_test(
    y_true,
    y_proba,
    *,
    labels=None,
    sample_weight=None,
    test="resampling",
    n_resamples=1000,
    n_bins=15,
    strategy="uniform",
    random_state=None,
):
    r"""Test whether the probabilities could be true.

    ``test="resampling"`` (consistency resampling) compares the expected calibration error T of the
    predicted class with the errors :math:`T_r` of labels drawn from the probabilities themselves:

    .. math:: p = \frac{1 + \#\{r : T_r \ge T\}}{1 + R}

    It detects any miscalibration of the predicted class that the bins resolve.
    ``test="spiegelhalter"`` compares the Brier score, over all classes, with its expectation,

    .. math::
        z = \frac{\sum_i (s_i - p_{i y_i})}{\sqrt{\sum_i \big(\sum_k p_{ik}^3 - s_i^2\big)}},
        \qquad s_i = \sum_k p_{ik}^2

    two-sided against the normal distribution (large z: overconfident). It is fast, but cannot see
    over- and underconfidence that cancel.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice, with two labels.
    test : {"resampling", "spiegelhalter"}, default="resampling"
        Which test.
    n_resamples : int, default=1000
        Number R of drawn label sets.
    n_bins : int, default=15
        Number of bins of the error.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows.
    random_state : int, Generator, RandomState or None, default=None
        Source of the draws. None: different draws each time.

    Returns
    -------
    result : CalibrationTestResult
        Unpacks into ``(statistic, pvalue)``; ``result.test`` names the test. Spiegelhalter's statistic
        is infinite, with p-value 0, if all rows are certain and some are wrong.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    expected_calibration_error : The first test's statistic.

    References
    ----------
    Bröcker and Smith, "Increasing the Reliability of Reliability Diagrams", Weather and
    Forecasting 2007, doi:10.1175/WAF993.1. Vaicenavicius et al., "Evaluating model calibration in
    classification", AISTATS 2019, arXiv:1902.06977. Spiegelhalter, "Probabilistic prediction in
    patient management and clinical trials", Statistics in Medicine 1986,
    doi:10.1002/sim.4780050506.

    Examples
    --------
    >>> import numpy as np
    >>> from sksve.metrics import calibration_test
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=1000)
    >>> y = rng.uniform(size=1000) < p
    >>> calibration_test(y, p, random_state=0).pvalue > 0.05
    True
    >>> calibration_test(y, p**2, random_state=0).pvalue
    0.000999000999000999
    """
    check_parameters(
        CONSTRAINTS
        | {
            "test": [StrOptions({"resampling", "spiegelhalter"})],
            "n_resamples": [Interval(Integral, 1, None, closed="left")],
        },
        {"test": test, "n_resamples": n_resamples, "n_bins": n_bins, "strategy": strategy},
        owner="calibration_test",
    )
    if test == "spiegelhalter":
        codes, proba, weight, _ = validate_inputs(y_true, y_proba, labels, sample_weight)
        z = _spiegelhalter(codes, proba, weight)
        return CalibrationTestResult(z, 2 * ndtr(-abs(z)), test)
    confidence, correct, weight = top_label(y_true, y_proba, labels, sample_weight)
    edges = bin_edges(confidence, weight, n_bins, strategy)
    bins = fill_bins(confidence, correct, weight, edges)
    gap = null_gaps(confidence, weight, edges, n_resamples, make_generator(random_state))
    drawn = pool_bins(gap, bins.weight, "l1")
    error = error_of_bins(bins, "l1")
    # Errors that differ by rounding only are ties, and a tie is as extreme.
    extreme = np.count_nonzero(drawn >= error - 1e-12)
    return CalibrationTestResult(error, (1 + extreme) / (1 + n_resamples), test)


def _spiegelhalter(codes, proba, weight):
    """Spiegelhalter's z for any number of classes, from checked input."""
    w = np.ones(len(codes)) if weight is None else weight
    square = np.einsum("ij,ij->i", proba, proba)
    cube = np.einsum("ij,ij,ij->i", proba, proba, proba)
    excess = w @ (square - proba[np.arange(len(codes)), codes])
    variance = w @ np.maximum(cube - square**2, 0.0)
    if variance <= 1e-15 * w.sum():  # all rows uniform or one-hot: nothing is random
        return 0.0 if abs(excess) <= 1e-9 * w.sum() else np.inf
    return excess / np.sqrt(variance)

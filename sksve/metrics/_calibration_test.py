"""Tests of the hypothesis that the probabilities are true."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from sklearn.utils._param_validation import Interval, StrOptions

from sksve._validation import check_parameters
from sksve.metrics._binning import Bins, bin_edges, fill_bins
from sksve.metrics._calibration_error import CONSTRAINTS, error_of_bins, pool_bins
from sksve.metrics._draws import null_gaps
from sksve.metrics._inputs import check_inputs, make_generator
from sksve.metrics._top_label import top_label

__all__ = ["CalibrationTestResult", "calibration_test", "spiegelhalter"]


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
        Chance of a statistic at least as extreme if the probabilities are true.
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

    It sees any miscalibration of the predicted class that the bins can see.
    ``test="spiegelhalter"`` compares the Brier score, over all classes, with its expectation,

    .. math::
        z = \frac{\sum_i (s_i - p_{i y_i})}{\sqrt{\sum_i \big(\sum_k p_{ik}^3 - s_i^2\big)}},
        \qquad s_i = \sum_k p_{ik}^2

    two-sided against the normal law (large z: over-confident). It is fast, and blind where over-
    and under-confidence cancel.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice, with two labels of its own.
    test : {"resampling", "spiegelhalter"}, default="resampling"
        Which test.
    n_resamples : int, default=1000
        Number R of drawn label sets.
    n_bins : int, default=15
        Number of bins of the error.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equally many rows.
    random_state : int, Generator, RandomState or None, default=None
        Source of the draws. None: another one each time.

    Returns
    -------
    result : CalibrationTestResult
        Unpacks into ``(statistic, pvalue)``; ``result.test`` names the test. Spiegelhalter's statistic
        is infinite, with p-value 0, where no row leaves anything to chance and some are wrong.

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
        codes, proba, weight, _ = check_inputs(y_true, y_proba, labels, sample_weight)
        z = spiegelhalter(codes, proba, weight)
        return CalibrationTestResult(z, 2 * ndtr(-abs(z)), test)
    confidence, correct, weight = top_label(y_true, y_proba, labels, sample_weight)
    edges = bin_edges(confidence, weight, n_bins, strategy)
    bins: Bins = fill_bins(confidence, correct, weight, edges)
    gap = null_gaps(confidence, weight, edges, n_resamples, make_generator(random_state))
    drawn = pool_bins(gap, bins.weight, "l1")
    error = error_of_bins(bins, "l1")
    # Errors that differ by rounding only are ties, and a tie is as extreme.
    extreme = np.count_nonzero(drawn >= error - 1e-12)
    return CalibrationTestResult(error, (1 + extreme) / (1 + n_resamples), test)


def spiegelhalter(codes, proba, weight):
    """Spiegelhalter's z for any number of classes, from checked input."""
    w = np.ones(len(codes)) if weight is None else weight
    square = np.einsum("ij,ij->i", proba, proba)
    cube = np.einsum("ij,ij,ij->i", proba, proba, proba)
    excess = w @ (square - proba[np.arange(len(codes)), codes])
    variance = w @ np.maximum(cube - square**2, 0.0)
    if variance <= 1e-15 * w.sum():  # all rows uniform or one-hot: nothing is random
        return 0.0 if abs(excess) <= 1e-9 * w.sum() else np.inf
    return excess / np.sqrt(variance)

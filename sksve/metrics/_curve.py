"""The calibration curve: what a reliability diagram draws."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
from scipy.special import betaincinv
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics._binning import bin_edges, fill_bins
from sksve.metrics._calibration_error import CONSTRAINTS
from sksve.metrics._inputs import check_inputs
from sksve.metrics._top_label import top_label

__all__ = ["CalibrationCurve", "calibration_curve", "clopper_pearson"]


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
        codes, proba, weight, names = check_inputs(y_true, y_proba, labels, sample_weight)
        column = _column_of(class_label, names)
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


def _column_of(class_label, labels):
    at = np.flatnonzero(labels == class_label)
    if len(at) != 1:
        raise ValueError(f"class_label must be one of {labels.tolist()}. Got {class_label!r}.")
    return int(at[0])

"""Detection of out-of-distribution (OOD) rows by a score. Larger score: OOD, the positive class."""

from numbers import Real

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics._inputs import as_float64, as_real, check_sample_weight


def ood_auroc(score_in, score_out, *, sample_weight_in=None, sample_weight_out=None):
    r"""Area under the ROC curve of detecting out-of-distribution rows by a score.

    .. math:: P(s_\mathrm{out} > s_\mathrm{in}) + \tfrac12 P(s_\mathrm{out} = s_\mathrm{in})

    Parameters
    ----------
    score_in : array-like of shape (n_in,)
        Scores of in-distribution rows, for instance ``Uncertainty.total``.
    score_out : array-like of shape (n_out,)
        Scores of out-of-distribution rows: the positive class, with larger scores.
    sample_weight_in, sample_weight_out : array-like, default=None
        Weights of the rows; weight 2 equals the row twice.

    Returns
    -------
    auroc : float
        Between 0 and 1 (best); 0.5 for an uninformative score.

    Raises
    ------
    ValueError
        If the scores are not finite and one-dimensional, or a side is empty.

    See Also
    --------
    fpr_at_tpr : One point of the curve.

    References
    ----------
    Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples
    in Neural Networks", ICLR 2017, arXiv:1610.02136.

    Examples
    --------
    >>> from sksve.metrics import ood_auroc
    >>> ood_auroc([0.1, 0.2, 0.6], [0.5, 0.9])
    0.8333333333333334
    """
    is_out, score, weight = _pool(score_in, score_out, sample_weight_in, sample_weight_out)
    return float(roc_auc_score(is_out, score, sample_weight=weight))


def ood_aupr(score_in, score_out, *, sample_weight_in=None, sample_weight_out=None):
    r"""Area under the precision-recall curve of detecting out-of-distribution rows by a score.

    .. math:: \mathrm{AP} = \sum_t (R_t - R_{t-1}) \, P_t

    over falling thresholds (average precision, without interpolation). Its chance level is the
    share of out-of-distribution rows, so compare only at equal shares.

    Parameters
    ----------
    score_in : array-like of shape (n_in,)
        Scores of in-distribution rows.
    score_out : array-like of shape (n_out,)
        Scores of out-of-distribution rows: the positive class, with larger scores.
    sample_weight_in, sample_weight_out : array-like, default=None
        Weights of the rows; weight 2 equals the row twice.

    Returns
    -------
    aupr : float
        Between 0 and 1 (best).

    Raises
    ------
    ValueError
        If the scores are not finite and one-dimensional, or a side is empty.

    See Also
    --------
    ood_auroc : Does not depend on the share of out-of-distribution rows.

    References
    ----------
    Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples
    in Neural Networks", ICLR 2017, arXiv:1610.02136.

    Examples
    --------
    >>> from sksve.metrics import ood_aupr
    >>> ood_aupr([0.1, 0.2, 0.6], [0.5, 0.9])
    0.8333333333333333
    """
    is_out, score, weight = _pool(score_in, score_out, sample_weight_in, sample_weight_out)
    return float(average_precision_score(is_out, score, sample_weight=weight))


def fpr_at_tpr(score_in, score_out, *, tpr=0.95, sample_weight_in=None, sample_weight_out=None):
    r"""False positive rate when at least `tpr` of the out-of-distribution rows are detected.

    .. math:: P(s_\mathrm{in} \ge \tau), \qquad
        \tau = \max \{ t : P(s_\mathrm{out} \ge t) \ge \mathrm{tpr} \}

    Parameters
    ----------
    score_in : array-like of shape (n_in,)
        Scores of in-distribution rows.
    score_out : array-like of shape (n_out,)
        Scores of out-of-distribution rows: the positive class, with larger scores.
    tpr : float, default=0.95
        Share of the out-of-distribution rows that must be detected, in (0, 1].
    sample_weight_in, sample_weight_out : array-like, default=None
        Weights of the rows; weight 2 equals the row twice.

    Returns
    -------
    fpr : float
        Between 0 (best) and 1.

    Raises
    ------
    ValueError
        If the scores are not finite and one-dimensional, a side is empty, or `tpr` is out of
        range.

    See Also
    --------
    ood_auroc : Over all thresholds.

    References
    ----------
    Liang, Li and Srikant, "Enhancing The Reliability of Out-of-distribution Image Detection in
    Neural Networks", ICLR 2018, arXiv:1706.02690.

    Examples
    --------
    >>> from sksve.metrics import fpr_at_tpr
    >>> fpr_at_tpr([0.1, 0.2, 0.6, 0.7], [0.5, 0.9, 0.8], tpr=0.6)
    0.0
    >>> fpr_at_tpr([0.1, 0.2, 0.6, 0.7], [0.5, 0.9, 0.8])
    0.5
    """
    check_parameters(
        {"tpr": [Interval(Real, 0, 1, closed="right")]}, {"tpr": tpr}, owner="fpr_at_tpr"
    )
    inside, w_in = _check_scores(score_in, sample_weight_in, "in")
    outside, w_out = _check_scores(score_out, sample_weight_out, "out")
    order = np.argsort(-outside, kind="stable")
    detected = np.cumsum(w_out[order])
    # The margin keeps rounding in tpr * total from asking for one row more.
    last = np.searchsorted(detected, tpr * detected[-1] * (1 - 1e-12))
    threshold = outside[order][min(int(last), len(order) - 1)]
    return float(w_in[inside >= threshold].sum() / w_in.sum())


def _pool(score_in, score_out, weight_in, weight_out):
    inside, w_in = _check_scores(score_in, weight_in, "in")
    outside, w_out = _check_scores(score_out, weight_out, "out")
    is_out = np.repeat([0, 1], [len(inside), len(outside)])
    return is_out, np.concatenate([inside, outside]), np.concatenate([w_in, w_out])


def _check_scores(score, weight, side):
    """Return finite scores and weights; rows of weight 0 are gone."""
    name = f"score_{side}"
    score = as_float64(as_real(score, name))
    if score.ndim != 1 or not len(score):
        raise ValueError(
            f"{name} must have shape (n_{side},) with at least one score. Got shape {score.shape}."
        )
    weight = check_sample_weight(weight, len(score))
    if weight is None:
        weight = np.ones(len(score))
    score, weight = score[weight > 0], weight[weight > 0]
    if not np.isfinite(score).all():
        row = int(np.argmin(np.isfinite(score)))
        raise ValueError(f"{name} must be finite. One of its scores is {score[row]}.")
    return score, weight

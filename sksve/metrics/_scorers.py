"""Our metrics as scikit-learn scorers."""

from functools import partial

from sksve.metrics._brier import brier_score
from sksve.metrics._calibration_error import (
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
)
from sksve.metrics._debiased import debiased_calibration_error
from sksve.metrics._likelihood import negative_log_likelihood
from sksve.metrics._selective import aurc, eaurc, selective_accuracy
from sksve.metrics._smooth import smooth_calibration_error

__all__ = ["scorers"]

# name -> (sign, metric); greater is better for every scorer.
_SCORED = {
    "neg_expected_calibration_error": (-1, expected_calibration_error),
    "neg_classwise_calibration_error": (-1, classwise_calibration_error),
    "neg_maximum_calibration_error": (-1, maximum_calibration_error),
    "neg_debiased_calibration_error": (-1, debiased_calibration_error),
    "neg_smooth_calibration_error": (-1, smooth_calibration_error),
    "neg_multiclass_brier_score": (-1, brier_score),
    "log_likelihood": (-1, negative_log_likelihood),
    "neg_aurc": (-1, aurc),
    "neg_eaurc": (-1, eaurc),
    "selective_accuracy": (1, selective_accuracy),
}


def scorers(**options):
    r"""Scikit-learn scorers of these metrics, by name: ``scoring=`` of cross-validation and search.

    Each calls ``predict_proba``, once for all of them together in ``cross_validate``, and passes
    ``labels=estimator.classes_``, so labels of any kind do and a fold may miss a class:

    .. math:: \mathrm{score} = \pm\, \mathrm{metric}(y, \mathrm{predict\_proba}(X))

    with the sign that makes greater better; names that begin with ``neg_`` are of losses.
    ``neg_multiclass_brier_score`` is the negative :func:`brier_score` (for two classes twice
    scikit-learn's ``neg_brier_score``), ``log_likelihood`` the negative
    :func:`negative_log_likelihood`.

    Parameters
    ----------
    **options : dict
        Options of metrics by scorer name, for instance
        ``neg_expected_calibration_error={"n_bins": 10}``.

    Returns
    -------
    scorers : dict of str to scorer
        A new dict; take one scorer out of it, or pass it whole.

    Raises
    ------
    ValueError
        If an option names no scorer.

    See Also
    --------
    calibration_report : All of them for one set of predictions, with intervals.

    References
    ----------
    Pedregosa et al., "Scikit-learn: Machine Learning in Python", JMLR 2011, arXiv:1201.0490.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from sksve.metrics import scorers
    >>> X, y = load_iris(return_X_y=True)
    >>> found = cross_validate(LogisticRegression(max_iter=500), X, y, scoring=scorers())
    >>> float(found["test_neg_multiclass_brier_score"].mean().round(2))
    -0.06
    """
    # Only here: loads all of sklearn.metrics.
    from sksve.metrics._proba_scorer import ProbaScorer

    unknown = sorted(set(options) - set(_SCORED))
    if unknown:
        raise ValueError(f"scorers has no scorer named {unknown}. It has {sorted(_SCORED)}.")
    return {
        name: ProbaScorer(partial(metric, **options.get(name, {})), sign, name)
        for name, (sign, metric) in _SCORED.items()
    }

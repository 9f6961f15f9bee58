"""The table of our metrics: how to resample each, and its scikit-learn scorer."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from types import MappingProxyType
from typing import Any, NamedTuple

from sklearn.metrics import accuracy_score
from sklearn.metrics._scorer import _BaseScorer

from sksve.metrics._calibration_error import (
    binned_error,
    classwise_calibration_error,
    classwise_error,
    debiased_calibration_error,
    debiased_error,
    expected_calibration_error,
    maximum_calibration_error,
    plugin_error,
)
from sksve.metrics._scores import brier_losses, brier_score, log_losses, negative_log_likelihood
from sksve.metrics._selective import (
    accuracy_at,
    aurc,
    eaurc,
    excess_risk_area,
    risk_area,
    selective_accuracy,
)
from sksve.metrics._smooth import smooth_calibration_error, smooth_error


class Kind(NamedTuple):
    """How to compute a metric again and again on rows that are already checked."""

    core: Callable[..., Any]  # (a, b, weight, **options); for "losses": (codes, proba) -> (n,)
    reads: str  # what a and b are: "top": confidence, correct | "all", "losses": codes, proba
    scorer: str = ""  # its name among scorers()
    options: Mapping[str, Any] = MappingProxyType({})
    high: float = 1.0  # all are at least 0
    interval: str = "error"  # "error": of calibration | "proportion" | "mean" | "area"
    # The metric of the population that the rows themselves are; None: as core.
    population: Callable[..., Any] | None = None

    @property
    def is_binned(self):
        """Whether the sums of bins of equal width are all that the metric needs."""
        return self.options.get("strategy") == "uniform" and "norm" in self.options


_BINNED = {"n_bins": 15, "strategy": "uniform", "norm": "l1"}
_MAXIMUM = _BINNED | {"norm": "max"}
_QUANTILE = {"n_bins": 15, "strategy": "quantile"}
# Accuracy is a mean over rows, like a loss.
ACCURACY = Kind(
    lambda codes, proba: (proba.argmax(axis=1) == codes).astype(float),
    "losses",
    interval="proportion",
)
KINDS = {
    expected_calibration_error: Kind(
        binned_error, "top", "neg_expected_calibration_error", _BINNED
    ),
    classwise_calibration_error: Kind(
        classwise_error, "all", "neg_classwise_calibration_error", _BINNED
    ),
    maximum_calibration_error: Kind(binned_error, "top", "neg_maximum_calibration_error", _MAXIMUM),
    debiased_calibration_error: Kind(
        debiased_error, "top", "neg_debiased_calibration_error", _QUANTILE, population=plugin_error
    ),
    smooth_calibration_error: Kind(smooth_error, "top", "neg_smooth_calibration_error"),
    brier_score: Kind(
        brier_losses, "losses", "neg_multiclass_brier_score", high=2.0, interval="mean"
    ),
    negative_log_likelihood: Kind(
        log_losses, "losses", "log_likelihood", high=float("inf"), interval="mean"
    ),
    aurc: Kind(risk_area, "top", "neg_aurc", interval="area"),
    eaurc: Kind(excess_risk_area, "top", "neg_eaurc", interval="area"),
    selective_accuracy: Kind(
        accuracy_at, "top", "selective_accuracy", {"coverage": 0.8}, interval="proportion"
    ),
}


def kind_of(metric):
    """Return the Kind of one of our metrics, seen through ``functools.partial``, or None."""
    if isinstance(metric, partial):
        inner = kind_of(metric.func)
        extra = metric.keywords
        if inner is None or metric.args or not set(extra) <= set(inner.options):
            return None
        return inner._replace(options={**inner.options, **extra})
    try:
        return ACCURACY if metric is accuracy_score else KINDS.get(metric)
    except TypeError:  # a callable object without a hash
        return None


class ProbaScorer(_BaseScorer):
    """Scorer of ``metric(y_true, y_proba, labels=estimator.classes_)``."""

    # make_scorer cannot do this: its keyword arguments are fixed before there is an estimator. The
    # base brings scikit-learn's cache of predictions (one predict_proba for all scorers of
    # cross_validate) and its metadata routing (set_score_request).

    def __init__(self, metric, sign, name):
        super().__init__(metric, sign, {}, "predict_proba")
        self._name = name

    def __repr__(self):
        return f"ProbaScorer({self._name!r})"

    def _accept_sample_weight(self):
        return "sample_weight" in signature(self._score_func).parameters

    def _score(self, method_caller, estimator, X, y_true, **kwargs):
        # For two classes scikit-learn hands out the column of classes_[1] alone, which is what a
        # one-dimensional y_proba means here.
        y_proba = method_caller(estimator, "predict_proba", X, pos_label=None)
        value = self._score_func(y_true, y_proba, labels=estimator.classes_, **kwargs)
        return self._sign * value


def scorers(**options):
    r"""Scikit-learn scorers of these metrics, by name: ``scoring=`` of cross-validation and search.

    Each calls ``predict_proba``, once for all of them together in ``cross_validate``, and passes
    ``labels=estimator.classes_``, so labels may be of any kind and a fold may miss a class:

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
    >>> scores = cross_validate(LogisticRegression(max_iter=500), X, y, scoring=scorers())
    >>> float(scores["test_neg_multiclass_brier_score"].mean().round(2))
    -0.06
    """
    by_name = {kind.scorer: metric for metric, kind in KINDS.items()}
    unknown = sorted(set(options) - set(by_name))
    if unknown:
        raise ValueError(f"scorers has no scorer named {unknown}. It has {sorted(by_name)}.")
    return {
        name: ProbaScorer(
            partial(metric, **options.get(name, {})),
            1 if metric is selective_accuracy else -1,
            name,
        )
        for name, metric in by_name.items()
    }

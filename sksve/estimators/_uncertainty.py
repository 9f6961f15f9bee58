"""Uncertainty through whatever scikit-learn has wrapped around a classifier with members."""

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sksve.metrics import Uncertainty

__all__ = ["predict_uncertainty"]


def predict_uncertainty(estimator: Any, X: Any) -> Uncertainty:
    """Uncertainty of a classifier with members, also inside scikit-learn's wrappers.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier with ``predict_uncertainty``, or a fitted ``Pipeline``, search object,
        ``FrozenEstimator`` or ``CalibratedClassifierCV`` around one. Where cross-calibration has
        fitted several copies, the members of all of them form one ensemble; scikit-learn's
        calibrators act on the mean only, so the members are those before calibration.
    X : as in the estimator's fit

    Returns
    -------
    Uncertainty

    Raises
    ------
    TypeError
        If no classifier with members is found inside.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksve import SVEClassifier, predict_uncertainty
    >>> from sksve.backbones import make_tiny_backbone
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    >>> pipe = make_pipeline("passthrough", clf).fit(["good", "bad"] * 4, [1, 0] * 4)
    >>> predict_uncertainty(pipe, ["good", "bad"]).total.shape
    (2,)
    """
    check_is_fitted(estimator)  # the wrapper, too: what it wraps may have been fitted before
    if hasattr(estimator, "predict_uncertainty"):
        return estimator.predict_uncertainty(X)
    index = getattr(X, "index", None)
    return Uncertainty.from_members(
        _members(estimator, X), index=None if callable(index) else index
    )


def _members(estimator: Any, X: Any) -> np.ndarray:
    """Probabilities (m, n, c) of all members inside `estimator`."""
    if hasattr(estimator, "predict_proba_members"):
        return estimator.predict_proba_members(X)
    if isinstance(estimator, Pipeline):
        for _, _, transform in estimator._iter(with_final=False):
            X = transform.transform(X)
        return _members(estimator.steps[-1][1], X)
    if hasattr(estimator, "best_estimator_"):
        return _members(estimator.best_estimator_, X)
    if hasattr(estimator, "calibrated_classifiers_"):
        inner = {id(c.estimator): c.estimator for c in estimator.calibrated_classifiers_}
        return np.concatenate([_members(e, X) for e in inner.values()])
    for name in ("estimator_", "estimator"):  # threshold classifiers; FrozenEstimator
        if hasattr(estimator, name):
            return _members(getattr(estimator, name), X)
    raise TypeError(
        f"{type(estimator).__name__} holds no classifier with members. predict_uncertainty takes a "
        "fitted sksve classifier, or a fitted Pipeline, search object, FrozenEstimator or "
        "CalibratedClassifierCV around one."
    )

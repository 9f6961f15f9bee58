"""Members and uncertainty of a classifier inside scikit-learn's wrappers.

It is here, not beside the classifiers, because calibration and plotting need it without torch.
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sksve.metrics._members import Uncertainty

# Wrappers whose prediction is that of one inner estimator, and its attribute once fitted. Others with an
# `estimator` (bagging, one-versus-rest, ...) combine several: the members of one are not theirs.
_INNER = {
    BaseSearchCV: "best_estimator_",
    FixedThresholdClassifier: "estimator_",
    TunedThresholdClassifierCV: "estimator_",
    FrozenEstimator: "estimator",
}


def predict_uncertainty(estimator: Any, X: Any) -> Uncertainty:
    """Uncertainty of a classifier with members, also inside scikit-learn's wrappers.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier with ``predict_uncertainty``, or a fitted ``Pipeline``, search object,
        threshold classifier, ``FrozenEstimator``, ``CalibratedClassifierCV`` or wrapper of
        :mod:`sksve.calibration` around one, in any nesting. ``sksve.calibration``'s wrapper gives
        the calibrated uncertainty. scikit-learn's calibrators act on the mean only, so through
        them the members are those before calibration; where cross-calibration has fitted several
        copies, the members of all of them form one ensemble.
    X : as in the estimator's fit

    Returns
    -------
    Uncertainty
        Arrays of shape (n_samples,), under the rows' names if `X` is a frame or a series.

    Raises
    ------
    TypeError
        If no classifier with members is found inside.
    NotFittedError
        If the estimator or what it wraps is not fitted.

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
    owners = _owners(estimator, X)
    if len(owners) == 1 and hasattr(owners[0][0], "predict_uncertainty"):
        owner, seen = owners[0]
        uncertainty = owner.predict_uncertainty(seen)
    else:
        uncertainty = Uncertainty.from_members(_join(owners), novelty=_novelty(owners))
    names = row_names(X)
    # A step may have renamed the rows; the names of X count.
    return uncertainty if names is None else replace(uncertainty, index=names)


def predict_members(estimator: Any, X: Any) -> np.ndarray:
    """Probabilities ``(m, n, c)`` of all members inside `estimator`."""
    return _join(_owners(estimator, X))


def predict_members_and_novelty(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities of all members inside and the rows' novelty, None if they know of none."""
    owners = _owners(estimator, X)
    if len(owners) == 1 and hasattr(owners[0][0], "_predict_members_and_novelty"):
        owner, seen = owners[0]
        return owner._predict_members_and_novelty(seen)
    return _join(owners), _novelty(owners)


def predict_novelty(estimator: Any, X: Any) -> np.ndarray | None:
    """Novelty of rows, by the classifiers with members inside; None if they know of none."""
    return _novelty(_owners(estimator, X))


def _novelty(owners: list[tuple[Any, Any]]) -> np.ndarray | None:
    """Mean of what the classifiers inside say, each of its own training rows."""
    found = []
    for owner, X in owners:
        novelty = owner._predict_novelty(X) if hasattr(owner, "_predict_novelty") else None
        if novelty is None:
            return None
        found.append(novelty)
    return np.mean(found, axis=0)


def has_members(estimator: Any) -> bool:
    """Whether there is a classifier with members inside, fitted or not."""
    if hasattr(estimator, "predict_proba_members"):
        return True
    inner = _inside(estimator)
    return bool(inner) and all(has_members(e) for e in inner)


def is_mean_of_members(estimator: Any) -> bool:
    """Whether ``predict_proba`` is known to be the members' mean, so that one sweep gives both."""
    if isinstance(estimator, CalibratedClassifierCV):
        return False
    if hasattr(estimator, "predict_proba_members"):
        return getattr(estimator, "_pools_by_mean", False)
    return any(is_mean_of_members(e) for e in _inside(estimator))


def row_names(X: Any) -> Any:
    """The index of a frame or series, else None; a list's ``index`` is a method."""
    index = getattr(X, "index", None)
    return None if callable(index) else index


def _join(owners: list[tuple[Any, Any]]) -> np.ndarray:
    members = [owner.predict_proba_members(X) for owner, X in owners]
    return members[0] if len(members) == 1 else np.concatenate(members)


def _owners(estimator: Any, X: Any) -> list[tuple[Any, Any]]:
    """Classifiers with members inside, each with the X that reaches it."""
    if hasattr(estimator, "predict_uncertainty") or hasattr(estimator, "predict_proba_members"):
        return [(estimator, X)]
    inner = _inside(estimator)
    if not inner:
        raise TypeError(
            f"{type(estimator).__name__} holds no classifier with members. predict_uncertainty "
            "takes a fitted sksve classifier, or a fitted Pipeline, search object, FrozenEstimator "
            "or calibrated classifier around one."
        )
    if isinstance(estimator, Pipeline):
        for _, _, transform in estimator._iter(with_final=False):
            X = transform.transform(X)
    return [owner for e in inner for owner in _owners(e, X)]


def _inside(estimator: Any) -> list[Any]:
    """The estimators whose predictions a wrapper returns; empty if it is no such wrapper."""
    if isinstance(estimator, Pipeline):
        return [estimator.steps[-1][1]]
    if isinstance(estimator, CalibratedClassifierCV):
        fitted = getattr(estimator, "calibrated_classifiers_", None)
        if fitted is None:
            return [estimator.estimator]
        return list({id(c.estimator): c.estimator for c in fitted}.values())
    for kind, name in (_INNER | _self_training()).items():
        if isinstance(estimator, kind):
            return [getattr(estimator, name, estimator.estimator)]
    # Other packages' search objects
    return [estimator.best_estimator_] if hasattr(estimator, "best_estimator_") else []


def _self_training() -> dict[type, str]:
    """As `_INNER`, without importing the module, which loads much else."""
    module = sys.modules.get("sklearn.semi_supervised")
    return {} if module is None else {module.SelfTrainingClassifier: "estimator_"}

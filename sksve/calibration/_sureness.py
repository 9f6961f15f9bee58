"""How sure a fitted classifier is of each row."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import entr

from sksve.metrics._inputs import normalise_rows
from sksve.metrics._predict_uncertainty import predict_uncertainty

__all__ = ["MEASURES", "judge", "sureness"]


def _confidence(estimator: Any, X: Any) -> np.ndarray:
    return _proba(estimator, X).max(axis=1)


def _margin(estimator: Any, X: Any) -> np.ndarray:
    second, first = np.partition(_proba(estimator, X), -2, axis=1)[:, -2:].T
    return first - second


def _entropy(estimator: Any, X: Any) -> np.ndarray:
    return -entr(_proba(estimator, X)).sum(axis=1)


def _epistemic(estimator: Any, X: Any) -> np.ndarray:
    return -predict_uncertainty(estimator, X).epistemic


MEASURES: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "confidence": _confidence,
    "margin": _margin,
    "entropy": _entropy,
    "epistemic": _epistemic,
}


def sureness(estimator: Any, X: Any, measure: Any) -> np.ndarray:
    """Value of a measure, by name or callable, on each row: finite, larger where surer."""
    function = MEASURES[measure] if isinstance(measure, str) else measure
    found = np.asarray(function(estimator, X), dtype=np.float64)
    if found.ndim != 1 or np.isnan(found).any():
        raise ValueError(
            "The 'measure' callable must return one number a row, none of them NaN. Got an array of "
            f"shape {found.shape}{' with NaN' if np.isnan(found).any() else ''}."
        )
    return found


def judge(estimator: Any, X: Any, *, measure: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sureness of each row, and the label it is given."""
    return sureness(estimator, X, measure), np.asarray(estimator.predict(X))


def _proba(estimator: Any, X: Any) -> np.ndarray:
    return normalise_rows(np.asarray(estimator.predict_proba(X)), "What the estimator predicts")

"""How confident a classifier is of each row, and whether the row is too novel to ask."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.special import entr

from sksve.metrics._inputs import normalise_rows
from sksve.metrics._predict_uncertainty import predict_novelty, predict_uncertainty


def _proba(estimator: Any, X: Any) -> ndarray:
    return normalise_rows(np.asarray(estimator.predict_proba(X)), "What the estimator predicts")


def _confidence(estimator: Any, X: Any) -> ndarray:
    return _proba(estimator, X).max(axis=1)


def _margin(estimator: Any, X: Any) -> ndarray:
    second, first = np.partition(_proba(estimator, X), -2, axis=1)[:, -2:].T
    return first - second


def _entropy(estimator: Any, X: Any) -> ndarray:
    return -entr(_proba(estimator, X)).sum(axis=1)


def _epistemic(estimator: Any, X: Any) -> ndarray:
    return -predict_uncertainty(estimator, X).epistemic


MEASURES: dict[str, Callable[[Any, Any], ndarray]] = {
    "confidence": _confidence,
    "margin": _margin,
    "entropy": _entropy,
    "epistemic": _epistemic,
}


def too_novel(estimator: Any, X: Any, max_novelty: float | None) -> ndarray:
    """Which rows are declined before anybody asks how confident the classifier is."""
    if max_novelty is None:
        return np.array(False)
    novelty = predict_novelty(estimator, X)
    if novelty is None:
        raise ValueError(
            f"max_novelty needs the novelty of rows, which {type(estimator).__name__} does not know. Wrap a "
            "classifier of sksve, such as SVEClassifier."
        )
    return novelty > max_novelty


def score_rows(estimator: Any, X: Any, measure: Any) -> ndarray:
    """Value of a measure, by name or callable, on each row: finite, larger where more confident."""
    function = MEASURES[measure] if isinstance(measure, str) else measure
    score = np.asarray(function(estimator, X), dtype=np.float64)
    if score.ndim != 1 or np.isnan(score).any():
        raise ValueError(
            "The 'measure' callable must return one number a row, none of them NaN. Got an array of "
            f"shape {score.shape}{' with NaN' if np.isnan(score).any() else ''}."
        )
    return score


def read_answers(
    estimator: Any, X: Any, *, measure: Any, max_novelty: float | None
) -> tuple[ndarray, ndarray]:
    """Score of each row, NaN where it is too novel, and the label it is given."""
    score = np.where(
        too_novel(estimator, X, max_novelty), np.nan, score_rows(estimator, X, measure)
    )
    return score, np.asarray(estimator.predict(X))

"""Probabilities of a classifier and its members on their way through calibrators."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone

from sksve._exceptions import CalibrationWarning
from sksve.calibration._cross_fit import align, known_rows
from sksve.calibration._rows import Rows
from sksve.calibration._scores import PROBA_FLOOR
from sksve.metrics._inputs import normalise_rows
from sksve.metrics._predict_uncertainty import predict_members

__all__ = ["calibrate", "demand_as_many", "fit_calibrators", "join_folds", "read_proba"]


def calibrate(calibrator: Any, proba: np.ndarray) -> np.ndarray:
    """Apply a fitted calibrator to probabilities ``(n, c)``."""
    found = calibrator.predict_proba(scores_for(calibrator, proba))
    found = np.asarray(found, dtype=np.float64)
    if found.shape != proba.shape:
        raise ValueError(
            f"{type(calibrator).__name__}.predict_proba must return an array of shape "
            f"{proba.shape}. Got shape {found.shape}."
        )
    return normalise_rows(found, f"What {type(calibrator).__name__} returns")


def scores_for(calibrator: Any, proba: np.ndarray) -> np.ndarray:
    """What a calibrator asks for: the probabilities, or their logarithms."""
    if getattr(calibrator, "input", "proba") == "logits":
        return np.log(np.maximum(proba, PROBA_FLOOR))
    return proba


def read_proba(estimator: Any, X: Any, *, classes: np.ndarray, by_member: bool) -> np.ndarray:
    """Probabilities ``(k, n, c)`` to calibrate: of the pool, k = 1, or of each member."""
    if by_member:
        proba = predict_members(estimator, X)
    else:
        proba = np.asarray(estimator.predict_proba(X), dtype=np.float64)[None]
    proba = align(proba, estimator.classes_, classes)
    flat = normalise_rows(proba.reshape(-1, len(classes)), "What the estimator predicts")
    return flat.reshape(proba.shape)


def join_folds(
    folds: list[tuple[np.ndarray, np.ndarray, np.ndarray]], rows: Rows
) -> tuple[np.ndarray, Rows]:
    """Join the folds in the order of the rows; leave out rows whose class a fold does not know."""
    for _, _, proba in folds:
        demand_as_many(len(proba), len(folds[0][2]))
    test = np.concatenate([t for t, _, _ in folds])
    known = np.concatenate([known_rows(rows.y[t], own) for t, own, _ in folds])
    if not known.all():
        lost = np.unique(rows.y[test[~known]]).tolist()
        warnings.warn(
            f"{np.count_nonzero(~known)} rows of {lost} are in folds whose training rows hold no "
            "such class. Calibration does without them. Use fewer folds or a stratified splitter.",
            CalibrationWarning,
            stacklevel=3,
        )
    proba = np.concatenate([p for _, _, p in folds], axis=1)
    order = np.argsort(test, kind="stable")
    order = order[known[order]]
    weight = None if rows.weight is None else rows.weight[test[order]]
    if not len(order) or (weight is not None and not weight.any()):
        raise ValueError(
            "No row of positive weight is left to calibrate on: no fold was trained on the classes "
            "of its test rows. Use a stratified splitter, or fewer folds."
        )
    return proba[:, order], rows._replace(y=rows.y[test[order]], weight=weight)


def fit_calibrators(calibrator: Any, proba: np.ndarray, rows: Rows) -> list[Any]:
    """Fit one calibrator for each of ``(k, n, c)``."""
    optional: dict[str, Any] = {"sample_weight": rows.weight, "labels": rows.classes}
    if rows.weight is None:
        del optional["sample_weight"]
    if not _takes(calibrator.fit, "labels"):
        del optional["labels"]
    fitted = []
    for p in proba:
        one = clone(calibrator)
        fitted.append(one.fit(scores_for(one, p), rows.y, **optional))
        calibrate(fitted[-1], p[:1])  # a map that does not fit shows now, not in prediction
    return fitted


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def demand_as_many(found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(
            f"Each member has a calibrator of its own, so the number of members must not change. "
            f"Expected {expected} members. Got {found}."
        )

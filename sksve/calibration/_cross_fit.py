"""Train on some rows, read off the others: what a model says of rows it has not seen."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

__all__ = ["align", "cross_fit", "fit_part", "known_rows", "test_part"]


def cross_fit(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    splits: Iterable[tuple[np.ndarray, np.ndarray]],
    params: Mapping[str, Any],
    read: Callable[[Any, Any], Any],
    n_jobs: int | None = None,
) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """Fit a clone on each split's training rows and read what it says of its test rows.

    Parameters
    ----------
    estimator : estimator
        Cloned, never fitted itself.
    X, y : rows and labels
    splits : iterable of (train, test)
        A row may be in several test parts, or in none.
    params : dict
        For ``estimator.fit``; what has one entry a row is indexed.
    read : callable (fitted, X_test) -> object
    n_jobs : int or None

    Returns
    -------
    list of (test rows, classes of the fold's estimator, what was read)

    Raises
    ------
    ValueError
        If the training rows of a split hold a single class.
    """
    splits = [(np.asarray(train), np.asarray(test)) for train, test in splits]
    for number, (train, _) in enumerate(splits):
        _demand_two_classes(np.unique(y[train]), number, len(splits))

    def job(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        fitted = fit_part(estimator, X, y, train, params)
        seen = read(fitted, test_part(estimator, X, y, train, test))
        return np.arange(len(y))[test], fitted.classes_, seen

    return Parallel(n_jobs=n_jobs)(delayed(job)(train, test) for train, test in splits)


def fit_part(
    estimator: Any, X: Any, y: np.ndarray, rows: np.ndarray, params: Mapping[str, Any]
) -> Any:
    """Fit a clone on some rows."""
    X_part, y_part = _safe_split(estimator, X, y, rows)
    return clone(estimator).fit(X_part, y_part, **_check_method_params(X, params, indices=rows))


def test_part(estimator: Any, X: Any, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> Any:
    """Rows to judge; of a kernel matrix, against the training rows."""
    return _safe_split(estimator, X, y, test, train)[0]


def align(proba: Any, own: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Give probabilities ``(..., c_own)`` the columns of all classes; a class not known has 0."""
    proba = np.asarray(proba, dtype=np.float64)
    if proba.shape[-1] != len(own):
        raise ValueError(
            f"The estimator knows {len(own)} classes, but its probabilities have shape "
            f"{proba.shape}: one column a class is needed."
        )
    if len(own) == len(classes):
        return proba
    full = np.zeros((*proba.shape[:-1], len(classes)))
    full[..., np.searchsorted(classes, own)] = proba
    return full


def known_rows(y: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which rows have a label that the fold's estimator could give."""
    return np.isin(y, own)


def _demand_two_classes(present: np.ndarray, number: int, n_splits: int) -> None:
    if len(present) < 2:
        raise ValueError(
            f"Split {number} of {n_splits} leaves only one class, {present.tolist()[0]!r}, to train on. "
            "Shuffle the rows, use a stratified splitter or another 'cv', or wrap a fitted "
            "classifier in FrozenEstimator and fit on held-out rows."
            if len(present)
            else f"Split {number} of {n_splits} leaves no row to train on."
        )

"""Rows a classifier has not seen: a share, folds, or all rows where it is frozen."""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedShuffleSplit, check_cv

from sksve.calibration._cross_fit import cross_fit, fit_part, test_part
from sksve.calibration._rows import Rows
from sksve.metrics._inputs import make_generator

__all__ = ["HeldOut", "hold_out"]


class HeldOut(NamedTuple):
    """A fitted estimator, and what was said of rows that were held out."""

    estimator: Any
    rows: np.ndarray
    sure: np.ndarray
    labels: np.ndarray


def hold_out(
    estimator: Any,
    rows: Rows,
    *,
    cv: Any,
    read: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]],
    params: Mapping[str, Any],
    split_params: Mapping[str, Any],
    n_jobs: int | None,
    random_state: Any,
) -> HeldOut:
    """Fit, and read sureness and labels of rows held out.

    With a share, the estimator is the one fitted on the other rows; with folds, one fitted on all.
    """
    X, y = rows.X, rows.y
    if isinstance(estimator, FrozenEstimator):
        return HeldOut(estimator, np.arange(len(y)), *read(estimator, X))
    if isinstance(cv, Real) and not isinstance(cv, Integral):
        if split_params:
            raise ValueError(
                "groups need a splitter that knows of them. Pass cv=GroupKFold(), for example."
            )
        seed = int(make_generator(random_state).integers(2**32))
        splitter = StratifiedShuffleSplit(1, test_size=cv, random_state=seed)
        train, test = next(splitter.split(np.empty((len(y), 1)), y))
        fitted = fit_part(estimator, X, y, train, params)
        return HeldOut(fitted, test, *read(fitted, test_part(estimator, X, y, train, test)))
    splits = check_cv(cv, y, classifier=True).split(X, y, **split_params)
    folds = cross_fit(estimator, X, y, splits, params, read, n_jobs)
    test = np.concatenate([t for t, _, _ in folds])
    sure = np.concatenate([found[0] for _, _, found in folds])
    labels = np.concatenate([found[1] for _, _, found in folds])
    return HeldOut(clone(estimator).fit(X, y, **params), test, sure, labels)

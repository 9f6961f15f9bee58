"""What was given -> calibration rows and test rows of every model, with columns in one order."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted

from sksve.metrics._inputs import as_array, encode_labels, validate_inputs


class Split(NamedTuple):
    """Calibration rows, and the test rows that are predicted with what was learned from them."""

    codes: np.ndarray  # (n_cal,) column of each calibration row's label
    cal: dict[str, np.ndarray]  # model -> (n_cal, c)
    rows: np.ndarray  # (n_test,) places among all test rows
    test: dict[str, np.ndarray]  # model -> (n_test, c)


class Data(NamedTuple):
    """Everything a comparison needs to know of the data."""

    labels: np.ndarray  # (c,)
    codes: np.ndarray  # (n,) column of each test row's label
    splits: list[Split]  # their test rows are all test rows, each once


def from_test_set(
    models: Mapping[str, Any], X_cal: Any, y_cal: Any, X_test: Any, y_test: Any, labels: Any
) -> Data:
    """One split: models that are fitted, or their probabilities."""
    estimators, pairs = _sort_out(models)
    for name, model in estimators.items():
        _demand_fitted(name, model)
    y = {"X_cal": as_array(y_cal, "y_cal"), "X_test": as_array(y_test, "y_test")}
    if estimators:
        for word, X in (("X_cal", X_cal), ("X_test", X_test)):
            if X is None:
                raise ValueError(
                    f"{word} is None, but {next(iter(estimators))!r} has to predict from it. Pass "
                    f"{word}, or give every model as a pair (proba_cal, proba_test)."
                )
            if _num_samples(X) != len(y[word]):
                raise ValueError(
                    f"{word} and {word.replace('X', 'y')} must have the same number of rows. "
                    f"Got {_num_samples(X)} and {len(y[word])}."
                )
    if labels is None:
        labels = _common_labels(estimators)
    if labels is None:
        labels = _distinct(y["X_cal"], y["X_test"])
    labels = np.asarray(labels)
    probabilities: dict[str, dict[str, Any]] = {"X_cal": {}, "X_test": {}}
    codes = {}
    for name, model in models.items():
        if name in pairs:
            probas = pairs[name]
        else:
            columns = _columns(name, model, labels)
            probas = [model.predict_proba(X)[:, columns] for X in (X_cal, X_test)]
        for word, proba in zip(("X_cal", "X_test"), probas):
            rows = "calibration" if word == "X_cal" else "test"
            try:
                checked = validate_inputs(y[word], proba, labels)
            except ValueError as error:
                raise ValueError(f"Model {name!r}, {rows} rows: {error}") from error
            probabilities[word][name], codes[word] = checked.proba, checked.codes
    n_test = len(codes["X_test"])
    split = Split(
        codes["X_cal"], probabilities["X_cal"], np.arange(n_test), probabilities["X_test"]
    )
    return Data(labels, codes["X_test"], [split])


def from_folds(
    models: Mapping[str, Any], X: Any, y: Any, cv: Any, groups: Any, labels: Any
) -> Data:
    """One split a fold: it is the test set, the next fold calibrates, models learn from the others.

    So no row ever judges a model or a calibrator that has seen it, at one fit per model and fold.
    """
    estimators, pairs = _sort_out(models)
    if pairs:
        raise ValueError(
            f"Model {next(iter(pairs))!r} is a pair of probabilities, which cannot be fitted per "
            "fold. Pass X_test and y_test in place of cv, or the classifier itself."
        )
    if X is None or _num_samples(X) != len(y):
        raise ValueError(
            "Cross-validation needs X_cal and y_cal with the same number of rows. "
            f"Got {'no X_cal' if X is None else _num_samples(X)} and {len(y)} labels."
        )
    y = np.asarray(y)
    labels = _distinct(y) if labels is None else np.asarray(labels)
    codes, labels = encode_labels(y, len(labels), labels)
    folds = [test for _, test in check_cv(cv, y, classifier=True).split(X, y, groups)]
    if len(folds) < 3 or not np.array_equal(np.sort(np.concatenate(folds)), np.arange(len(y))):
        raise ValueError(
            "cv must give at least 3 folds that hold each row once as a test row: one to judge, one "
            f"to calibrate, the others to fit. Got {len(folds)} folds with "
            f"{sum(map(len, folds))} test rows for {len(y)} rows."
        )
    splits = []
    for k, test in enumerate(folds):
        cal = folds[(k + 1) % len(folds)]
        fit = np.setdiff1d(np.arange(len(y)), np.concatenate([test, cal]))
        split = Split(codes[cal], {}, test, {})
        for name, model in estimators.items():
            fitted = clone(model).fit(_safe_indexing(X, fit), y[fit])
            for rows, into in ((cal, split.cal), (test, split.test)):
                proba = _spread(fitted, fitted.predict_proba(_safe_indexing(X, rows)), labels)
                into[name] = validate_inputs(codes[rows], proba, np.arange(len(labels))).proba
        splits.append(split)
    return Data(labels, codes, splits)


def _distinct(*parts: np.ndarray) -> np.ndarray:
    """Sorted labels of all rows."""
    if any(part.ndim != 1 for part in parts):
        shapes = " and ".join(str(part.shape) for part in parts)
        raise ValueError(f"Labels must have shape (n_samples,), one a row. Got {shapes}.")
    try:
        return np.unique(np.concatenate(parts))
    except TypeError:
        raise ValueError(
            "Labels must be of one kind, none missing, in calibration and test rows alike."
        ) from None


def _sort_out(models: Any) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
    """Tell classifiers from pairs of probabilities."""
    if not isinstance(models, Mapping) or not models:
        raise ValueError(
            "models must be a mapping of names to fitted classifiers or to pairs "
            f"(proba_cal, proba_test), with at least one entry. Got {type(models).__name__}."
        )
    estimators, pairs = {}, {}
    for name, model in models.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"Names of models must be strings that are not empty. Got {name!r}.")
        if isinstance(model, (tuple, list)) and len(model) == 2:
            pairs[name] = (model[0], model[1])
        elif hasattr(model, "predict_proba") and not isinstance(model, type):
            estimators[name] = model
        else:
            raise ValueError(
                f"Model {name!r} must be a classifier with predict_proba or a pair (proba_cal, "
                f"proba_test). Got {type(model).__name__}."
            )
    return estimators, pairs


def _demand_fitted(name: str, model: Any) -> None:
    try:
        if hasattr(model, "fit"):
            check_is_fitted(model)
        if not hasattr(model, "classes_"):
            raise NotFittedError("it has no classes_")
    except NotFittedError as error:
        raise NotFittedError(
            f"Model {name!r} ({type(model).__name__}) is not fitted. Fit it on rows other than the "
            "calibration and test rows, or leave out X_test and y_test and pass cv= to have it "
            "fitted per fold."
        ) from error


def _common_labels(estimators: Mapping[str, Any]) -> np.ndarray | None:
    """Classes of the first classifier."""
    return next((np.asarray(model.classes_) for model in estimators.values()), None)


def _columns(name: str, model: Any, labels: np.ndarray) -> list[int]:
    """Places of the labels among a model's columns."""
    own = np.asarray(model.classes_).tolist()
    if sorted(map(repr, own)) != sorted(map(repr, labels.tolist())):
        raise ValueError(
            f"All models must know the same classes. Model {name!r} knows {own[:10]}, "
            f"others (or labels=) {labels.tolist()[:10]}."
        )
    return [own.index(label) for label in labels.tolist()]


def _spread(model: Any, proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Put a fold's columns into their places; a class it never saw gets probability 0."""
    place = labels.tolist().index
    full = np.zeros((len(proba), len(labels)))
    full[:, [place(label) for label in np.asarray(model.classes_).tolist()]] = proba
    return full

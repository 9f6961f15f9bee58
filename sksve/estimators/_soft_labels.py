"""Labels that are distributions: what a share of people said, one row of probabilities per sample."""

from typing import Any

import numpy as np

__all__ = ["class_factors", "expected_accuracy", "read_soft_labels"]

# Rows may miss 1 by rounding, as everywhere in sksve.
_TOLERANCE = 1e-3


def read_soft_labels(
    y: Any, *, classes: np.ndarray | None = None, name: str = "y"
) -> tuple[np.ndarray, np.ndarray] | None:
    """Read `y` if it is a table of probabilities.

    Parameters
    ----------
    y : array-like
        Soft labels have two columns or more, of floats. A frame's columns are the classes.
    classes : ndarray of shape (n_classes,), optional
        The classes there must be. A frame's columns may then come in any order.
    name : str
        For messages.

    Returns
    -------
    (classes, proba) or None
        Classes, ``0, 1, ...`` where they have no names; rows of float64 that sum to 1, shape
        (n_samples, n_classes). None: `y` is a vector or a single column.

    Raises
    ------
    ValueError
        If `y` has several columns that are no probabilities, or not those of `classes`.
    """
    values = _table(y)
    if values is None:
        return None
    what = (
        f"{name} of shape {values.shape} must hold soft labels: floats >= 0, each row summing to 1."
    )
    if values.dtype.kind in "iub":
        raise ValueError(
            f"{what} Got {values.dtype.name}s. For one class a row, pass {name}.argmax(axis=1), or "
            f"{name}.astype(float) as soft labels; several classes a row are not supported."
        )
    if values.dtype.kind != "f":
        raise ValueError(f"{what} Got {values.dtype.name}s.")
    proba = values.astype(np.float64)
    if not np.isfinite(proba).all():
        raise ValueError(f"{what} Input {name} contains NaN or infinity.")
    sums = proba.sum(axis=1)
    wrong = np.flatnonzero((np.abs(sums - 1) > _TOLERANCE) | (proba < 0).any(axis=1))
    if wrong.size:
        raise ValueError(f"{what} Got {values[wrong[0]].tolist()} in row {wrong[0]}.")
    named = hasattr(y, "columns")
    own = np.array(list(y.columns)) if named else np.arange(proba.shape[1])
    if len(np.unique(own)) < len(own):
        raise ValueError(f"The columns of {name} are its classes, each once. Got {own.tolist()}.")
    proba = proba / sums[:, None]
    if classes is None:
        return own, proba
    if len(classes) != len(own) or (named and set(classes.tolist()) != set(own.tolist())):
        raise ValueError(
            f"{name} must have one column per class. Known: {classes.tolist()}. Got {own.tolist()}."
        )
    if named:
        place = {label: j for j, label in enumerate(own.tolist())}
        proba = proba[:, [place[label] for label in classes.tolist()]]
    return classes, proba


def _table(y: Any) -> np.ndarray | None:
    if hasattr(y, "to_numpy"):
        values = y.to_numpy()
    elif isinstance(y, np.ndarray):
        values = y
    elif isinstance(y, (list, tuple)) and len(y) and isinstance(y[0], (list, tuple, np.ndarray)):
        try:
            values = np.asarray(y)
        except ValueError:  # ragged: scikit-learn's own message
            return None
    else:
        return None
    return values if values.ndim == 2 and values.shape[1] >= 2 else None


def class_factors(class_weight: Any, classes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Weight of each class, shape (n_classes,); "balanced" counts shares of rows.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
    classes : ndarray of shape (n_classes,)
    proba : ndarray of shape (n_samples, n_classes)
    """
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str):  # "balanced"
        mass = proba.sum(axis=0)
        present = mass > 0
        return np.where(present, len(proba) / (present.sum() * np.where(present, mass, 1.0)), 1.0)
    return np.array([float(class_weight.get(label, 1.0)) for label in classes.tolist()])


def expected_accuracy(
    predicted: np.ndarray, proba: np.ndarray, classes: np.ndarray, sample_weight: Any
) -> float:
    """Chance that a label drawn from each row of `proba` is the one predicted, averaged over rows."""
    place = {label: j for j, label in enumerate(classes.tolist())}
    columns = np.array([place[label] for label in predicted.tolist()])
    return float(np.average(proba[np.arange(len(proba)), columns], weights=sample_weight))

"""Reading y and weights: checked, encoded, held out."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    column_or_1d,
)

from sksve._arrays import as_array, as_real, column_names
from sksve.preprocessing._cell import is_missing
from sksve.preprocessing._table import (
    from_arrow,
)

# Rows of probabilities may miss 1 by rounding, as everywhere in sksve.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Targets:
    """Labels and weights ready for training.

    Only rows of positive weight are kept; the weights have mean 1.
    """

    classes: (
        np.ndarray
    )  # sorted labels of all rows, also of weight zero; of soft labels, the columns
    rows: np.ndarray  # which rows of X are kept
    y: np.ndarray  # (n_kept,) encoded labels, or (n_kept, n_classes) soft labels
    weight: np.ndarray  # (n_kept,), of mean 1
    scale: float = 1.0  # times a weight: what the user gave

    @classmethod
    def to_judge_by(cls, y: Any, classes: np.ndarray, n_samples: int) -> Self:
        """Encode the labels `y_val` of rows that are not trained on."""
        codes = encode_labels(y, classes, n_samples, "y_val")
        return cls(classes, np.arange(n_samples), codes, np.ones(n_samples))

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Hold out a stratified share of the rows, for early stopping: those to train on, those held out."""
        codes = self.y if self.y.ndim == 1 else self.y.argmax(axis=1)
        counts = np.bincount(codes)
        n_valid = int(np.ceil(fraction * len(codes)))
        n_classes = int((counts > 0).sum())
        if n_valid < n_classes or len(codes) - n_valid < n_classes or counts[counts > 0].min() < 2:
            raise ValueError(
                f"early_stopping=True holds out {n_valid} of {len(codes)} rows, which cannot hold "
                f"every one of the {n_classes} classes on both sides. Use more rows, another "
                "validation_fraction, or pass X_val and y_val."
            )
        parts = train_test_split(
            np.arange(len(codes)), test_size=n_valid, stratify=codes, random_state=seed % 2**32
        )
        train, valid = (self._of(np.sort(rows)) for rows in parts)
        return train, valid

    def _of(self, rows: np.ndarray) -> Self:
        return replace(self, rows=self.rows[rows], y=self.y[rows], weight=self.weight[rows])


def read_targets(
    y: Any,
    n_samples: int,
    sample_weight: Any,
    class_weight: Any,
    classes: np.ndarray | None = None,
) -> Targets:
    """Check labels and weights, drop rows of weight zero, scale the rest to mean 1.

    `classes` are those there are, of which `y` may hold any part (``partial_fit``). Without it they are
    those of `y`, and at least two must have weight.
    """
    soft = read_soft_labels(y, classes=classes)
    if soft is not None:
        labels, encoded = soft
        _check_length(encoded, n_samples)
    else:
        labels, encoded = _hard_labels(y, n_samples, classes)
    weight = np.ones(n_samples)
    if sample_weight is not None:
        try:
            weight = _check_sample_weight(
                sample_weight, np.empty((n_samples, 1)), dtype=np.float64, ensure_non_negative=True
            )
        except OverflowError:  # an int beyond the range of floats
            raise ValueError("sample_weight must be finite, as float64.") from None
        if not weight.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
    rows = np.flatnonzero(weight > 0)
    encoded, weight = encoded[rows], weight[rows]
    if classes is None:
        _check_two_classes(labels, encoded)
    if class_weight is not None:
        _check_class_weight(class_weight)
        if soft is None:
            factor = compute_sample_weight(class_weight, labels[encoded])
        else:
            # A weighted cross-entropy is that of other shares under another row weight.
            shares = encoded * _class_factors(class_weight, labels, encoded)
            factor = shares.sum(axis=1)
            kept = factor > 0
            encoded = np.where(kept[:, None], shares / np.where(kept, factor, 1)[:, None], encoded)
        weight = weight * factor
        if not weight.any():
            raise ValueError("class_weight leaves every row with weight zero.")
    scale = float(weight.mean())
    return Targets(labels, rows, encoded, weight / scale, scale)


def _hard_labels(
    y: Any, n_samples: int, classes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    y = _plain(y, "y")
    if isinstance(y, (list, tuple)):
        try:
            np.shape(y)
        except ValueError:
            raise ValueError("y must hold one label per row. Its rows differ in length.") from None
    y = column_or_1d(y, warn=True)
    _check_length(y, n_samples)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity.")
    if y.dtype == object and any(is_missing(label) for label in y.tolist()):
        raise ValueError("Input y contains NaN or None: every row needs a label.")
    check_classification_targets(y)
    if classes is not None:
        return classes, encode_labels(y, classes, n_samples, "y")
    labels, codes = np.unique(y, return_inverse=True)
    return labels, codes


def _check_length(y: np.ndarray, n_samples: int) -> None:
    if len(y) != n_samples:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_samples} rows, "
            f"y has {len(y)}."
        )


def _check_class_weight(class_weight: Any) -> None:
    for weight in class_weight.values() if isinstance(class_weight, dict) else ():
        try:
            good = 0 <= float(weight) < np.inf
        except (TypeError, ValueError, OverflowError):
            good = False
        if not good:
            raise ValueError(
                "The 'class_weight' parameter must hold finite weights >= 0. Got "
                f"{class_weight!r:.200} instead."
            )


def _check_two_classes(classes: np.ndarray, encoded: np.ndarray) -> None:
    present = np.unique(encoded) if encoded.ndim == 1 else np.flatnonzero(encoded.sum(axis=0) > 0)
    if len(present) < 2:
        raise ValueError(
            "The training data must hold at least two classes. Got only one class: "
            f"{classes.tolist()[present[0]]!r} in {len(encoded)} rows of positive weight."
        )


def encode_labels(y: Any, classes: np.ndarray, n_samples: int, name: str) -> np.ndarray:
    """Encode labels by known classes; soft labels come back as rows of shape (n_classes,)."""
    soft = read_soft_labels(y, classes=classes, name=name)
    if soft is not None:
        check_consistent_length(soft[1], np.empty(n_samples))
        return soft[1]
    y = column_or_1d(_plain(y, name), warn=True)
    check_consistent_length(y, np.empty(n_samples))
    codes = {label: code for code, label in enumerate(classes.tolist())}
    unknown = list(dict.fromkeys(label for label in y.tolist() if label not in codes))
    if unknown:
        raise ValueError(
            f"{name} holds labels that are not among the classes: {unknown}. Known: "
            f"{classes.tolist()}."
        )
    return np.array([codes[label] for label in y.tolist()], dtype=np.int64)


# -- soft labels ---------------------------------------------------------------------------------


def read_soft_labels(
    y: Any, *, classes: np.ndarray | None = None, name: str = "y"
) -> tuple[np.ndarray, np.ndarray] | None:
    """Read `y` as classes and rows of probabilities; None if it is a vector or a single column.

    Soft labels have two columns or more, of floats. A frame's columns are the classes, in any order if
    `classes` are known; without names they are ``0, 1, ...``.
    """
    y = _plain(y, name)
    values = _table(y)
    if values is None:
        return None
    column_names(y, name)  # refuses names of several levels, and missing ones
    what = (
        f"{name} of shape {values.shape} must hold soft labels: floats >= 0, each row summing to 1."
    )
    if values.dtype.kind in "iub":
        raise ValueError(
            f"{what} Got {values.dtype.name}s. For one class per row, pass {name}.argmax(axis=1), or "
            f"{name}.astype(float) as soft labels; several classes per row are not supported."
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
    columns = np.array(list(y.columns)) if named else np.arange(proba.shape[1])
    if len(np.unique(columns)) < len(columns):
        raise ValueError(
            f"The columns of {name} are its classes, each once. Got {columns.tolist()}."
        )
    proba = proba / sums[:, None]
    if classes is None:
        return columns, proba
    if len(classes) != len(columns) or (named and set(classes.tolist()) != set(columns.tolist())):
        raise ValueError(
            f"{name} must have one column per class. Known: {classes.tolist()}. Got {columns.tolist()}."
        )
    if named:
        place = {label: j for j, label in enumerate(columns.tolist())}
        proba = proba[:, [place[label] for label in classes.tolist()]]
    return classes, proba


def _plain(y: Any, name: str) -> Any:
    """Bring Arrow's data, tensors and masked arrays to numpy's or pandas'; leave all else."""
    is_array = hasattr(y, "detach") or isinstance(y, np.ma.MaskedArray)
    return as_array(y, name) if is_array else from_arrow(y)


def _table(y: Any) -> np.ndarray | None:
    if hasattr(y, "to_numpy"):
        values = y.to_numpy()
        if values.ndim == 2 and values.dtype == object:  # nullable columns or Arrow's, if not texts
            cells = values.ravel().tolist()
            values = values if any(isinstance(v, str) for v in cells) else as_real(values, "y")
    elif isinstance(y, np.ndarray):
        values = y
    elif isinstance(y, (list, tuple)) and len(y) and isinstance(y[0], (list, tuple, np.ndarray)):
        try:
            values = np.asarray(y)
        except ValueError:  # ragged: scikit-learn's message
            return None
    else:
        return None
    return values if values.ndim == 2 and values.shape[1] >= 2 else None


def _class_factors(class_weight: Any, classes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Weight of each class, shape (n_classes,); "balanced" counts shares of rows."""
    if isinstance(class_weight, str):  # "balanced"
        mass = proba.sum(axis=0)
        present = mass > 0
        return np.where(present, len(proba) / (present.sum() * np.where(present, mass, 1.0)), 1.0)
    return np.array([float(class_weight.get(label, 1.0)) for label in classes.tolist()])


def expected_accuracy(
    predicted: np.ndarray, proba: np.ndarray, classes: np.ndarray, sample_weight: Any
) -> float:
    """Mean chance that a label drawn from a row of `proba` is the one predicted there."""
    place = {label: j for j, label in enumerate(classes.tolist())}
    columns = np.array([place[label] for label in predicted.tolist()])
    return float(np.average(proba[np.arange(len(proba)), columns], weights=sample_weight))


def data_sizes(train: Targets, valid: Targets | None = None) -> dict[str, Any]:
    """Count the rows trained on and judged, and (of labels that are not soft) those of each class."""
    hard = train.y.ndim == 1
    return {
        "training": len(train.y),
        "validation": 0 if valid is None else len(valid.y),
        "classes": np.bincount(train.y, minlength=len(train.classes)).tolist() if hard else [],
    }

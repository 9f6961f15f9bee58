"""Labels and weights: encoded, counted and scaled before anything slow begins."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d

from sksve.estimators._soft_labels import class_factors, read_soft_labels
from sksve.inputs import is_missing

__all__ = ["Targets", "encode_labels", "read_targets"]


@dataclass(frozen=True)
class Targets:
    """Labels and weights ready for training.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels of all rows, also of those with weight zero; of soft labels, the columns.
    rows : ndarray of shape (n_kept,)
        Rows with a positive weight.
    y : ndarray of shape (n_kept,), or (n_kept, n_classes)
        Encoded labels, or soft labels.
    weight : ndarray of shape (n_kept,)
        Weights of mean 1.
    """

    classes: np.ndarray
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        """Encoded labels, of soft ones the most probable, shape (n_kept,)."""
        return self.y if self.y.ndim == 1 else self.y.argmax(axis=1)


def read_targets(
    y: Any,
    n_samples: int,
    sample_weight: Any,
    class_weight: Any,
    classes: np.ndarray | None = None,
) -> Targets:
    """Check labels and weights, drop rows of weight zero, scale the rest to mean 1.

    Parameters
    ----------
    y : array-like of shape (n_samples,), or (n_samples, n_classes)
        Labels, or soft labels: rows of probabilities.
    n_samples : int
        Rows of X.
    sample_weight : array-like of shape (n_samples,) or None
    class_weight : dict, "balanced" or None
    classes : ndarray of shape (n_classes,), optional
        The classes there are, of which `y` may hold any part (``partial_fit``). Without it they
        are those of `y`, and at least two must have weight.

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        If lengths differ, labels are missing or continuous, weights are negative or all zero, or
        fewer than two classes remain.
    """
    soft = read_soft_labels(y, classes=classes)
    if soft is not None:
        found, encoded = soft
        _check_length(encoded, n_samples)
    else:
        found, encoded = _hard_labels(y, n_samples, classes)
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
        _check_two_classes(found, encoded)
    if class_weight is not None:
        _check_class_weight(class_weight)
        if soft is None:
            factor = compute_sample_weight(class_weight, found[encoded])
        else:
            # A weighted cross-entropy is that of other shares under another row weight.
            shares = encoded * class_factors(class_weight, found, encoded)
            factor = shares.sum(axis=1)
            kept = factor > 0
            encoded = np.where(kept[:, None], shares / np.where(kept, factor, 1)[:, None], encoded)
        weight = weight * factor
        if not weight.any():
            raise ValueError("class_weight leaves every row with weight zero.")
    return Targets(found, rows, encoded, weight / weight.mean())


def _hard_labels(
    y: Any, n_samples: int, classes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(y, (list, tuple)):
        try:
            np.shape(y)
        except ValueError:
            raise ValueError("y must hold one label a row. Its rows differ in length.") from None
    y = column_or_1d(y, warn=True)
    _check_length(y, n_samples)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity.")
    if y.dtype == object and any(is_missing(label) for label in y.tolist()):
        raise ValueError("Input y contains NaN or None: every row needs a label.")
    check_classification_targets(y)
    if classes is not None:
        return classes, encode_labels(y, classes, n_samples, "y")
    found, codes = np.unique(y, return_inverse=True)
    return found, codes


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
    """Encode labels by known classes; soft labels come back as rows of shape (n_classes,).

    Raises
    ------
    ValueError
        If lengths differ or a label is unknown.
    """
    soft = read_soft_labels(y, classes=classes, name=name)
    if soft is not None:
        check_consistent_length(soft[1], np.empty(n_samples))
        return soft[1]
    y = column_or_1d(y, warn=True)
    check_consistent_length(y, np.empty(n_samples))
    codes = {label: code for code, label in enumerate(classes.tolist())}
    unknown = list(dict.fromkeys(label for label in y.tolist() if label not in codes))
    if unknown:
        raise ValueError(
            f"{name} holds labels that are not among the classes: {unknown}. Known: "
            f"{classes.tolist()}."
        )
    return np.array([codes[label] for label in y.tolist()], dtype=np.int64)

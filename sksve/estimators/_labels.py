"""Labels and weights: encoded, counted and scaled before anything slow begins."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d

from sksve.inputs import is_missing

__all__ = ["Targets", "encode_labels", "read_targets"]


@dataclass(frozen=True)
class Targets:
    """Labels and weights ready for training.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels of all rows, also of those with weight zero.
    rows : ndarray of shape (n_kept,)
        Rows with a positive weight.
    y : ndarray of shape (n_kept,)
        Encoded labels.
    weight : ndarray of shape (n_kept,)
        Weights of mean 1.
    """

    classes: np.ndarray
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray


def read_targets(y: Any, n_samples: int, sample_weight: Any, class_weight: Any) -> Targets:
    """Check labels and weights, drop rows of weight zero, scale the rest to mean 1.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    n_samples : int
        Rows of X.
    sample_weight : array-like of shape (n_samples,) or None
    class_weight : dict, "balanced" or None

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        If lengths differ, labels are missing or continuous, weights are negative or all zero, or
        fewer than two classes remain.
    """
    y = column_or_1d(y, warn=True)
    if len(y) != n_samples:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_samples} rows, "
            f"y has {len(y)}."
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity.")
    if y.dtype == object and any(is_missing(label) for label in y.tolist()):
        raise ValueError("Input y contains NaN or None: every row needs a label.")
    check_classification_targets(y)
    classes, encoded = np.unique(y, return_inverse=True)
    weight = np.ones(len(y))
    if sample_weight is not None:
        weight = _check_sample_weight(
            sample_weight, np.empty((n_samples, 1)), dtype=np.float64, ensure_non_negative=True
        )
        if not weight.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
    rows = np.flatnonzero(weight > 0)
    present = classes[np.unique(encoded[rows])]
    if len(present) < 2:
        raise ValueError(
            "The training data must hold at least two classes. Got only one class: "
            f"{present[0]!r} in {len(rows)} rows of positive weight."
        )
    weight = weight[rows]
    if class_weight is not None:
        factor = compute_sample_weight(class_weight, y[rows])
        if not (np.isfinite(factor) & (factor >= 0)).all():
            raise ValueError(
                "The 'class_weight' parameter must hold finite weights >= 0. Got "
                f"{class_weight!r} instead."
            )
        weight = weight * factor
        if not weight.any():
            raise ValueError("class_weight leaves every row with weight zero.")
    return Targets(classes, rows, encoded[rows], weight / weight.mean())


def encode_labels(y: Any, classes: np.ndarray, n_samples: int, name: str) -> np.ndarray:
    """Encode labels by known classes.

    Raises
    ------
    ValueError
        If lengths differ or a label is unknown.
    """
    y = column_or_1d(y, warn=True)
    check_consistent_length(y, np.empty(n_samples))
    codes = {label: code for code, label in enumerate(classes.tolist())}
    unknown = list(dict.fromkeys(label for label in y.tolist() if label not in codes))
    if unknown:
        raise ValueError(
            f"{name} holds labels that y does not: {unknown}. Known: {classes.tolist()}."
        )
    return np.array([codes[label] for label in y.tolist()], dtype=np.int64)

"""What is to be learned: texts, labels and weights, read and checked before any model is loaded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from sksve.estimators._labels import Targets

__all__ = ["Task", "hold_out"]


@dataclass(frozen=True)
class Task:
    """Rows to learn from, and rows to judge by.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    texts : list
        The rows of positive weight: texts, pairs of texts, or images.
    y, weight : ndarray of shape (n_kept,)
        Their encoded labels (soft labels: (n_kept, n_classes)), and their weights of mean 1.
    train_rows, valid_rows : ndarray of int
        Which of them are trained on, and which are held out for early stopping.
    judged : (list, ndarray) or None
        Rows and encoded labels of ``X_val`` and ``y_val``.
    """

    classes: np.ndarray
    texts: list[Any]
    y: np.ndarray
    weight: np.ndarray
    train_rows: np.ndarray
    valid_rows: np.ndarray
    judged: tuple[list[Any], np.ndarray] | None


def hold_out(targets: Targets, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a stratified share of the kept rows off, for early stopping.

    Returns
    -------
    train_rows, valid_rows : ndarray of int
        Positions among the kept rows, ascending.

    Raises
    ------
    ValueError
        If either side cannot hold every class.
    """
    rows = np.arange(len(targets.y))
    counts = np.bincount(targets.codes)
    n_valid = int(np.ceil(fraction * len(rows)))
    n_classes = int((counts > 0).sum())
    if n_valid < n_classes or len(rows) - n_valid < n_classes or counts[counts > 0].min() < 2:
        raise ValueError(
            f"early_stopping=True holds out {n_valid} of {len(rows)} rows, which cannot hold "
            f"every one of the {n_classes} classes on both sides. Use more rows, another "
            "validation_fraction, or pass X_val and y_val."
        )
    train_rows, valid_rows = train_test_split(
        rows, test_size=n_valid, stratify=targets.codes, random_state=seed % 2**32
    )
    return np.sort(train_rows), np.sort(valid_rows)

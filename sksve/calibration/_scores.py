"""What a classifier gave -> float64 scores of shape (n, c), and scores -> probabilities."""

from typing import Any

import numpy as np
from numpy import ndarray

from sksve._arrays import as_float64, as_real
from sksve.metrics._inputs import normalise_rows
from sksve.metrics._resampling import counts_rows

# The floor of sksve.metrics.negative_log_likelihood: an exact 0 counts as this much.
PROBA_FLOOR = float(np.finfo(np.float64).eps)
# Differences of logits are cut here: far beyond what exp can tell from 0, far below overflow.
FAR = 1e200


def as_columns(values: Any, input: str, n_classes: int | None = None) -> ndarray:
    """Check what a user gave; float64 ``(n, c)``, or ``(n,)`` probabilities of the positive class."""
    values = as_float64(as_real(values, "y_proba"))
    if values.ndim not in (1, 2) or values.shape[1:] in ((0,), (1,)):
        raise ValueError(
            "y_proba must have shape (n_samples, n_classes), n_classes >= 2, or, for two classes, "
            f"(n_samples,) with the positive class's {_ONE_COLUMN[input]}. Got {values.shape}."
        )
    if n_classes is not None and (2 if values.ndim == 1 else values.shape[1]) != n_classes:
        raise ValueError(
            f"y_proba must have the {n_classes} columns this calibrator was fitted with. "
            f"Got shape {values.shape}."
        )
    if not len(values):
        raise ValueError("At least one row is needed. Got none.")
    if input == "proba":
        return values
    if not np.isfinite(values).all():
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        raise ValueError(
            f"Logits must be finite. Row {int(np.argmax(bad))} holds NaN or infinity. "
            "Remove such rows, or pass probabilities, which may be exactly 0."
        )
    if values.ndim == 1:
        half = values / 2  # symmetric, so that swapping the classes swaps the columns
        return np.column_stack([-half, half])
    return values


_ONE_COLUMN = {"proba": "probability", "logits": "log-odds"}


def to_space(columns: ndarray, input: str, space: str) -> ndarray:
    """Turn checked columns into the scores a calibrator works on.

    ``"logits"``: log-probabilities, floored, or the logits as they are. ``"log_proba"``:
    log-probabilities, floored, either way. ``"proba"``: probabilities.
    """
    if input == "proba":
        p = normalise_rows(columns, "y_proba")
        return p if space == "proba" else np.log(np.maximum(p, PROBA_FLOOR))
    if space == "logits":
        return columns
    if space == "log_proba":
        z = centred(columns)
        return np.maximum(z - np.log(np.exp(z).sum(axis=1, keepdims=True)), np.log(PROBA_FLOOR))
    return softmax(columns)


def restrict(columns: ndarray, chosen: ndarray, input: str) -> ndarray:
    """Columns of some classes, given that it is one of them; `chosen` is a mask."""
    some = columns[:, chosen] if columns.ndim == 2 else np.ones((len(columns), 1))
    if input == "logits":
        return some
    return normalise(some, fallback=np.full_like(some, 1.0 / some.shape[1]))


def centred(logits: ndarray, axis: int = 1) -> ndarray:
    """Subtract the largest logit of each row."""
    with np.errstate(over="ignore"):
        z = logits - logits.max(axis=axis, keepdims=True)
    return np.maximum(z, -FAR, out=z)


def softmax(logits: ndarray) -> ndarray:
    """Probabilities, every row summing to 1."""
    e = np.exp(centred(logits))
    return e / e.sum(axis=1, keepdims=True)


def normalise(values: ndarray, fallback: ndarray) -> ndarray:
    """Divide rows by their sums; a row of zeros says nothing and becomes the fallback's row."""
    sums = values.sum(axis=1, keepdims=True)
    empty = ~(sums > 0)
    return np.where(empty, fallback, values / np.where(empty, 1.0, sums))


def keep_argmax(proba: ndarray, columns: ndarray) -> ndarray:
    """Undo ties that rounding made: the class that came first before comes first after.

    A monotone map in floating point can make two different values equal, never swap them. Then the
    winner is raised by one unit in the last place.
    """
    columns = columns if columns.ndim == 2 else np.column_stack([1.0 - columns, columns])
    winner = columns.argmax(axis=1)
    rows = np.flatnonzero(proba.argmax(axis=1) != winner)
    proba[rows, winner[rows]] = np.nextafter(proba[rows].max(axis=1), 1.0)
    return proba


def shares(weight: ndarray | None, n_samples: int) -> ndarray:
    """Weights that sum to 1; equal ones if there are none."""
    return np.full(n_samples, 1.0 / n_samples) if weight is None else weight / weight.sum()


def row_weights(weight: ndarray | None, n_samples: int) -> ndarray:
    """Weights as numbers of rows: whole ones count rows, others are scaled to the rows they are worth."""
    if weight is None:
        return np.ones(n_samples)
    return weight if counts_rows(weight) else weight * (weight.sum() / (weight @ weight))

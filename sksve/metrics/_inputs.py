"""Input checks: every metric settles labels, probabilities and weights here, and nowhere else."""

from typing import Any, NamedTuple

import numpy as np

from sksve.metrics._labels import encode_labels

__all__ = [
    "ROW_SUM_TOLERANCE",
    "Checked",
    "Settled",
    "as_array",
    "as_float64",
    "as_real",
    "check_inputs",
    "check_members",
    "check_sample_weight",
    "make_generator",
    "normalise_rows",
    "settle",
]

# How far a row of probabilities may sum from 1 and still be renormalised (half precision passes).
ROW_SUM_TOLERANCE = 1e-3
# Rows this near to 1 are left alone: dividing by 1 - 1e-16 would push 0.7 over the bin edge 0.7.
ROUNDING = 1e-12


class Settled(NamedTuple):
    """Rows of positive weight; labels are codes 0..c-1; probabilities are not yet looked at."""

    codes: np.ndarray  # (n,) integers: the column of each row's label
    proba: np.ndarray  # (n, c), or (n,) for the positive class; the caller's own numbers
    weight: np.ndarray | None  # (n,) float64, all positive
    labels: np.ndarray  # (c,)


class Checked(NamedTuple):
    """As `Settled`, with float64 probabilities of shape ``(n, c)`` whose rows sum to 1."""

    codes: np.ndarray
    proba: np.ndarray
    weight: np.ndarray | None
    labels: np.ndarray


def settle(y_true: Any, y_proba: Any, labels: Any = None, sample_weight: Any = None) -> Settled:
    """Check shapes, labels and weights, and drop the rows of weight zero."""
    y = as_array(y_true, "y_true")
    proba = as_real(y_proba, "y_proba")
    if y.ndim != 1:
        raise ValueError(f"y_true must have shape (n_samples,), one label a row. Got {y.shape}.")
    if proba.ndim not in (1, 2) or proba.shape[1:] in ((0,), (1,)):
        raise ValueError(
            "y_proba must have shape (n_samples, n_classes), n_classes >= 2, or, for two classes, "
            f"(n_samples,) with the positive class's probability. Got {proba.shape}."
        )
    if len(y) != len(proba):
        raise ValueError(
            "y_true and y_proba must have the same number of rows. "
            f"Got {len(y)} labels, but y_proba of shape {proba.shape}."
        )
    if not len(y):
        raise ValueError("At least one row is needed. Got none.")
    weight = check_sample_weight(sample_weight, len(y))
    if weight is not None and not weight.all():
        kept = weight > 0
        y, proba, weight = y[kept], proba[kept], weight[kept]
    labels = None if labels is None else as_array(labels, "labels")
    codes, labels = encode_labels(y, 2 if proba.ndim == 1 else proba.shape[1], labels)
    return Settled(codes, proba, weight, labels)


def check_inputs(y_true, y_proba, labels=None, sample_weight=None) -> Checked:
    """Check everything, and return codes and normalised ``(n, c)`` probabilities."""
    settled = settle(y_true, y_proba, labels, sample_weight)
    return Checked(*settled._replace(proba=normalise_rows(settled.proba, "y_proba")))


def check_members(y_proba_members):
    """Return member probabilities as float64 ``(m, n, c)`` whose rows sum to 1, or raise."""
    members = as_real(y_proba_members, "y_proba_members")
    if members.ndim != 3:
        raise ValueError(
            "y_proba_members must have shape (n_members, n_samples, n_classes). "
            f"Got {members.ndim} dimension(s), shape {members.shape}."
            + (" For one model, pass y_proba[None]." if members.ndim == 2 else "")
        )
    if 0 in members.shape:
        raise ValueError(f"y_proba_members must not be empty. Got shape {members.shape}.")
    flat = members.reshape(-1, members.shape[2])
    return normalise_rows(flat, "y_proba_members").reshape(members.shape)


def normalise_rows(p, name):
    """Return probabilities as float64 ``(n, c)`` rows that sum to 1, or raise a ValueError."""
    p = as_float64(p)
    if p.ndim == 1:
        p = two_columns(p, name)
    with np.errstate(over="ignore", invalid="ignore"):  # what is wrong is said below, in words
        sums = p.sum(axis=1)
    check_rows(p, sums, name)
    off = np.abs(sums - 1.0) > ROUNDING
    if not off.any():
        return p
    return p / np.where(off, sums, 1.0)[:, None]


def two_columns(p, name):
    """Return ``[1 - p, p]``; a positive class's probability may pass 1 as a row's sum may."""
    bad = ~((p >= 0) & (p <= 1 + ROW_SUM_TOLERANCE))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"A one-dimensional {name} is the probability of the positive class and must lie in "
            f"[0, 1]. Row {row} holds {p[row]:.6g}. Logits go through a sigmoid first."
        )
    p = np.minimum(p, 1.0)
    return np.column_stack([1.0 - p, p])


def check_rows(p, sums, name, first_row=0):
    """Raise unless every row is finite, not negative, and sums to 1 within the tolerance."""
    # A NaN or an infinity anywhere in a row shows in its sum, and no comparison with NaN is true.
    good = np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE
    if good.all() and p.min() >= 0:
        return
    finite = np.isfinite(p).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"{name} must be finite. Row {first_row + row} holds NaN or infinity: {_show(p[row])}. "
            "Remove such rows first."
        )
    if p.min() < 0:
        row = int(np.argmax((p < 0).any(axis=1)))
        raise ValueError(
            f"{name} must hold probabilities, not below 0. Row {first_row + row} is "
            f"{_show(p[row])}. Logits go through a softmax first."
        )
    row = int(np.argmin(good))
    raise ValueError(
        f"Rows of {name} must sum to 1 within {ROW_SUM_TOLERANCE:g}. Row {first_row + row} sums to "
        f"{sums[row]:.6g}: {_show(p[row])}. Logits go through a softmax first."
    )


def as_array(values, name):
    """Return an array, or say that the rows are ragged."""
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be an array. Its rows differ in length.") from None


def as_float64(values):
    """Return float64; a longdouble beyond its range becomes infinite, which is told where it matters."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float64, copy=False)


def as_real(values, name):
    """Return an array of real numbers, or say what it holds instead."""
    values = as_array(values, name)
    if values.dtype.kind in "fiub":
        return values
    try:
        if values.dtype.kind == "c":
            raise TypeError
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must hold real numbers. Got dtype {values.dtype}.") from None


def check_sample_weight(sample_weight, n_samples):
    """Return None or float64 weights of shape ``(n,)``: finite, none negative, not all zero."""
    if sample_weight is None:
        return None
    weight = as_float64(as_real(sample_weight, "sample_weight"))
    if weight.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one weight a row. Got {weight.shape}."
        )
    if not np.isfinite(weight).all():
        raise ValueError("sample_weight must be finite. It holds NaN or infinity.")
    if (weight < 0).any():
        row = int(np.argmax(weight < 0))
        raise ValueError(f"sample_weight must not be negative. Row {row} has {weight[row]:g}.")
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    with np.errstate(over="ignore"):
        if not np.isfinite(weight.sum()):
            raise ValueError(
                "sample_weight must have a finite sum. Divide it by its largest value."
            )
    return weight


def make_generator(random_state) -> np.random.Generator:
    """Return a Generator from None, an int, a RandomState or a Generator; no global is moved."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31, size=4))
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            "random_state must be None, an int >= 0, a RandomState or a Generator. "
            f"Got {random_state!r}."
        ) from None


def _show(row):
    """Print a row of numbers, cut when it is long."""
    words = ", ".join(f"{value:.4g}" for value in row[:6])
    return f"[{words}{', ...' if len(row) > 6 else ''}]"

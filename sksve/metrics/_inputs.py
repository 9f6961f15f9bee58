"""Input checks: every metric validates labels, probabilities and weights here, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from sksve._arrays import (
    as_array,
    as_float64,
    as_real,
    column_names,
    in_label_order,
    is_missing,
    labels_of_names,
    match_names,
    shown,
)

# How far a row of probabilities may sum from 1 and still be renormalised (half precision passes).
ROW_SUM_TOLERANCE = 1e-3
# Rows this near to 1 are left alone: dividing by 1 - 1e-16 would push 0.7 over the bin edge 0.7.
ROUNDING = 1e-12
CHUNK = 2**18  # numbers worked on at a time: they stay in a core's cache


class Rows(NamedTuple):
    """Validated rows of positive weight."""

    codes: np.ndarray  # (n,) integers 0..c-1: the column of each row's label
    proba: np.ndarray  # (n, c) float64 that sums to 1; with normalise=False what the user passed
    weight: np.ndarray | None  # (n,) float64, all positive
    labels: np.ndarray  # (c,)


class TopLabel(NamedTuple):
    """The predicted class of every row; of equal probabilities the first, as ``argmax`` has it."""

    confidence: np.ndarray  # (n,) float64
    correct: np.ndarray  # (n,) bool
    weight: np.ndarray | None  # (n,) float64


def validate_inputs(
    y_true: Any,
    y_proba: Any,
    labels: Any = None,
    sample_weight: Any = None,
    *,
    normalise: bool = True,
    names: list[Any] | None = None,
) -> Rows:
    """Check shapes, labels, weights and probabilities, and drop the rows of weight zero.

    A frame's columns are found by their names; `names` are those of a `y_proba` that was a frame before.
    """
    y = as_array(y_true, "y_true")
    names = column_names(y_proba) if names is None else names
    series = getattr(y_proba, "name", None)
    proba = as_real(y_proba, "y_proba")
    if y.ndim == 2 and y.shape[1] == 1:  # as scikit-learn
        y = y[:, 0]
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
        positive = weight > 0
        y, proba, weight = y[positive], proba[positive], weight[positive]
    labels = None if labels is None else as_array(labels, "labels")
    named = names if proba.ndim == 2 else None
    n_classes = 2 if proba.ndim == 1 else proba.shape[1]
    y, seen = _distinct(y)
    if named is not None and labels is None:
        labels = labels_of_names(named, seen)
    elif named is not None:
        order = match_names(named, _check_labels(labels, n_classes))
        proba = proba if order is None else proba[:, order]
    codes, labels = _encode(y, seen, n_classes, labels)
    check_series_name(series if proba.ndim == 1 else None, labels)
    return Rows(codes, normalise_rows(proba, "y_proba") if normalise else proba, weight, labels)


def check_series_name(series, labels):
    """Refuse a series that carries the name of the class that is not the positive one."""
    if isinstance(series, str) or labels.tolist() == [0, 1]:
        first = labels[0].item() if isinstance(labels[0], np.generic) else labels[0]
        if series == first:
            raise ValueError(
                f"A one-dimensional y_proba is the probability of the positive class, {labels[1]}, but the "
                f"series is named {series!r}. Pass 1 - y_proba.to_numpy(), or the other class's column."
            )


def top_label(y_true, y_proba, labels=None, sample_weight=None) -> TopLabel:
    """Validate the input and reduce it to confidence and correctness of the predicted class."""
    rows = validate_inputs(y_true, y_proba, labels, sample_weight, normalise=False)
    confidence, correct = reduce_rows(rows.codes, rows.proba)
    return TopLabel(confidence, correct, rows.weight)


def reduce_rows(codes, proba):
    """Confidence and correctness of the predicted class, chunk by chunk without a copy of `proba`."""
    n, step = len(proba), max(CHUNK // proba[0].size, 1)
    confidence, correct = np.empty(n), np.empty(n, dtype=bool)

    def fill(start):
        chunk = slice(start, start + step)
        p = normalise_rows(proba[chunk], "y_proba", first_row=start)
        predicted = p.argmax(axis=1)
        confidence[chunk] = p[np.arange(len(p)), predicted]
        correct[chunk] = predicted == codes[chunk]

    starts = range(0, n, step)
    if len(starts) == 1:
        fill(0)
        return confidence, correct
    # numpy releases the interpreter lock; OMP_NUM_THREADS is respected, as in scikit-learn's loops.
    with ThreadPoolExecutor(_openmp_effective_n_threads()) as pool:
        list(pool.map(fill, starts))  # the first bad row raises, whichever thread meets it
    return confidence, correct


def check_members(y_proba_members, one_model=False):
    """Return member probabilities as float64 ``(m, n, c)`` whose rows sum to 1, or raise."""
    members = y_proba_members
    if isinstance(members, (list, tuple)) and members:
        names = column_names(members[0], "y_proba_members")
        if names is not None:  # frames: each member's columns as the first's
            members = [in_label_order(p, np.asarray(names), "y_proba_members") for p in members]
    members = as_real(members, "y_proba_members")
    if one_model and members.ndim == 2:
        members = members[None]
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


def normalise_rows(p, name, first_row=0):
    """Return probabilities as float64 ``(n, c)`` rows that sum to 1, or raise a ValueError."""
    p = as_float64(p)
    if p.ndim == 1:
        p = _two_columns(p, name, first_row)
    with np.errstate(over="ignore", invalid="ignore"):  # the error below says what is wrong
        sums = p @ np.ones(p.shape[1])
    # A NaN or an infinity anywhere in a row shows in its sum, and no comparison with NaN is true.
    distance = np.abs(sums - 1.0)
    if not ((distance <= ROW_SUM_TOLERANCE).all() and p.min() >= 0):
        _raise_for_bad_row(p, sums, name, first_row)
    off = distance > ROUNDING
    return p / np.where(off, sums, 1.0)[:, None] if off.any() else p


def _two_columns(p, name, first_row):
    """``[1 - p, p]``; a positive class's probability may pass 1 as a row's sum may."""
    bad = ~((p >= 0) & (p <= 1 + ROW_SUM_TOLERANCE))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"A one-dimensional {name} is the probability of the positive class and must lie in "
            f"[0, 1]. Row {first_row + row} holds {p[row]:.6g}. Logits go through a sigmoid first."
        )
    p = np.minimum(p, 1.0)
    return np.column_stack([1.0 - p, p])


def _raise_for_bad_row(p, sums, name, first_row):
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
    row = int(np.argmin(np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE))
    raise ValueError(
        f"Rows of {name} must sum to 1 within {ROW_SUM_TOLERANCE:g}. Row {first_row + row} sums to "
        f"{sums[row]:.6g}: {_show(p[row])}. Logits go through a softmax first."
    )


def _show(row):
    """Print a row of numbers, cut when it is long."""
    words = ", ".join(f"{value:.4g}" for value in row[:6])
    return f"[{words}{', ...' if len(row) > 6 else ''}]"


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


def counts_rows(weight):
    """Whether weights are whole numbers, so that they count rows."""
    return weight is not None and bool((weight == np.rint(weight)).all())


def effective_weight(weight):
    """Weights as numbers of rows: whole ones are; others are scaled to sum to Kish's effective n."""
    if weight is None or counts_rows(weight):
        return weight
    share = weight / weight.max()
    return share * (share.sum() / (share @ share))


def make_generator(random_state) -> np.random.Generator:
    """Return a Generator from None, an int, a RandomState or a Generator; no global is moved."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31, size=4))
    try:
        if isinstance(random_state, (bool, np.bool_)):
            raise TypeError("numpy takes True for 1")
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            "random_state must be None, an int >= 0, a RandomState or a Generator. "
            f"Got {random_state!r}."
        ) from None


def encode_labels(y, n_classes, labels=None):
    """Return each row's column in ``y_proba``, and the labels in the order of the columns."""
    y, seen = _distinct(y)
    return _encode(y, seen, n_classes, labels)


def _distinct(y):
    """Return labels of one plain kind, and the different ones among them, sorted."""
    y = _plain(y)
    try:
        if y.dtype.kind == "i" and y.min() >= 0 and y.max() < len(y):  # ten times faster
            return y, np.flatnonzero(np.bincount(y)).astype(y.dtype)
        seen = np.unique(y)
        if seen.dtype.kind not in "fMO" or not any(map(is_missing, seen.tolist())):
            return y, seen
    except TypeError:
        pass
    if missing := sum(map(is_missing, y.tolist())):
        raise ValueError(f"y_true has {missing} missing labels. Remove rows without a label first.")
    kinds = sorted({type(label).__name__ for label in y.tolist()})
    raise ValueError(f"y_true must hold labels of one kind. Got {', '.join(kinds)}.")


def _encode(y, seen, n_classes, labels):
    if labels is None and len(seen) != n_classes:
        raise ValueError(
            f"y_true holds {len(seen)} different labels, but y_proba has {n_classes} columns, so "
            "which column belongs to which label cannot be known. Pass labels= with one label a "
            f"column, in the columns' order. Found in y_true: {shown(seen)}."
        )
    labels = seen if labels is None else _check_labels(labels, n_classes)
    if label_kind(seen) != label_kind(labels):
        raise ValueError(
            f"y_true and labels must be of one kind. Got {label_kind(seen)} in y_true "
            f"and {label_kind(labels)} in labels."
        )
    column = _columns_of(seen, labels)
    if y.dtype.kind in "iu" and np.array_equal(seen, column):
        return y.astype(np.intp, copy=False), labels
    return column[np.searchsorted(seen, y)], labels


def _columns_of(seen, labels):
    """Column of each sorted, distinct label."""
    if seen.dtype.kind in "iu" and np.result_type(seen, labels).kind == "f":
        seen, labels = seen.astype(object), labels.astype(object)  # as floats, large ones could tie
    order = np.argsort(labels)
    column = order[np.searchsorted(labels[order], seen).clip(max=len(labels) - 1)]
    unknown = seen[labels[column] != seen]
    if len(unknown):
        raise ValueError(
            f"y_true holds labels that are not in labels: {shown(unknown)}. "
            f"labels is {shown(labels)}."
        )
    return column


def _check_labels(labels, n_classes):
    labels = np.asarray(labels)
    labels = _plain(labels) if labels.ndim == 1 else labels
    if labels.shape != (n_classes,):
        raise ValueError(
            f"labels must name every column of y_proba: {n_classes} columns, "
            f"but labels has shape {labels.shape}."
        )
    try:
        distinct = len(np.unique(labels))
    except TypeError:
        raise ValueError(f"labels must be of one kind. Got {labels.tolist()}.") from None
    if distinct != n_classes:
        raise ValueError(f"labels must differ from each other. Got {labels.tolist()}.")
    return labels


def _plain(y):
    """Object array of one builtin kind -> array of that kind, so that it compares."""
    if y.dtype.kind != "O" or not len(y):
        return y
    kinds = {type(label) for label in y.tolist()}
    if kinds <= {bool, np.bool_}:
        return y.astype(bool)
    if kinds <= {int, float, bool, np.bool_} or all(issubclass(k, np.number) for k in kinds):
        try:
            return y.astype(np.int64 if kinds <= {int} else np.float64)
        except OverflowError:  # integers that only Python can hold compare as they are
            return y
    return y


def label_kind(labels):
    """'numbers', 'strings' or the like: only labels of one kind can be compared."""
    if labels.dtype.kind in "biuf":
        return "numbers"
    if labels.dtype.kind in "UT" or all(isinstance(label, str) for label in labels.tolist()):
        return "strings"
    return "objects"

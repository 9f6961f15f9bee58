"""Labels of any kind -> columns of ``y_proba``."""

import numpy as np

__all__ = ["encode_labels", "label_kind"]


def encode_labels(y, n_classes, labels=None):
    """Return each row's column, and the labels in the order of the columns.

    Integer labels are encoded by a table, without sorting ten million of them.
    """
    if y.dtype.kind in "iu" and (labels is None or np.asarray(labels).dtype.kind in "iu"):
        found = _encode_integers(y, n_classes, labels)
        if found is not None:
            return found
    labels_given = labels is not None
    # pandas' string arrays and plain lists of str become object or str arrays; both sort.
    try:
        seen, inverse = np.unique(_plain(y), return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y.tolist()})
        raise ValueError(
            f"y_true must hold labels of one kind. Got {', '.join(kinds)}; "
            "missing labels (None, NaN) must be removed first."
        ) from None
    if seen.dtype.kind == "f" and np.isnan(seen[-1]):
        raise ValueError("y_true must not hold NaN. Remove rows without a label first.")
    labels = _check_labels(labels, n_classes) if labels_given else seen
    if not labels_given:
        _demand_one_label_a_column(seen, n_classes)
        return inverse, labels
    if label_kind(seen) != label_kind(labels):
        raise ValueError(
            f"y_true and labels must be of one kind. Got {label_kind(seen)} in y_true "
            f"and {label_kind(labels)} in labels."
        )
    order = np.argsort(labels)
    at = np.searchsorted(labels[order], seen).clip(max=len(labels) - 1)
    column = order[at]
    _demand_known(seen[labels[column] != seen], labels)
    return column[inverse], labels


def _encode_integers(y, n_classes, labels):
    """Encode integers by a table; None if the values are spread too far for one."""
    low, high = int(y.min()), int(y.max())
    given = None if labels is None else _check_labels(labels, n_classes)
    if given is not None:
        low, high = min(low, int(given.min())), max(high, int(given.max()))
    if high - low > 1000 + 4 * len(y) or max(abs(low), abs(high)) > 2**62:
        return None
    shifted = y if low == 0 and y.dtype != np.uint64 else y.astype(np.int64) - low
    seen = _values_seen(shifted, high - low + 1) + low
    if given is None:
        _demand_one_label_a_column(seen, n_classes)
        given = seen.astype(y.dtype)
    ordered = np.array_equal(given, np.arange(n_classes))
    table = np.full(high - low + 1, -1, dtype=np.int64)
    table[given.astype(np.int64) - low] = np.arange(n_classes)
    _demand_known(seen[table[seen - low] < 0], given)
    return (shifted if ordered and low == 0 else table[shifted]), given


def _values_seen(y, n_values):
    """Return the values that occur, among ``0..n_values - 1``; reads on until all were seen."""
    present = np.zeros(n_values, dtype=bool)
    step = max(2**16, n_values)
    for start in range(0, len(y), step):
        present |= np.bincount(y[start : start + step], minlength=n_values) > 0
        if present.all():
            break
    return np.flatnonzero(present)


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


def _demand_one_label_a_column(seen, n_classes):
    if len(seen) != n_classes:
        raise ValueError(
            f"y_true holds {len(seen)} different labels, but y_proba has {n_classes} columns, so "
            "which column belongs to which label cannot be known. Pass labels= with one label a "
            f"column, in the columns' order. Found in y_true: {_short(seen)}."
        )


def _demand_known(unknown, labels):
    if len(unknown):
        raise ValueError(
            f"y_true holds labels that are not in labels: {_short(unknown)}. "
            f"labels is {_short(labels)}."
        )


def _plain(y):
    """Turn an object array of one builtin kind into an array of that kind, so that it compares."""
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


def _short(values):
    words = [repr(value) for value in np.asarray(values).tolist()]
    return f"[{', '.join(words[:10])}{', ...' if len(words) > 10 else ''}]"

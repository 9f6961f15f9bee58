"""Arrays from whatever holds them (frames, tensors, Arrow, masked arrays), and columns by their names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def as_array(values: Any, name: str) -> np.ndarray:
    """Return a numpy array, or say in one sentence why there is none."""
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise ValueError(
                f"{name} is a masked array with {np.ma.count_masked(values)} masked entries. Remove their "
                "rows first, or fill them."
            )
        values = values.data
    elif hasattr(values, "collect_schema") and not hasattr(values, "to_numpy"):  # polars' LazyFrame
        raise ValueError(f"{name} is a lazy frame, which holds no rows yet. Pass {name}.collect().")
    try:
        if hasattr(values, "detach"):
            values = _from_tensor(values)
        elif isinstance(values, (list, tuple)) and values and hasattr(values[0], "detach"):
            values = [_from_tensor(value) for value in values]
        values = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be an array. Its rows differ in length.") from None
    # NotImplementedError of other packages' arrays is a RuntimeError.
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be read as a numpy array: {error}") from error
    if values.ndim == 1 and values.dtype.kind == "O" and len(values):
        if isinstance(values[0], (np.ndarray, list)):  # a column of lists, of polars or Arrow
            return as_array([*values.tolist()], name)
    return values


def _from_tensor(values: Any) -> Any:
    """Bring a torch tensor (any device, with or without gradient) to numpy."""
    if not hasattr(values, "detach"):
        return values
    if str(getattr(values, "layout", "torch.strided")) != "torch.strided":
        values = values.to_dense()
    try:
        return values.numpy(force=True)
    except TypeError:  # a precision that numpy lacks: bfloat16, float8
        values = values.double().numpy(force=True)
    # Its 8 bits let rows of probabilities miss 1 by more than is allowed; only here it is known why.
    if values.ndim < 2 or (values < 0).any():
        return values
    sums = values.sum(axis=-1, keepdims=True)
    return values / sums if (np.abs(sums - 1) <= 2**-8).all() else values


def as_float64(values: np.ndarray) -> np.ndarray:
    """Return float64; a longdouble beyond its range becomes infinite, which later checks refuse."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float64, copy=False)


def as_real(values: Any, name: str) -> np.ndarray:
    """Return an array of real numbers, missing ones as NaN, or say what it holds instead."""
    values = as_array(values, name)
    if values.dtype.kind in "fiub":
        return values
    try:
        if values.dtype.kind == "c":
            raise TypeError
        if values.dtype.kind == "O":  # columns of nullable or Arrow types in one frame
            flat = [np.nan if type(v).__name__ == "NAType" else v for v in values.ravel().tolist()]
            return np.array(flat, dtype=np.float64).reshape(values.shape)
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must hold real numbers. Got dtype {values.dtype}.") from None


def is_missing(value: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas' NA, which is neither equal nor different."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def column_names(values: Any, name: str = "y_proba") -> list[Any] | None:
    """Return the names of a frame's columns; None without columns, or where nobody has named them."""
    if isinstance(values, np.ndarray) or not hasattr(values, "shape"):
        return None
    columns = getattr(values, "columns", None)
    if hasattr(values, "column_names"):  # pyarrow's tables, whose `columns` are the data
        columns = values.column_names
    elif hasattr(getattr(values, "schema", None), "names") and hasattr(values, "num_columns"):
        columns = values.schema.names  # pyarrow's record batches
    if columns is None or type(columns).__name__ == "RangeIndex":
        return None
    if getattr(columns, "nlevels", 1) > 1:
        raise ValueError(
            f"The columns of {name} have names of {columns.nlevels} levels, of which only one can hold the "
            f"labels. Keep that one: {name}.columns = {name}.columns.get_level_values(level)."
        )
    names = list(columns)
    missing = sum(map(is_missing, names))
    if missing:
        raise ValueError(
            f"{missing} of the {len(names)} columns of {name} have no name. Name them by label."
        )
    if names == [f"column_{k}" for k in range(len(names))]:  # polars' own
        return None
    if len(set(names)) < len(names):
        raise ValueError(f"The columns of {name} must have different names. Got {shown(names)}.")
    return names


def _are_numbered(names: Sequence[Any]) -> bool:
    """Whether names are the columns' places, as a frame has them that was made without names."""
    return [str(name) for name in names] == [str(k) for k in range(len(names))]


def labels_of_names(names: list[Any], seen: np.ndarray, name: str = "y_proba") -> np.ndarray | None:
    """Return the columns' labels, of the kind of the labels seen; None if places are all they name."""
    labels = _of_kind(names, seen)
    if labels is not None and set(seen.tolist()) <= set(labels.tolist()):
        return labels
    if _are_numbered(names):
        return None
    raise _no_match(names, seen, name)


def match_names(names: list[Any], labels: np.ndarray, name: str = "y_proba") -> list[int] | None:
    """Return the column of each label; None if places are all that the columns' names say."""
    own = _of_kind(names, labels)
    place = {} if own is None else {label: k for k, label in enumerate(own.tolist())}
    wanted = labels.tolist()
    if len(place) == len(wanted) and set(place) == set(wanted):
        return [place[label] for label in wanted]
    if _are_numbered(names) and len(names) == len(wanted):
        return None
    raise _no_match(names, labels, name)


def _no_match(names: list[Any], labels: np.ndarray, name: str) -> ValueError:
    return ValueError(
        f"The columns of {name} are named {shown(names)}, but the labels are {shown(labels)}. Rename "
        f"the columns to the labels, or pass {name}.to_numpy() and the labels in the columns' order."
    )


def _of_kind(names: list[Any], like: np.ndarray) -> np.ndarray | None:
    """Names as labels of a kind: in polars and Arrow the name of a column 1 is "1"."""
    kind, are_text = like.dtype.kind, {isinstance(name, str) for name in names}
    if len(are_text) > 1:
        return None
    try:
        if kind == "M":
            return np.array(names, dtype=like.dtype)
        if kind == "b" and True in are_text:
            return np.array([_TRUTH[name.lower()] for name in names])
        if kind in "iuf" and True in are_text:
            return np.array(names).astype(like.dtype)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return np.array(names, dtype=object if kind == "O" else None)


_TRUTH = {"false": False, "0": False, "true": True, "1": True}


def in_label_order(values: Any, labels: np.ndarray, name: str = "y_proba") -> np.ndarray:
    """Return real numbers whose columns follow `labels`: a frame's are found by their names."""
    names = column_names(values, name)
    array = as_real(values, name)
    if names is None or array.ndim != 2 or array.shape[1] < 2:
        return array
    order = match_names(names, labels, name)
    return array if order is None or order == list(range(len(names))) else array[:, order]


def shown(values: Iterable[Any], most: int = 10) -> str:
    """Print labels in a message, cut where there are many."""
    words = [
        repr(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)
    ]
    return f"[{', '.join(words[:most])}{', ...' if len(words) > most else ''}]"


def import_pandas(user: str) -> Any:
    """Return pandas, or say which extra brings it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f'{user} needs pandas. Install it with: pip install "sksve[pandas]"'
        ) from error
    return pandas

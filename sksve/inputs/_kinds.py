"""What kind of X is this? Decided by its shape and its cells, never by its backbone."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from sksve._exceptions import NotTextError

__all__ = ["Samples", "is_missing", "read_samples"]


@dataclass(frozen=True)
class Samples:
    """Input read and checked.

    Attributes
    ----------
    kind : {"text", "text_column", "table"}
        1-D texts; a 2-D table whose one column holds texts; any other 2-D table.
    n_samples : int
    texts : list of str, or None
        The texts, for the first two kinds.
    index : pandas Index or None
        The input's index, where it has one.
    """

    kind: str
    n_samples: int
    texts: list[str] | None
    index: Any


def read_samples(X: Any) -> Samples:
    """Decide what `X` is and check its cells.

    Parameters
    ----------
    X : list, tuple, ndarray, pandas or polars Series or DataFrame
        1-D strings are texts, 2-D is a table; a 2-D X with one column of strings is texts, too.

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        If `X` is one bare string, empty, holds 1-D numbers, holds a missing text (the message names
        the row), is neither 1-D nor 2-D, or holds images.
    TypeError
        If `X` is sparse.
    NotTextError
        If a 1-D `X` holds something other than strings (it is a ValueError and a TypeError).
    """
    if isinstance(X, (str, bytes)):
        raise ValueError(
            f"X must be a sequence of texts, such as a list of str. Got one bare {type(X).__name__}: "
            "put it into a list, [X]."
        )
    index = getattr(X, "index", None)
    index = index if not callable(index) else None  # list.index is a method
    shape = _shape(X)
    if not shape:  # not a container we know: scikit-learn's own message
        shape = check_array(X, dtype=None, ensure_all_finite="allow-nan").shape
    if len(shape) == 1:
        return _read_vector(X, shape[0], index)
    if len(shape) == 2:
        cells = _only_column(X) if shape[1] == 1 and shape[0] else None
        if cells is not None and any(isinstance(c, str) for c in cells):
            return Samples("text_column", len(cells), _checked_texts(cells), index)
        return Samples("table", shape[0], None, index)
    raise ValueError(
        f"X must be 1-D (texts) or 2-D (a table). Got an array of shape {tuple(shape)}: images need "
        "a vision backbone, which this version does not offer."
    )


def _shape(X: Any) -> tuple[int, ...] | None:
    if isinstance(X, (list, tuple)):
        first = X[0] if X else None
        if not isinstance(first, (list, tuple, np.ndarray)):
            return (len(X),)
        _check_rows(X)
        return (len(X), len(first)) if np.ndim(first) <= 1 else (len(X), *np.shape(first))
    shape = getattr(X, "shape", None)
    if shape is None or hasattr(X, "tocsr"):
        return None
    return tuple(shape)


def _check_rows(X: Any) -> None:
    """Check that a list of lists is a table: a str among its rows would pass for a row of letters."""
    for row, cells in enumerate(X):
        if not isinstance(cells, (list, tuple, np.ndarray)):
            raise NotTextError(
                f"X must hold texts (str) only, or rows of a table only. Row 0 is "
                f"{type(X[0]).__name__}, row {row} is {type(cells).__name__}: {cells!r:.60}."
            )
        if len(cells) != len(X[0]):
            raise ValueError(
                f"The rows of a table must be of equal length. Row 0 has {len(X[0])} cells, row {row} "
                f"has {len(cells)}."
            )


def _read_vector(X: Any, n: int, index: Any) -> Samples:
    if n == 0:
        raise ValueError(
            "Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required: X is empty."
        )
    cells = X.to_list() if hasattr(X, "to_list") else list(X)
    if not any(isinstance(c, str) for c in cells):
        first = cells[0]
        if hasattr(first, "getbands") or isinstance(first, os.PathLike):
            raise ValueError(
                f"X holds {type(first).__name__} objects: images need a vision backbone, which this "
                "version does not offer."
            )
        if _numeric(cells) and (_is_float_array(X) or not all(is_missing(c) for c in cells)):
            # Numbers in one dimension: scikit-learn says what to do ("Reshape your data").
            check_array(np.asarray(X), dtype=None, ensure_all_finite=False)
    return Samples("text", n, _checked_texts(cells), index)


def _numeric(cells: list[Any]) -> bool:
    return all(isinstance(c, (int, float, complex, np.number, np.bool_)) for c in cells)


def _is_float_array(X: Any) -> bool:
    return getattr(getattr(X, "dtype", None), "kind", None) == "f"


def is_missing(cell: Any) -> bool:
    """Whether a cell is None, NaN, NaT or pandas' NA."""
    if cell is None:
        return True
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):  # pandas.NA refuses to be a bool
        return type(cell).__name__ in {"NAType", "NaTType"}


def _checked_texts(cells: list[Any]) -> list[str]:
    for row, cell in enumerate(cells):
        if isinstance(cell, str):
            _check_encodable(cell, row)
            continue
        if is_missing(cell):
            raise ValueError(
                f"X holds a missing text: row {row} is {cell!r}. Texts must be str: drop these rows, "
                "or fill them, for example with ''."
            )
        cure = "bytes.decode()" if isinstance(cell, bytes) else "str()"
        raise NotTextError(
            f"X must hold texts (str) only. Row {row} is {type(cell).__name__}: {cell!r:.60}. "
            f"Convert it with {cure} if it is meant as text."
        )
    return [str(c) for c in cells]  # numpy's str_ becomes str


def _check_encodable(text: str, row: int) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text in row {row} of X is broken: it holds {text[error.start]!r}, half a surrogate "
            "pair, which no tokenizer takes. Repair it, for example with "
            "text.encode('utf-8', 'replace').decode()."
        ) from error


def _only_column(X: Any) -> list[Any] | None:
    """Cells of a one-column table, or None where they cannot be strings."""
    if isinstance(X, (list, tuple)):
        return [row[0] for row in X]
    if isinstance(X, np.ndarray):
        return list(X[:, 0]) if X.dtype.kind in "OUT" else None
    if hasattr(X, "iloc"):
        return X.iloc[:, 0].tolist()
    if hasattr(X, "to_series"):
        return X.to_series(0).to_list()
    return None

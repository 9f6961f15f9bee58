"""What kind of X is this? Decided by its shape and its cells.

One thing the cells cannot tell: strings are texts, or paths of image files where the backbone is one of
vision. The caller knows, and says ``paths=True``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from sksve._exceptions import NotTextError
from sksve.inputs._images import check_images, is_image, stack_of_images

__all__ = ["Samples", "as_paths", "check_kind", "is_missing", "read_samples"]


@dataclass(frozen=True)
class Samples:
    """Input read and checked.

    Attributes
    ----------
    kind : {"text", "text_column", "text_pair", "table", "image"}
        1-D texts; a 2-D table whose one column holds texts; two columns of texts, where they were
        asked for; any other 2-D table; images.
    n_samples : int
    texts : list of str or of (str, str), or None
        The texts, for the first three kinds.
    index : pandas Index or None
        The input's index, where it has one.
    images : list or None
        Checked, not yet decoded, for the last kind.
    """

    kind: str
    n_samples: int
    texts: list[Any] | None
    index: Any
    images: list[Any] | None = None


def read_samples(X: Any, *, paths: bool = False) -> Samples:
    """Decide what `X` is and check its cells.

    Parameters
    ----------
    X : list, tuple, ndarray, pandas or polars Series or DataFrame
        1-D strings are texts, 2-D is a table; a 2-D X with one column of strings is texts, too. 1-D
        PIL images, paths or arrays, and arrays of three and four axes, are images.
    paths : bool, default=False
        1-D strings are paths of image files.

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        If `X` is one bare string, empty, holds 1-D numbers, holds a missing text (the message names
        the row), or holds an image that is not one of 8 bits (the message names the row).
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
    index = index_of(X)
    if isinstance(X, (list, tuple)) and any(isinstance(c, np.ndarray) and c.ndim > 1 for c in X):
        return Samples("image", len(X), None, None, check_images(X))
    shape = shape_of(X)
    if shape and len(shape) > 1 and not shape[0]:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )
    if not shape:  # not a container we know: scikit-learn's own message
        shape = check_array(X, dtype=None, ensure_all_finite="allow-nan").shape
    if len(shape) == 1:
        return _read_vector(X, shape[0], index, paths)
    if len(shape) == 2:
        cells = column_of(X, 0) if shape[1] == 1 and shape[0] else None
        if cells is not None and any(isinstance(c, str) for c in cells):
            return Samples("text_column", len(cells), checked_texts(cells), index)
        return Samples("table", shape[0], None, index)
    if isinstance(X, (list, tuple)):
        raise ValueError(
            f"X must be 1-D (texts) or 2-D (a table). Got lists of shape {tuple(shape)}: images, for a "
            "vision backbone, are PIL images, uint8 arrays or paths."
        )
    images = stack_of_images(X)
    return Samples("image", len(images), None, index, images)


def as_paths(X: Any) -> Any:
    """Turn texts that were read as such into paths; None stays None."""
    if X is None:
        return None
    cells = X.to_list() if hasattr(X, "to_list") else list(X)
    return [Path(cell) if isinstance(cell, str) else cell for cell in cells]


def check_kind(kind: str, backbone: str, *, vision: bool) -> None:
    """Check that a backbone can read inputs of this kind.

    Raises
    ------
    ValueError
        If images meet a backbone of language, or texts or tables one of vision.
    """
    if (kind == "image") == vision:
        return
    if vision:
        raise ValueError(
            f"X is of kind {kind!r}, but {backbone!r} is a vision backbone: it takes PIL images, uint8 "
            "arrays of shape (n, h, w) or (n, h, w, 3), or file paths. For texts and tables choose a "
            "backbone of language, such as 'all-MiniLM-L6-v2'."
        )
    raise ValueError(
        f"X holds images, but {backbone!r} is no vision backbone: it takes texts and tables. For images "
        "choose a ViT or DINOv2, such as 'dinov2-small-saliency'."
    )


def index_of(X: Any) -> Any:
    """Return the index of X, where it has one; a list's method of that name is none."""
    index = getattr(X, "index", None)
    return index if not callable(index) else None


def shape_of(X: Any) -> tuple[int, ...] | None:
    """Shape of X, read off its first row; None for what is no container, or sparse."""
    if isinstance(X, (list, tuple)):
        first = X[0] if X else None
        if not isinstance(first, (list, tuple, np.ndarray)):
            return (len(X),)
        _check_rows(X)
        return (len(X), *_shape_of_row(first))
    shape = getattr(X, "shape", None)
    if shape is None or hasattr(X, "tocsr"):
        return None
    return tuple(shape)


def _shape_of_row(row: Any) -> tuple[int, ...]:
    """Shape of a list's first row; a cell that is itself a list, of whatever length, is a cell."""
    try:
        shape = np.shape(row)
    except ValueError:
        return (len(row),)
    return shape or (len(row),)


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


def _read_vector(X: Any, n: int, index: Any, paths: bool) -> Samples:
    if n == 0:
        raise ValueError(
            "Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required: X is empty."
        )
    cells = X.to_list() if hasattr(X, "to_list") else list(X)
    texts = any(isinstance(c, str) for c in cells)
    if (texts and paths) or (not texts and any(map(is_image, cells))):
        return Samples("image", n, None, index, check_images(cells))
    if not texts:
        if _numeric(cells) and (_is_float_array(X) or not all(is_missing(c) for c in cells)):
            # Numbers in one dimension: scikit-learn says what to do ("Reshape your data").
            check_array(np.asarray(X), dtype=None, ensure_all_finite=False)
    return Samples("text", n, checked_texts(cells), index)


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
    except Exception:  # pandas.NA refuses to be a bool, a stranger's class may refuse anything
        return type(cell).__name__ in {"NAType", "NaTType"}


def checked_texts(cells: list[Any], where: str = "") -> list[str]:
    """Check that each cell is a str that can be encoded; `where` adds to the row in messages."""
    for row, cell in enumerate(cells):
        if isinstance(cell, str):
            _check_encodable(cell, row, where)
            continue
        if is_missing(cell):
            raise ValueError(
                f"X holds a missing text: row {row}{where} is {cell!r}. Texts must be str: drop these "
                "rows, or fill them, for example with ''."
            )
        cure = "bytes.decode()" if isinstance(cell, bytes) else "str()"
        raise NotTextError(
            f"X must hold texts (str) only. Row {row}{where} is {type(cell).__name__}: {cell!r:.60}. "
            f"Convert it with {cure} if it is meant as text."
        )
    return [str(c) for c in cells]  # numpy's str_ becomes str


def _check_encodable(text: str, row: int, where: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text in row {row}{where} of X is broken: it holds {text[error.start]!r}, half a surrogate "
            "pair, which no tokenizer takes. Repair it, for example with "
            "text.encode('utf-8', 'replace').decode()."
        ) from error


def column_of(X: Any, j: int) -> list[Any] | None:
    """Cells of one column of a table, or None where they cannot be strings."""
    if isinstance(X, (list, tuple)):
        return [row[j] for row in X]
    if isinstance(X, np.ndarray):
        return list(X[:, j]) if X.dtype.kind in "OUT" else None
    if hasattr(X, "iloc"):
        return X.iloc[:, j].tolist()
    if hasattr(X, "to_series"):
        return X.to_series(j).to_list()
    return None

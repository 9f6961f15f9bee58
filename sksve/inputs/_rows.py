"""What kind of X is this? Decided by its shape and its cells, which are checked on the way.

One thing the cells cannot tell: strings are texts, or paths of image files where the backbone is one of
vision. The caller knows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Number
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from sksve._exceptions import NotTextError
from sksve.inputs._images import check_images, is_image, longer_side, stack_of_images
from sksve.preprocessing._cell import is_missing
from sksve.preprocessing._table import plain_container

TEXT_KINDS = ("text", "text_column")


@dataclass(frozen=True)
class CheckedRows:
    """Rows of X, read and checked.

    Attributes
    ----------
    kind : {"text", "text_column", "text_pair", "table", "image"}
        1-D texts; a 2-D table whose one column holds texts; two columns of texts, where they were
        asked for; any other 2-D table; images.
    rows : list of str, of (str, str) or of images; or a frame, an array or a list of rows
        The texts, pairs or images (not yet decoded); of a table, the table.
    index : pandas Index or None
        The input's index, where it has one.
    side : ndarray of shape (n, s) or None
        Side features of a table's rows, once they have been made.
    """

    kind: str
    rows: Any
    index: Any = None
    side: Any = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @property
    def longer_side(self) -> int | None:
        """Of images, the median of their longer sides in pixels."""
        return longer_side(self.rows) if self.kind == "image" else None

    def for_backbone(self, backbone: str, *, vision: bool) -> "CheckedRows":
        """Check that a backbone can read these rows; texts become paths of images for one of vision."""
        if vision and self.kind == "text":
            return replace(self, kind="image", rows=check_images(self.rows))
        if vision == (self.kind == "image"):
            return self
        if vision:
            raise ValueError(
                f"X is of kind {self.kind!r}, but {backbone!r} is a vision backbone: it takes PIL images, "
                "uint8 arrays of shape (n, h, w) or (n, h, w, 3), or file paths. For texts and tables "
                "choose a language backbone, such as 'all-MiniLM-L6-v2'."
            )
        raise ValueError(
            f"X holds images, but {backbone!r} is not a vision backbone: it takes texts and tables. For "
            "images choose a ViT or DINOv2, such as 'facebook/dinov2-small'."
        )


def read_rows(X: Any, *, pairs: bool = False, paths: bool = False) -> CheckedRows:
    """Decide what `X` is and check its cells.

    Parameters
    ----------
    X : array, Series or frame of numpy, pandas, polars or pyarrow, or any sequence
        1-D strings are texts, 2-D is a table; a 2-D X with one column of strings is texts, too. 1-D
        PIL images, paths or arrays, and arrays of three and four axes, are images.
    pairs : bool, default=False
        X must be 2-D, of two columns of texts.
    paths : bool, default=False
        1-D strings are paths of image files.

    Returns
    -------
    CheckedRows

    Raises
    ------
    NotRowsError
        If `X` is a dict, a set, or an iterator (it is a ValueError and a TypeError).
    ValueError
        If `X` is one bare string, empty, holds 1-D numbers, a missing text (the message names the first
        row and how many), or an image that is not one of 8 bits (the message names the row).
    TypeError
        If `X` is sparse.
    NotTextError
        If a 1-D `X` holds something other than strings (it is a ValueError and a TypeError).

    Examples
    --------
    >>> from sksve.inputs import read_rows
    >>> read_rows(("good", "bad"))
    CheckedRows(kind='text', rows=['good', 'bad'], index=None)
    >>> read_rows([[1, 2], [3, 4]]).kind
    'table'
    """
    if pairs:
        return _read_pairs(X)
    if isinstance(X, (str, bytes)):
        raise ValueError(
            f"X must be a sequence of texts, such as a list of str. Got one bare {type(X).__name__}: "
            "put it into a list, [X]."
        )
    X = plain_container(X)
    index = _index_of(X)
    if isinstance(X, (list, tuple)) and any(isinstance(c, np.ndarray) and c.ndim > 1 for c in X):
        return CheckedRows("image", check_images(X))
    shape = _shape_of(X)
    if not shape:  # not a container we know: scikit-learn's message
        X = check_array(X, dtype=None, ensure_all_finite="allow-nan")
        shape = X.shape
    if shape[0] == 0:
        raise _no_rows(shape)
    if len(shape) == 1:
        return _read_vector(X, index, paths)
    if len(shape) == 2:
        cells = _column_of(X, 0) if shape[1] == 1 else None
        if cells is not None and any(isinstance(c, str) for c in cells):
            return CheckedRows("text_column", _checked_texts(cells), index)
        return CheckedRows("table", X, index)
    if isinstance(X, (list, tuple)):
        raise ValueError(
            f"X must be 1-D (texts) or 2-D (a table). Got lists of shape {shape}: images, for a "
            "vision backbone, are PIL images, uint8 arrays or paths."
        )
    return CheckedRows("image", stack_of_images(X), index)


def _read_pairs(X: Any) -> CheckedRows:
    X = plain_container(X)
    shape = None if isinstance(X, (str, bytes)) else _shape_of(X)
    if shape is None or len(shape) != 2 or shape[1] != 2:
        got = f"{type(X).__name__}" if shape is None else f"shape {shape}"
        raise ValueError(
            "With serializer='pair' X must have two columns of texts: a table of shape (n, 2), or a "
            f"list of (str, str). Got {got} instead."
        )
    if shape[0] == 0:
        raise _no_rows(shape)
    columns = []
    for j in (0, 1):
        cells = _column_of(X, j)
        cells = np.asarray(X)[:, j].tolist() if cells is None else cells
        columns.append(_checked_texts(cells, f", column {j}"))
    return CheckedRows("text_pair", list(zip(*columns)), _index_of(X))


def _read_vector(X: Any, index: Any, paths: bool) -> CheckedRows:
    cells = X.to_list() if hasattr(X, "to_list") else list(X)
    texts = any(isinstance(c, str) for c in cells)
    if (texts and paths) or (not texts and any(map(is_image, cells))):
        return CheckedRows("image", check_images(cells), index)
    if not texts and _numeric(cells, X):
        # Numbers in one dimension: scikit-learn says what to do ("Reshape your data").
        check_array(np.asarray(X), dtype=None, ensure_all_finite=False)
    return CheckedRows("text", _checked_texts(cells), index)


def _numeric(cells: list[Any], X: Any) -> bool:
    """Whether there are numbers and nothing else but gaps; gaps alone, if they are stored as floats."""
    present = [c for c in cells if not is_missing(c)]
    if not present:
        return getattr(getattr(X, "dtype", None), "kind", None) == "f"
    return all(isinstance(c, (Number, np.bool_)) for c in present)


def _no_rows(shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
    )


def _index_of(X: Any) -> Any:
    index = getattr(X, "index", None)
    return index if not callable(index) else None  # a list's method of that name is none


def _shape_of(X: Any) -> tuple[int, ...] | None:
    """Shape of X, read off its first row; None for what is no container, or sparse."""
    if isinstance(X, (list, tuple)):
        first = X[0] if X else None
        if not isinstance(first, (list, tuple, np.ndarray)):
            return (len(X),)
        _check_rows(X)
        try:
            return (len(X), *(np.shape(first) or (len(first),)))
        except ValueError:  # cells that are lists themselves, of whatever length
            return (len(X), len(first))
    shape = getattr(X, "shape", None)
    return None if shape is None or hasattr(X, "tocsr") else tuple(shape)


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


def _column_of(X: Any, j: int) -> list[Any] | None:
    """Cells of one column of a table, or None where they cannot be strings."""
    if isinstance(X, (list, tuple)):
        return [row[j] for row in X]
    if isinstance(X, np.ndarray):
        return list(X[:, j]) if X.dtype.kind in "OUT" else None
    if hasattr(X, "iloc"):
        return X.iloc[:, j].tolist()
    return X.to_series(j).to_list() if hasattr(X, "to_series") else None


def _checked_texts(cells: Iterable[Any], where: str = "") -> list[str]:
    """Check that each cell is a str that can be encoded; `where` adds to the row in messages."""
    cells = list(cells)
    for row, cell in enumerate(cells):
        if isinstance(cell, str):
            _check_encodable(cell, row, where)
        elif not is_missing(cell):
            cure = "bytes.decode()" if isinstance(cell, bytes) else "str()"
            raise NotTextError(
                f"X must hold texts (str) only. Row {row}{where} is {type(cell).__name__}: "
                f"{cell!r:.60}. Convert it with {cure} if it is meant as text."
            )
    missing = [row for row, cell in enumerate(cells) if not isinstance(cell, str)]
    if missing:
        raise ValueError(
            f"X holds a missing text: row {missing[0]}{where} is {cells[missing[0]]!r} (missing in all: "
            f"{len(missing)} of {len(cells)}). Texts must be str: drop these rows, or fill them, for "
            "example with ''."
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

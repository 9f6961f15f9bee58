"""Rows that do not fit in memory together: cut into pieces of one size."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

__all__ = ["pieces"]


def pieces(X: Any, size: int, *, texts: bool = False) -> Iterator[Any]:
    """Cut rows into pieces of at most `size`, one at a time.

    Parameters
    ----------
    X : array, frame, series, list, or any iterable of rows or of chunks
        What can be sliced is sliced, so that a memory-mapped array is read piece by piece; anything
        else is iterated once. Chunks are record batches, tables and arrays of pyarrow, frames and
        series of pandas or polars: each is cut by itself, none is put together with the next.
    size : int
        Rows of a piece.
    texts : bool, default=False
        Rows are bare texts: of a pyarrow table with one column, take that column.

    Yields
    ------
    slice of X (pyarrow's as a frame or a list), or list of rows

    Examples
    --------
    >>> list(pieces(iter("abcde"), 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    if hasattr(X, "__getitem__") and hasattr(X, "__len__"):
        yield from _slices(X, size, texts)
        return
    rows = iter(X)
    for first in rows:
        rows = chain([first], rows)
        if not _is_chunk(first):
            yield from _batched(rows, size)
            return
        for chunk in rows:
            yield from _slices(chunk, size, texts)


def _slices(X: Any, size: int, texts: bool) -> Iterator[Any]:
    rows = getattr(X, "iloc", X)  # of a frame or a series: by position
    for start in range(0, len(X), size):
        piece = rows[start : start + size]
        yield _from_arrow(piece, texts) if _package(piece) == "pyarrow" else piece


def _from_arrow(piece: Any, texts: bool) -> Any:
    """Frame of a table or record batch; list of an array."""
    if not hasattr(piece, "num_columns"):
        return piece.to_pylist()
    if texts and piece.num_columns == 1:
        return piece.column(0).to_pylist()
    return piece.to_pandas()


def _package(x: Any) -> str:
    return type(x).__module__.partition(".")[0]


def _is_chunk(x: Any) -> bool:
    return hasattr(x, "__len__") and _package(x) in ("pandas", "polars", "pyarrow")


def _batched(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rows = iter(rows)
    while piece := list(islice(rows, size)):
        yield piece

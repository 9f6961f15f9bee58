"""Rows that do not fit in memory together: cut into pieces of one size."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

__all__ = ["pieces"]


def pieces(X: Any, size: int) -> Iterator[Any]:
    """Cut rows into pieces of at most `size`, one at a time.

    Parameters
    ----------
    X : array, frame, series, list, or any iterable of rows
        What can be sliced is sliced, so that a memory-mapped array is read piece by piece; anything
        else is iterated once.
    size : int
        Rows of a piece.

    Yields
    ------
    slice of X, or list of rows

    Examples
    --------
    >>> list(pieces(iter("abcde"), 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    rows = getattr(X, "iloc", X)  # of a frame or a series: by position
    if hasattr(X, "__getitem__") and hasattr(X, "__len__"):
        for start in range(0, len(X), size):
            yield rows[start : start + size]
        return
    yield from _batched(X, size)


def _batched(X: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rows = iter(X)
    while piece := list(islice(rows, size)):
        yield piece

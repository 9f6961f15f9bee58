"""Numbers as words: where a value stands among those seen in fit."""

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve.preprocessing._cell import is_missing

WORDS = {
    2: ["low", "high"],
    3: ["low", "medium", "high"],
    5: ["very low", "low", "medium", "high", "very high"],
    7: ["extremely low", "very low", "low", "medium", "high", "very high", "extremely high"],
}


def bin_words(bins: int | Sequence[str] | None) -> list[str]:
    """Words from lowest to highest; none if numbers are not binned.

    Raises
    ------
    ValueError
        If there are no words for so many bins, or they are not different strings.
    """
    if bins is None:
        return []
    if isinstance(bins, int):
        if bins not in WORDS:
            raise ValueError(
                f"The 'bins' parameter of TabularToText has words for {list(WORDS)} bins. Got {bins}: "
                "give a list of your own words, from lowest to highest."
            )
        return WORDS[bins]
    words = list(bins)
    if len(words) < 2 or len(set(words)) < len(words) or not all(isinstance(w, str) for w in words):
        raise ValueError(
            "The 'bins' parameter of TabularToText must be a number of bins or at least two different "
            f"words, from lowest to highest. Got {words!r}."
        )
    return words


def is_number(cell: Any) -> bool:
    """Whether a cell is a real number; True and False are none here."""
    return isinstance(cell, (Real, Decimal)) and not isinstance(
        cell, (bool, np.bool_, np.timedelta64)
    )


def bin_edges(cells: NDArray[np.object_], n_bins: int) -> NDArray[np.float32] | None:
    """Inner quantiles of a column, or None where a word would say less than the value.

    Parameters
    ----------
    cells : ndarray of shape (n_samples,)
    n_bins : int

    Returns
    -------
    ndarray of shape (n_bins - 1,), or None
        None for a column that holds anything but numbers, or no more different numbers than there
        are words (switches, grades, counts of children).
    """
    present = [cell for cell in cells if not is_missing(cell)]
    if not present or not all(is_number(cell) for cell in present):
        return None
    values = np.array([_single(cell) for cell in present])
    if len(np.unique(values)) <= n_bins:
        return None
    # Quantiles that are values of the column: interpolation of infinities would be NaN.
    quantiles = np.quantile(values, np.arange(1, n_bins) / n_bins, method="inverted_cdf")
    return quantiles.astype(np.float32)


def bin_of(cell: Any, edges: NDArray[np.float32]) -> int:
    """Bin of one number, right-closed; a value that is several edges is in their middle bin."""
    value = _single(cell)
    left = int(np.searchsorted(edges, value, side="left"))
    right = int(np.searchsorted(edges, value, side="right"))
    return (left + right - 1) // 2 if right > left else left


def _single(cell: Any) -> np.float32:
    # float32, so that a column binned as float64 and asked as float32 gives the same words.
    with np.errstate(over="ignore"):
        try:
            return np.float32(float(cell))
        except OverflowError:
            return np.float32(np.inf if cell > 0 else -np.inf)

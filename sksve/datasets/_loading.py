"""What all loaders share: their parameters, and the order of the rows."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sksve._validation import SEED, check_parameters

__all__ = ["CONSTRAINTS", "check", "row_order"]

CONSTRAINTS: dict[str, list[Any]] = {
    "shuffle": ["boolean"],
    "random_state": [*SEED],
    "return_X_y": ["boolean"],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
}


def check(
    params: dict[str, Any], owner: str, constraints: dict[str, list[Any]] = CONSTRAINTS
) -> None:
    """Refuse what a loader cannot be told."""
    check_parameters(constraints, params, owner=owner)


def row_order(
    n_rows: int, shuffle: bool, random_state: int | np.random.RandomState | None
) -> NDArray[np.int64]:
    """Positions of the rows as they are handed out; numpy's global generator is never read or moved."""
    if not shuffle:
        return np.arange(n_rows)
    source = np.random.RandomState() if random_state is None else random_state
    return check_random_state(source).permutation(n_rows)

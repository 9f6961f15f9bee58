"""The order of the rows."""

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state


def row_order(
    n_rows: int, shuffle: bool, random_state: int | np.random.RandomState | None
) -> NDArray[np.int64]:
    """Positions of the rows as they are handed out.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    shuffle : bool
        Whether to permute them.
    random_state : int, RandomState instance or None
        Seed of the permutation. None means fresh entropy: unlike elsewhere in scikit-learn, numpy's
        global generator is neither read nor moved.

    Returns
    -------
    ndarray of shape (n_rows,)
        The positions.
    """
    if not shuffle:
        return np.arange(n_rows)
    source = np.random.RandomState() if random_state is None else random_state
    return check_random_state(source).permutation(n_rows)

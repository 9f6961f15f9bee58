"""How many leading singular values are trained."""

import operator

import torch
from torch import Tensor

__all__ = ["energy_rank", "numerical_rank", "resolve_rank"]

# A singular value this much smaller than the first is rounding noise of a float32 weight (its
# machine epsilon): its vectors are arbitrary, so it must not be trained.
NUMERICAL_ZERO = 1.2e-7


def numerical_rank(S: Tensor) -> int:
    """Count the singular values above ``1.2e-7 * S[0]``.

    Parameters
    ----------
    S : Tensor of shape (k,)
        Singular values, largest first.

    Returns
    -------
    int
        0 for a zero matrix.
    """
    return int((S > NUMERICAL_ZERO * S[0]).sum())


def energy_rank(S: Tensor, share: float) -> int:
    """Smallest r whose leading values hold at least `share` of ``sum(S ** 2)``.

    Parameters
    ----------
    S : Tensor of shape (k,)
        Singular values, largest first.
    share : float
        In (0, 1).

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import energy_rank
    >>> energy_rank(torch.tensor([3.0, 1.0, 1.0]), 0.9)
    2
    """
    energy = torch.cumsum(S.to(torch.float64) ** 2, dim=0)
    reached = energy >= share * energy[-1]
    return int(reached.to(torch.int64).argmax()) + 1


def resolve_rank(S: Tensor, rank: int | float | None) -> int:
    """Turn the `rank` parameter into the number of trained singular values of one layer.

    Parameters
    ----------
    S : Tensor of shape (k,)
        Singular values, largest first.
    rank : None, int or float
        None: all. An int r >= 1: the first r, capped at k. A float in (0, 1): the smallest r that
        holds this share of the energy ``sum(S ** 2)``. Always capped at the numerical rank.

    Returns
    -------
    int
        The number of trained values, 0 only for a zero matrix.

    Raises
    ------
    ValueError
        If `rank` is none of these.
    """
    limit = numerical_rank(S)
    if rank is None:
        return limit
    if isinstance(rank, float) and 0.0 < rank < 1.0:
        return min(energy_rank(S, rank), limit)
    try:
        r = operator.index(rank)  # type: ignore[arg-type]
    except TypeError:
        r = 0
    if r < 1 or isinstance(rank, bool):
        raise ValueError(
            "The 'rank' parameter must be None, an int in the range [1, inf) or a float in the "
            f"range (0.0, 1.0). Got {rank!r} instead."
        )
    return min(r, limit)

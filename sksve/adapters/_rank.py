"""How many leading singular values are trained."""

import operator
from numbers import Integral, Real

import torch
from torch import Tensor

__all__ = ["check_pool", "energy_rank", "numerical_rank", "resolve_rank"]

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
    if isinstance(rank, Real) and not isinstance(rank, Integral) and 0.0 < rank < 1.0:
        return min(energy_rank(S, float(rank)), limit)  # numpy's floats, too
    r = _as_count(rank)
    if r < 1:
        raise ValueError(
            "The 'rank' parameter must be None, an int in the range [1, inf) or a float in the "
            f"range (0.0, 1.0). Got {rank!r} instead."
        )
    return min(r, limit)


def check_pool(direction_pool: int | None, rank: int | float | None) -> None:
    """Raise ValueError unless members can draw `rank` directions from this pool (None: they do not)."""
    if direction_pool is None:
        return
    r, pool = _as_count(rank), _as_count(direction_pool)
    if not 1 <= r <= pool:
        raise ValueError(
            "The 'direction_pool' parameter must be None, or an int of at least 'rank', which must then "
            f"be an int in the range [1, inf). Got direction_pool={direction_pool!r:.80} with "
            f"rank={rank!r:.80}."
        )


def _as_count(rank: int | float | None) -> int:
    """The rank if it is an int, else 0."""
    try:
        return 0 if isinstance(rank, bool) else operator.index(rank)  # type: ignore[arg-type]
    except TypeError:
        return 0

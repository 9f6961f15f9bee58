"""The thin singular value decomposition, in float64 on the CPU, and how many of its values are trained."""

import operator
from numbers import Integral, Real

import torch
from torch import Tensor

__all__ = ["check_pool", "decompose", "resolve_rank"]

# A singular value this much smaller than the first is rounding noise of a float32 weight (its
# machine epsilon): its vectors are arbitrary, so it must not be trained.
NUMERICAL_ZERO = 1.2e-7


def decompose(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Thin singular value decomposition ``weight = U @ diag(S) @ Vh``, in float64 on the CPU.

    A singular vector pair may be flipped, :math:`(u, v) \to (-u, -v)`, without changing the product,
    and LAPACK's drivers disagree about half of all signs. Here, in each column of ``U`` the entry of
    largest magnitude (the first, in a tie) is positive.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
        Any floating dtype, any device; never modified.

    Returns
    -------
    U : Tensor of shape (out_features, k), float64
        Orthonormal columns, ``k = min(out_features, in_features)``.
    S : Tensor of shape (k,), float64
        Singular values, largest first.
    Vh : Tensor of shape (k, in_features), float64
        Orthonormal rows.

    Raises
    ------
    ValueError
        If `weight` is not a matrix, is empty, or holds NaN or infinity.

    References
    ----------
    .. [1] Golub and Reinsch (1970), "Singular value decomposition and least squares solutions",
       https://doi.org/10.1007/BF02163027

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import decompose
    >>> U, S, Vh = decompose(torch.tensor([[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]]))
    >>> S.tolist()
    [3.0, 2.0]
    >>> U @ torch.diag(S) @ Vh
    tensor([[ 3.,  0.],
            [ 0., -2.],
            [ 0.,  0.]], dtype=torch.float64)
    """
    if weight.ndim != 2 or weight.numel() == 0:
        raise ValueError(
            "The weight to decompose must be a non-empty matrix of shape "
            f"(out_features, in_features). Got shape {tuple(weight.shape)} instead."
        )
    matrix = weight.detach().to(device="cpu", dtype=torch.float64)
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError(
            f"The weight of shape {tuple(weight.shape)} holds NaN or infinity and has no singular "
            "value decomposition. Load the backbone again: its weights are damaged."
        )
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    sign = U.gather(0, U.abs().argmax(dim=0, keepdim=True)).sign()
    return (U * sign).contiguous(), S, (Vh * sign.T).contiguous()


def resolve_rank(S: Tensor, rank: int | float | None) -> int:
    """Turn the `rank` parameter into the number of trained singular values of one layer.

    Parameters
    ----------
    S : Tensor of shape (k,)
        Singular values, largest first.
    rank : None, int or float
        None: all. An int r >= 1: the first r, capped at k. A float in (0, 1): the smallest r that
        holds this share of the energy ``sum(S ** 2)``. Values up to ``1.2e-7 * S[0]`` never count.

    Returns
    -------
    int
        The number of trained values, 0 only for a zero matrix.

    Raises
    ------
    ValueError
        If `rank` is none of these.

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import resolve_rank
    >>> [resolve_rank(torch.tensor([3.0, 1.0, 1.0, 0.0]), rank) for rank in (None, 2, 9, 0.9)]
    [3, 2, 3, 2]
    """
    limit = int((S > NUMERICAL_ZERO * S[0]).sum())
    if rank is None:
        return limit
    if (
        isinstance(rank, Real) and not isinstance(rank, Integral) and 0.0 < rank < 1.0
    ):  # numpy's, too
        energy = torch.cumsum(S.to(torch.float64) ** 2, dim=0)
        reached = energy >= float(rank) * energy[-1]
        return min(int(reached.to(torch.int64).argmax()) + 1, limit)
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

"""Members that train singular directions of their own, drawn from the leading ones.

Everywhere: ``own`` of shape (m, r) holds the numbers of the members' directions, in rising order.
"""

import torch
from torch import Tensor

from sksve.adapters._basis import BasisMismatchError

__all__ = ["checked_directions", "draw_directions", "own_factors", "own_values"]


def draw_directions(pool: int, r: int, generator: torch.Generator | None) -> Tensor:
    """Draw r of the leading `pool` directions without replacement, in rising order, as int32.

    References
    ----------
    .. [1] Ho (1998), "The random subspace method for constructing decision forests",
       https://doi.org/10.1109/34.709601
    """
    return torch.randperm(pool, generator=generator)[:r].sort().values.to(torch.int32)


def own_values(
    U: Tensor, S: Tensor, Vh: Tensor, own: Tensor, delta: Tensor, pool: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of the change ``U diag(s_m) Vh`` where members own singular values only.

    Returns
    -------
    U, s, Vh : Tensor of shapes (o, pool), (m, pool), (pool, i)
        s is zero but at a member's own directions, where it is ``S * delta``.
    """
    s = delta.new_zeros(len(own), pool).scatter(1, own, S[own] * delta)
    return U[:, :pool], s, Vh[:pool]


def own_factors(
    U: Tensor, S: Tensor, Vh: Tensor, own: Tensor, delta: Tensor, off_diagonal: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of the change ``U_m core_m Vh_m`` where members own cores.

    Parameters
    ----------
    off_diagonal : Tensor of shape (m, r, r)
        Entries off the diagonal in units of ``sqrt(S_a S_b)``.

    Returns
    -------
    U, core, Vh : Tensor of shapes (m, o, r), (m, r, r), (m, r, i)
    """
    values = S[own]
    root = values.sqrt()
    core = root[:, :, None] * off_diagonal * root[:, None, :] + torch.diag_embed(values * delta)
    return U.T[own].mT, core, Vh[own]


def checked_directions(told: Tensor, own: Tensor | None, pool: int) -> Tensor:
    """Return directions that were saved, if a layer that has `own` can take them.

    Raises
    ------
    BasisMismatchError
        If they are of another shape or dtype, lie outside the pool, or do not rise in a row.
    """
    fits = own is not None and told.shape == own.shape and told.dtype == own.dtype
    if fits and bool(((told >= 0) & (told < pool)).all() and (told.diff(dim=1) > 0).all()):
        return told
    raise BasisMismatchError(
        f"'directions' must be int32 of shape {None if own is None else tuple(own.shape)}, rising numbers "
        f"in the range [0, {pool}) in each row."
    )

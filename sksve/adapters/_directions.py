"""Members that train singular directions of their own, drawn from the leading ones.

Everywhere: ``own`` of shape (m, r) holds the numbers of the members' directions, in rising order.
"""

import torch
from torch import Tensor

from sksve.adapters._basis import BasisMismatchError

__all__ = [
    "KeptVectors",
    "checked_directions",
    "draw_directions",
    "own_core",
    "own_values",
    "own_vectors",
]


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


def own_core(S: Tensor, own: Tensor, delta: Tensor, off_diagonal: Tensor) -> Tensor:
    """Cores (m, r, r) of the change ``U_m core_m Vh_m`` where members own cores.

    Parameters
    ----------
    off_diagonal : Tensor of shape (m, r, r)
        Entries off the diagonal in units of ``sqrt(S_a S_b)``.
    """
    values = S[own]
    root = values.sqrt()
    return root[:, :, None] * off_diagonal * root[:, None, :] + torch.diag_embed(values * delta)


def own_vectors(U: Tensor, Vh: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Gather ``U_m`` (m, o, r) and ``Vh_m`` (m, r, i), the members' own vectors."""
    own = own.long()
    return U.T[own].mT, Vh[own]


class KeptVectors:
    """Vectors of the chosen members (None: all), those of all gathered once for a whole training.

    They are gathered anew once one of the tensors is another or was written to. Copies and pickles of a
    layer start without.
    """

    def __init__(self) -> None:
        self._last: tuple[list[tuple[Tensor, int]], tuple[Tensor, Tensor]] | None = None

    def __reduce__(self) -> tuple[type["KeptVectors"], tuple[()]]:
        return KeptVectors, ()

    def __call__(
        self, U: Tensor, Vh: Tensor, own: Tensor, members: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        sources = (U, Vh, own if members is None else own[members])
        # Tensors of inference mode do not tell whether they were written to.
        if members is not None or any(t.is_inference() for t in sources):
            return own_vectors(*sources)
        last = self._last  # other threads may use the layer meanwhile
        if last is None or any(
            kept is not t or version != t._version for (kept, version), t in zip(last[0], sources)
        ):
            last = [(t, t._version) for t in sources], own_vectors(*sources)
            if torch.is_grad_enabled():  # a training's, which ends
                self._last = last
        return last[1]

    def forget(self) -> None:
        """Give their memory back."""
        self._last = None


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

"""Cores: which entries of the matrix between U and Vh the members train.

A core is a list of entries (rows, cols) of an r x r matrix. A list is held as positions ``row * r + col`` in
rising order, so that no entry can be in it twice, and the values of a full core are its matrix, row by row.
"""

from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from sksve.adapters._basis import BasisMismatchError

__all__ = ["Core", "check_core", "checked_rising", "draw_rising", "positions_of", "top_positions"]

Core = Literal["diagonal", "banded", "random", "top_k", "full"]
#: Patterns that take SVFT's number of off-diagonals.
SPARSE = ("banded", "random", "top_k")


def check_core(core: str, off_diagonals: int) -> None:
    """Raise ValueError for an unknown pattern, or off-diagonals of one that has none."""
    if not isinstance(core, str) or core not in get_args(Core):
        allowed = ", ".join(map(repr, get_args(Core)))
        raise ValueError(
            f"The 'core' parameter must be one of {allowed}. Got {core!r:.80} instead."
        )
    if off_diagonals > 0 and core not in SPARSE:
        raise ValueError(
            f"'off_diagonals' is of the cores 'banded', 'random' and 'top_k' only. Got "
            f"off_diagonals={off_diagonals!r} with core={core!r}."
        )


def n_band(r: int, off_diagonals: int) -> int:
    """Entries within `off_diagonals` of the diagonal of an r x r matrix, the diagonal included."""
    d = min(off_diagonals, max(r - 1, 0))
    return r * (2 * d + 1) - d * (d + 1)


@lru_cache(maxsize=64)
def positions_of(core: str, r: int, off_diagonals: int, device: torch.device) -> Tensor:
    """Positions (n,) of a pattern that sizes alone decide: diagonal, banded or full."""
    with torch.inference_mode(False):  # whoever comes first, others may need it for a backward pass
        if core == "full":
            return torch.arange(r * r, device=device)
        if core == "diagonal" or off_diagonals == 0:
            return torch.arange(r, device=device) * (r + 1)
        row = torch.arange(r, device=device)
        return ((row[:, None] - row).abs() <= off_diagonals).flatten().nonzero().flatten()


def draw_rising(n: int, k: int, generator: torch.Generator | None) -> Tensor:
    """Draw k of the numbers below n without replacement, in rising order, as int32."""
    return torch.randperm(n, generator=generator)[:k].sort().values.to(torch.int32)


def top_positions(U: Tensor, Vh: Tensor, k: int) -> Tensor:
    """Positions (k,) of the best aligned pairs: the largest ``|u_a . v_b|``, as int32.

    Of a matrix that is not square, u_a and v_b differ in length; the shorter one counts as filled up with
    zeros. The sign is left out because it depends on that of the singular vectors, which is arbitrary.
    """
    d = min(U.shape[0], Vh.shape[1])
    aligned = (U[:d].T @ Vh[:, :d].T).abs().flatten()
    return aligned.topk(k).indices.sort().values.to(torch.int32)


def checked_rising(name: str, saved: Tensor, like: Tensor | None, limit: int) -> Tensor:
    """Return saved numbers (m, k) if a layer that has `like` can take them.

    They must be below `limit` and rise in each row, so that none is there twice.
    """
    fits = like is not None and saved.shape == like.shape and saved.dtype == like.dtype
    if fits and bool(((saved >= 0) & (saved < limit)).all() and (saved.diff(dim=1) > 0).all()):
        return saved
    raise BasisMismatchError(
        f"'{name}' must be int32 of shape {None if like is None else tuple(like.shape)}, rising numbers "
        f"in the range [0, {limit}) in each row."
    )

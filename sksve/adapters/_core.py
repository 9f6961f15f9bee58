"""Cores: which entries of the matrix between U and Vh the members train, and the product with them.

A core is a list of entries (rows, cols) of an r x r matrix. A list is held as positions ``row * r + col`` in
rising order, so that no entry can be in it twice, and the values of a full core are its matrix, row by row.

The product has a backward pass of its own: frozen matrices get no gradient, ``x Vh^T`` is kept and x is not,
and sums are written into the larger product. The graph of single operations passes over the activations once
more and takes 1.15 times as long (at the shapes of the README's random subspaces). Double backward raises an
error.
Axes: m members, n rows, i inputs, o outputs, k singular triplets.
"""

from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sksve.adapters._basis import BasisMismatchError

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
            f"'off_diagonals' applies only to the cores 'banded', 'random' and 'top_k'. Got "
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


# -- the product of a layer whose members have cores -----------------------------------------------


def member_product(
    x: Tensor, U: Tensor, core: Tensor, Vh: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """``U core_m Vh x + bias_m``, and ``W x`` as well where `weight` is given.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    U : Tensor of shape (o, k) or (m, o, k)
        The triplets of all members, or of each its own.
    core : Tensor of shape (m, k) or (m, k, k)
        Diagonals, or whole matrices.
    Vh : Tensor of shape (k, i) or (m, k, i)
    weight : Tensor of shape (o, i), or None
    bias : Tensor of shape (m, o) or (o,), or None

    Returns
    -------
    Tensor of shape (m, n, o)
    """
    dtype = _autocast_dtype(x)
    if dtype is not None:
        x, U, Vh = x.to(dtype), U.to(dtype), Vh.to(dtype)
        weight = None if weight is None else weight.to(dtype)
    with torch.autocast(x.device.type, enabled=False):
        if torch.is_grad_enabled():
            y: Tensor = _Product.apply(x, U, core, Vh, weight, bias)
            return y
        # Without a backward pass, the detour through autograd is what a single row would wait for.
        return _forward(x, U, core, Vh, weight, bias)[0]


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Dtype that autocast asks for here; None where it is off (or x is float64, which it leaves)."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(kind)


def _turned(rows: Tensor, core: Tensor) -> Tensor:
    """Multiply each member's rows (m, n, k) by its core."""
    core = core.to(rows.dtype)
    return rows * core[:, None, :] if core.ndim == 2 else torch.bmm(rows, core.mT)


def _times(rows: Tensor, factor: Tensor) -> Tensor:
    """Rows (m, n, a) times one matrix (a, b), in one product, or each member's own (m, a, b)."""
    if factor.ndim == 3:
        return torch.bmm(rows, factor)
    return (rows.flatten(0, 1) @ factor).view(*rows.shape[:2], factor.shape[1])


def _sum(thin: Tensor, factor: Tensor, rows: Tensor, matrix: Tensor | None) -> Tensor:
    """``thin factor + rows matrix``: the large product adds to the small one while it writes anyway."""
    y = _times(thin, factor)
    if matrix is not None:
        y.flatten(0, 1).addmm_(rows.flatten(0, 1), matrix)
    return y


def _forward(
    x: Tensor, U: Tensor, core: Tensor, Vh: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Output, and the rows in the coordinates of Vh."""
    h = _times(x, Vh.mT)
    y = _sum(_turned(h, core), U.mT, x, None if weight is None else weight.T)
    if bias is not None:
        y.add_((bias[:, None, :] if bias.ndim == 2 else bias).to(y.dtype))
    return y, h


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        y, h = _forward(*args)
        _, U, core, Vh, weight, bias = args
        ctx.save_for_backward(h if any(ctx.needs_input_grad) else None, U, core, Vh, weight)
        ctx.bias_ndim = 0 if bias is None else bias.ndim
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        h, U, core, Vh, weight = ctx.saved_tensors
        need_x, _, need_core, _, _, need_bias = ctx.needs_input_grad
        gx = slope = gb = None
        if need_bias:
            gb = gy.sum(dim=1 if ctx.bias_ndim == 2 else (0, 1), dtype=_wide(gy.dtype))
        if need_x or need_core:
            g = _times(gy, U)
            if need_core and core.ndim == 2:
                slope = (g * h).sum(dim=1, dtype=_wide(g.dtype)).to(core.dtype)
            elif need_core:
                slope = torch.bmm(g.mT, h).to(core.dtype)
            if need_x:
                gx = _sum(_turned(g, core if core.ndim == 2 else core.mT), Vh, gy, weight)
        return gx, None, slope, None, None, gb


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Dtype for sums over rows: half precision is summed in float32."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype

"""The product of a layer whose members have cores, with a backward pass of its own.

Frozen matrices get no gradient, ``x Vh^T`` is kept and x is not, and sums are written into the larger
product. The graph of single operations passes over the activations once more and takes 1.15 times as long (at
the shapes of the README's random subspaces). Double backward raises an error.
Axes: m members, n rows, i inputs, o outputs, k singular triplets.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["member_product"]


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

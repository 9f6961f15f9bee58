"""The product of a layer whose members own whole cores, with a backward pass of its own.

As in `_autograd.py`: frozen matrices get no gradient, ``x Vh^T`` is kept and x is not, sums are written into
the product before, where the graph of single operations would pass over the activations again. The small
product comes first, so that the large one adds to it; with many rows each member's matrix is built instead.
Double backward raises an error. Axes: m members, n rows, i inputs, o outputs, r directions of the core.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sksve.adapters._autograd import add_bias, bias_gradient, low_precision

__all__ = ["core_product", "merging_pays"]

# So many rows, in units of those for which building the matrix takes the multiply-adds it saves, pay for
# writing it as well. Measured by `benchmarks/speed.py merged`.
WRITING = 1.5


def core_product(
    x: Tensor,
    weight: Tensor,
    U: Tensor,
    core: Tensor,
    Vh: Tensor,
    bias: Tensor | None,
    known: Tensor | None = None,
) -> Tensor:
    """Apply ``W + U core_m Vh`` and the bias to the rows of member m.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    weight : Tensor of shape (o, i)
        The pretrained matrix: what the core does not change is kept, never dropped.
    U : Tensor of shape (o, r) or (m, o, r)
        The directions of all members, or of each its own.
    core : Tensor of shape (m, r, r)
        Change of each member.
    Vh : Tensor of shape (r, i) or (m, r, i)
    bias : Tensor of shape (m, o) or (o,), or None
    known : Tensor of shape (m, n, o), optional
        ``weight x``, where that was computed before; constants may be added to it. Not changed.

    Returns
    -------
    Tensor of shape (m, n, o)

    References
    ----------
    .. [1] SVFT, https://arxiv.org/abs/2405.19597
    """
    dtype = low_precision(x)
    if dtype is not None:
        weight, U, Vh = (t.to(dtype) for t in (weight, U, Vh))
        known = None if known is None else known.to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            return core_product(x.to(dtype), weight, U, core, Vh, bias, known)
    if not torch.is_grad_enabled():
        return _forward(x, weight, U, core, Vh, bias, known)[0]
    y: Tensor
    if known is None and _merges(x, weight):
        y = _Merged.apply(x, weight, U, core, Vh, bias)
    else:
        y = _Core.apply(x, weight, U, core, Vh, bias, known)
    return y


def _merges(x: Tensor, weight: Tensor) -> bool:
    o, i = weight.shape
    tuned = x.device.type == "cpu" and x.dtype == torch.float32
    return tuned and merging_pays(o, i, x.shape[1], x.requires_grad)


def merging_pays(o: int, i: int, rows: int, need_x: bool) -> bool:
    """Whether a training step is faster through each member's matrix than through small products.

    Building the matrix spares one small product in the forward pass, of o numbers a row, and one of i numbers
    in the backward pass, if that is to reach x. The matrices kept for it are fewer numbers than the rows that
    go in and come out.

    Parameters
    ----------
    o, i : int
        Outputs and inputs of the layer.
    rows : int
        Of each member.
    need_x : bool
        Whether the rows need a gradient.
    """
    return rows * (o + (i if need_x else 0)) > WRITING * o * i


def _forward(
    x: Tensor,
    weight: Tensor,
    U: Tensor,
    core: Tensor,
    Vh: Tensor,
    bias: Tensor | None,
    known: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Output, and the rows in the coordinates of Vh."""
    h = _coordinates(x, Vh.mT)
    turned = torch.bmm(h, core.to(h.dtype).transpose(1, 2))
    if known is not None:
        y = torch.baddbmm(known, turned, U.mT.expand(len(core), *U.mT.shape[-2:]))
        return add_bias(y, bias), h
    if bias is None or x.shape[1] <= core.shape[1]:
        return add_bias(_sum_of(turned, U.mT, x, weight.t()), bias), h
    # One more direction, of which each row has one: a pass over the output less than adding the bias.
    turned, U = F.pad(turned, (0, 1), value=1.0), _with_column(U, bias)
    return _sum_of(turned, U.mT, x, weight.t()), h


def _with_column(U: Tensor, bias: Tensor) -> Tensor:
    """U (o, r) or (m, o, r) with the bias (o,) or (m, o) as its last column."""
    column = bias.to(U.dtype)[..., None]
    lead = max(U.shape[:-2], column.shape[:-2], key=len)
    return torch.cat([U.expand(*lead, *U.shape[-2:]), column.expand(*lead, *column.shape[-2:])], -1)


def _times(rows: Tensor, factor: Tensor) -> Tensor:
    """Rows (m, n, a) times one matrix (a, b), in one product, or each member's own (m, a, b)."""
    if factor.ndim == 3:
        return torch.bmm(rows, factor)
    return (rows.reshape(-1, rows.shape[2]) @ factor).reshape(*rows.shape[:2], factor.shape[1])


def _coordinates(rows: Tensor, factor: Tensor) -> Tensor:
    """Rows times a matrix of few columns: ``_times``, on a CPU in the faster of two orders.

    BLAS fills vectors with columns of the result. Ranks like 30 or 42 leave one of them half empty; rows in
    their place are many (benchmarks/results/speed_core.json).
    """
    if rows.device.type != "cpu" or rows.dtype != torch.float32 or factor.shape[-1] % 16 == 0:
        return _times(rows, factor)
    if factor.ndim == 3:
        return torch.bmm(factor.mT, rows.mT).mT
    turned = factor.mT @ rows.reshape(-1, rows.shape[2]).mT
    return turned.view(factor.shape[-1], *rows.shape[:2]).permute(1, 2, 0)


def _sum_of(thin: Tensor, factor: Tensor, rows: Tensor, matrix: Tensor) -> Tensor:
    """``thin factor + rows matrix``: the large product adds to the small one while it writes anyway."""
    y = _times(thin, factor)
    y.view(-1, y.shape[2]).addmm_(rows.reshape(-1, rows.shape[2]), matrix)
    return y


class _Core(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        y, h = _forward(*given)
        _, weight, U, core, Vh, bias, _ = given
        ctx.save_for_backward(h if any(ctx.needs_input_grad) else None, weight, U, core, Vh)
        ctx.bias_ndim = 0 if bias is None else bias.ndim
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, U, core, Vh = ctx.saved_tensors
        need_x, _, _, need_core, _, need_bias, _ = ctx.needs_input_grad
        gx = slope = None
        gb = bias_gradient(gy, ctx.bias_ndim) if need_bias else None
        if need_x or need_core:
            g = _coordinates(gy, U)
            if need_core:
                slope = torch.bmm(g.transpose(1, 2), h).to(core.dtype)
            if need_x:
                gx = _sum_of(torch.bmm(g, core.to(g.dtype)), Vh, gy, weight)
        return gx, None, None, slope, None, gb, None


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, weight, U, core, Vh, bias = given
        m = len(core)
        left, right = (t.expand(m, *t.shape[-2:]) for t in (U, Vh))
        matrices = torch.baddbmm(
            weight.expand(m, *weight.shape), torch.bmm(left, core.to(x.dtype)), right
        )
        y = torch.bmm(x, matrices.mT) if bias is None else _added(bias, x, matrices.mT)
        need_x, _, _, need_core, _, _ = ctx.needs_input_grad
        h = _coordinates(x, Vh.mT) if need_core else None
        ctx.save_for_backward(h, matrices if need_x else None, U)
        ctx.dtype = core.dtype
        ctx.bias_ndim = 0 if bias is None else bias.ndim
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        h, matrices, U = ctx.saved_tensors
        need_x, _, _, need_core, _, need_bias = ctx.needs_input_grad
        gb = bias_gradient(gy, ctx.bias_ndim) if need_bias else None
        slope = torch.bmm(_coordinates(gy, U).mT, h).to(ctx.dtype) if need_core else None
        return torch.bmm(gy, matrices) if need_x else None, None, None, slope, None, gb


def _added(bias: Tensor, rows: Tensor, matrices: Tensor) -> Tensor:
    """``rows matrix_m + bias_m``, the bias (o,) or (m, o)."""
    start = bias.to(rows.dtype).expand(len(matrices), bias.shape[-1])[:, None]
    return torch.baddbmm(start, rows, matrices)

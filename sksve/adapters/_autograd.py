"""The two products of a layer, with a backward pass that keeps little and does only what is needed.

Frozen matrices get no gradient. The thin routes keep ``x Vh^T`` and neither x nor the scaled product; the
dense route keeps x, which the layers that read the same x share. Double backward raises an error.
Axes: m members, n rows, i inputs, o outputs, k singular values in the product.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sksve.adapters._routes import gram_pays

__all__ = [
    "add_bias",
    "bias_gradient",
    "dense_product",
    "dense_weight",
    "low_precision",
    "thin_product",
]


def thin_product(
    x: Tensor, U: Tensor, s: Tensor, Vh: Tensor, bias: Tensor | None, weight: Tensor | None
) -> Tensor:
    """``U diag(s_m) Vh x + bias_m``, and ``W x`` as well where `weight` is given.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    U : Tensor of shape (o, k)
    s : Tensor of shape (m, k)
    Vh : Tensor of shape (k, i)
    bias : Tensor of shape (m, o) or (o,), or None
    weight : Tensor of shape (o, i), or None

    Returns
    -------
    Tensor of shape (m, n, o)
    """
    # Without a backward pass, the detour through autograd is what a single row would wait for.
    product = _Thin.apply if torch.is_grad_enabled() else _thin_forward
    dtype = low_precision(x)
    if dtype is None:
        return product(x, U, s, Vh, bias, weight)
    frozen = (None if t is None else t.to(dtype) for t in (U, Vh, weight))
    U, Vh, weight = frozen
    with torch.autocast(x.device.type, enabled=False):
        return product(x.to(dtype), U, s, Vh, bias, weight)


def dense_product(
    x: Tensor, U: Tensor, s: Tensor, Vh: Tensor, bias: Tensor | None, weight: Tensor | None
) -> Tensor:
    """Like :func:`thin_product`, through the dense weight of one member at a time."""
    dtype = low_precision(x)
    if dtype is None:
        return _Dense.apply(x, U, s, Vh, bias, weight)
    # The weight is built in full precision and rounded once.
    with torch.autocast(x.device.type, enabled=False):
        return _Dense.apply(x.to(dtype), U, s, Vh, bias, weight)


def dense_weight(
    U: Tensor, s: Tensor, Vh: Tensor, weight: Tensor | None, out: Tensor | None = None
) -> Tensor:
    """``U diag(s) Vh``, plus `weight` where it is given; into `out` if there is one."""
    scaled = U * s
    if weight is None:
        return torch.mm(scaled, Vh, out=out)
    return torch.addmm(weight, scaled, Vh, out=out)


def low_precision(x: Tensor) -> torch.dtype | None:
    """Dtype that autocast asks for here; None where it is off (or x is float64, which it leaves)."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(kind)


def add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """Add each member's bias, or a shared one, to (m, n, o) in place."""
    if bias is None:
        return y
    return y.add_((bias[:, None, :] if bias.ndim == 2 else bias).to(y.dtype))


def bias_gradient(gy: Tensor, bias_ndim: int) -> Tensor:
    """Sum over a member's rows, or over all; half precision is summed in float32."""
    wide = torch.float32 if gy.dtype in (torch.bfloat16, torch.float16) else gy.dtype
    return gy.sum(dim=1 if bias_ndim == 2 else (0, 1), dtype=wide)


def _slope(g: Tensor, h: Tensor) -> Tensor:
    """Sum over rows of g * h; half precision is summed in float32."""
    wide = torch.float32 if g.dtype in (torch.bfloat16, torch.float16) else g.dtype
    return (g * h).sum(dim=-2, dtype=wide)


def _thin_forward(
    x: Tensor, U: Tensor, s: Tensor, Vh: Tensor, bias: Tensor | None, weight: Tensor | None
) -> Tensor:
    m, n, i = x.shape
    rows = x.reshape(m * n, i)
    h = (rows @ Vh.T).reshape(m, n, -1)
    scaled = h.mul_(s[:, None, :].to(h.dtype)).reshape(m * n, -1)
    return add_bias(_second_product(rows, scaled, U, weight).reshape(m, n, -1), bias)


def _second_product(rows: Tensor, scaled: Tensor, U: Tensor, weight: Tensor | None) -> Tensor:
    return scaled @ U.T if weight is None else (rows @ weight.T).addmm_(scaled, U.T)


class _Thin(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        U: Tensor,
        s: Tensor,
        Vh: Tensor,
        bias: Tensor | None,
        weight: Tensor | None,
    ) -> Tensor:
        m, n, i = x.shape
        rows = x.reshape(m * n, i)
        h = (rows @ Vh.T).reshape(m, n, -1)
        scaled = (h * s[:, None, :].to(h.dtype)).reshape(m * n, -1)
        y = _second_product(rows, scaled, U, weight)
        ctx.save_for_backward(h if any(ctx.needs_input_grad) else None, U, s, Vh, weight)
        ctx.bias_ndim = 0 if bias is None else bias.ndim
        return add_bias(y.reshape(m, n, -1), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        h, U, s, Vh, weight = ctx.saved_tensors
        m, n, o = gy.shape
        need_x, _, need_s, _, need_bias, _ = ctx.needs_input_grad
        gx = gs = gb = None
        if need_bias:
            gb = bias_gradient(gy, ctx.bias_ndim)
        rows = gy.reshape(m * n, o)
        if need_x or need_s:
            g = (rows @ U).reshape(m, n, -1)
            if need_s:
                gs = _slope(g, h).to(s.dtype)
            if need_x:
                scaled = g.mul_(s[:, None, :].to(g.dtype)).reshape(m * n, -1)
                gx = scaled @ Vh if weight is None else (rows @ weight).addmm_(scaled, Vh)
                gx = gx.reshape(m, n, -1)
        return gx, None, gs, None, gb, None


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        U: Tensor,
        s: Tensor,
        Vh: Tensor,
        bias: Tensor | None,
        weight: Tensor | None,
    ) -> Tensor:
        m, n, _ = x.shape
        buffer = U.new_empty(U.shape[0], Vh.shape[1])
        y = x.new_empty(m, n, U.shape[0])
        for j in range(m):
            W = dense_weight(U, s[j], Vh, weight, buffer).to(x.dtype)
            torch.mm(x[j], W.T, out=y[j])
        # The weight of a single member is smaller than what the thin routes keep of its tokens.
        kept = buffer if m == 1 else None
        ctx.save_for_backward(x, U, s, Vh, weight, kept)
        ctx.bias_ndim = 0 if bias is None else bias.ndim
        return add_bias(y, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, U, s, Vh, weight, kept = ctx.saved_tensors
        m, n, o = gy.shape
        i, k = x.shape[2], U.shape[1]
        need_x, _, need_s, _, need_bias, _ = ctx.needs_input_grad
        gb = bias_gradient(gy, ctx.bias_ndim) if need_bias else None
        gx = torch.empty_like(x) if need_x else None
        gs = torch.empty_like(s) if need_s else None
        buffer = kept
        if kept is None and need_x:
            buffer = U.new_empty(o, i)
        by_gram = gram_pays(o, i, k, n)
        for j in range(m):
            if gx is not None:
                if kept is None:
                    dense_weight(U, s[j], Vh, weight, buffer)
                torch.mm(gy[j], buffer.to(gy.dtype), out=gx[j])
            if gs is not None and by_gram:
                gram = (gy[j].T @ x[j]).to(U.dtype)  # (o, i): the gradient of W_m
                gs[j] = ((U.T @ gram) * Vh).sum(dim=1)
            elif gs is not None:
                gs[j] = _slope(gy[j] @ U.to(gy.dtype), x[j] @ Vh.T.to(x.dtype))
        return gx, None, gs, None, gb, None

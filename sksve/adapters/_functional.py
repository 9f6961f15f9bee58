"""The member-batched product, as a function. Axes: m members, n rows, i inputs, o outputs, k, r."""

import torch.nn.functional as F
from torch import Tensor

from sksve.adapters._band import apply_band

__all__ = ["sve_linear"]


def sve_linear(
    x: Tensor,
    U: Tensor,
    s: Tensor,
    Vh: Tensor,
    bias: Tensor | None = None,
    band: Tensor | None = None,
    *,
    r: int | None = None,
    off_diagonals: int = 0,
) -> Tensor:
    """Apply ``W_m = U (diag(s_m) + band_m) Vh`` to the rows of member m, without building ``W_m``.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    U : Tensor of shape (o, k)
    s : Tensor of shape (m, k)
    Vh : Tensor of shape (k, i)
    bias : Tensor of shape (m, o) or (o,), optional
    band : Tensor of shape (m, band_size(r, off_diagonals)), optional
        Off-diagonal entries inside the leading r x r block.

    Returns
    -------
    Tensor of shape (m, n, o)

    References
    ----------
    .. [1] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [2] SVFT (the band), https://arxiv.org/abs/2405.19597
    """
    h = F.linear(x, Vh)
    # Under autocast h is of half precision: keep it so, or every product is promoted and cast back.
    scaled = h * s[:, None, :].to(h.dtype)
    if band is not None and band.shape[1] and r is not None:
        extra = apply_band(h, band.to(h.dtype), r, off_diagonals)
        scaled = scaled + F.pad(extra, (0, scaled.shape[-1] - r))
    return _add_bias(F.linear(scaled, U), bias)


def _add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return y
    return y + (bias[:, None, :] if bias.ndim == 2 else bias).to(y.dtype)

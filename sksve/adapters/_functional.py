"""The member-batched product, as functions. Axes: m members, n rows, i inputs, o outputs, k, r."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["apply_band", "band_size", "correction_linear", "sve_linear"]


def band_size(r: int, off_diagonals: int) -> int:
    """Number of off-diagonal entries within `off_diagonals` of the diagonal of an r x r matrix.

    Examples
    --------
    >>> from sksve.adapters import band_size
    >>> band_size(4, 1), band_size(4, 2)
    (6, 10)
    """
    return sum(2 * (r - d) for d in range(1, min(off_diagonals, r - 1) + 1))


def apply_band(h: Tensor, band: Tensor, r: int, off_diagonals: int) -> Tensor:
    """Multiply rows by the off-diagonal band of each member's core.

    Parameters
    ----------
    h : Tensor of shape (m, n, k)
        Coordinates in the right singular basis; only the first r are used.
    band : Tensor of shape (m, band_size(r, off_diagonals))
        For d = 1, 2, ...: the r - d entries ``core[a, a + d]``, then the r - d entries ``core[a + d, a]``.
    r, off_diagonals : int
        Size of the core and diagonals on each side.

    Returns
    -------
    Tensor of shape (m, n, r)
        ``out[..., a] = sum_b core[a, b] h[..., b]`` over the band, without the diagonal.
    """
    out = torch.zeros_like(h[..., :r])
    start = 0
    for d in range(1, min(off_diagonals, r - 1) + 1):
        upper = band[:, None, start : start + r - d]
        lower = band[:, None, start + r - d : start + 2 * (r - d)]
        start += 2 * (r - d)
        # F.pad keeps this free of in-place writes, which autograd would have to version.
        out = out + F.pad(upper * h[..., d:r], (0, d)) + F.pad(lower * h[..., : r - d], (d, 0))
    return out


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
    scaled = h * s[:, None, :]
    if band is not None and band.shape[1] and r is not None:
        extra = apply_band(h, band, r, off_diagonals)
        scaled = scaled + F.pad(extra, (0, scaled.shape[-1] - r))
    return _add_bias(F.linear(scaled, U), bias)


def correction_linear(
    x: Tensor,
    weight: Tensor,
    U: Tensor,
    change: Tensor,
    Vh: Tensor,
    bias: Tensor | None = None,
    band: Tensor | None = None,
    *,
    off_diagonals: int = 0,
) -> Tensor:
    """Apply ``W + U_r (diag(change_m) + band_m) Vh_r``: the same map, cheaper when r is small.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    weight : Tensor of shape (o, i)
        The pretrained matrix: its remainder beyond rank r is kept, never dropped.
    U : Tensor of shape (o, r)
    change : Tensor of shape (m, r)
        ``S * delta_m``.
    Vh : Tensor of shape (r, i)

    Returns
    -------
    Tensor of shape (m, n, o)

    References
    ----------
    .. [1] SVFit, https://arxiv.org/abs/2409.05926
    """
    h = F.linear(x, Vh)
    scaled = h * change[:, None, :]
    if band is not None and band.shape[1]:
        scaled = scaled + apply_band(h, band, h.shape[-1], off_diagonals)
    return _add_bias(F.linear(x, weight) + F.linear(scaled, U), bias)


def _add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return y
    return y + (bias[:, None, :] if bias.ndim == 2 else bias)

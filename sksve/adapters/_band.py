"""Off-diagonal entries of the members' cores: their order, their dense form, their product with rows."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["apply_band", "band_core", "band_entries", "band_size", "band_units"]

# A core of r values is multiplied as a dense matrix if it has r / DENSE_BELOW diagonals a side or more:
# each diagonal takes passes over the activations, which wait for memory as a product does not. Measured
# by `benchmarks/speed.py band`.
DENSE_BELOW = 128


def band_size(r: int, off_diagonals: int) -> int:
    """Number of off-diagonal entries within `off_diagonals` of the diagonal of an r x r matrix.

    Examples
    --------
    >>> from sksve.adapters import band_size
    >>> band_size(4, 1), band_size(4, 2)
    (6, 10)
    """
    return sum(2 * (r - d) for d in range(1, min(off_diagonals, r - 1) + 1))


def band_units(S: Tensor, r: int, off_diagonals: int) -> Tensor:
    """``sqrt(S_a S_b)`` of each entry within `off_diagonals` of the diagonal, in the band's order."""
    root = S[:r].sqrt()
    pieces = []
    for d in range(1, min(off_diagonals, r - 1) + 1):
        pieces += [root[d:] * root[: r - d]] * 2
    return torch.cat(pieces) if pieces else root[:0]


@lru_cache(maxsize=64)
def _positions(r: int, off_diagonals: int, device: torch.device) -> Tensor:
    """Where each entry stands in the flattened r x r matrix."""
    with torch.inference_mode(False):  # whoever comes first, others may need it for a backward pass
        a = torch.arange(r, device=device)
        found = [a[:0]]
        for d in range(1, min(off_diagonals, r - 1) + 1):
            found += [a[: r - d] * r + a[d:], a[d:] * r + a[: r - d]]
        return torch.cat(found)


def band_core(band: Tensor, r: int, off_diagonals: int) -> Tensor:
    """Write each member's band into a matrix, zero elsewhere.

    Parameters
    ----------
    band : Tensor of shape (m, band_size(r, off_diagonals))
        In the order of :func:`apply_band`.
    r, off_diagonals : int
        Size of the core and diagonals on each side.

    Returns
    -------
    Tensor of shape (m, r, r)

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import band_core
    >>> band_core(torch.tensor([[1., 2., 3., 4.]]), r=3, off_diagonals=1)
    tensor([[[0., 1., 0.],
             [3., 0., 2.],
             [0., 4., 0.]]])
    """
    core = band.new_zeros(len(band), r * r)
    where = _positions(r, off_diagonals, band.device)
    return core.index_copy(1, where, band).reshape(-1, r, r)


def band_entries(core: Tensor, off_diagonals: int) -> Tensor:
    """Read each member's band out of a matrix: the inverse of :func:`band_core`.

    Parameters
    ----------
    core : Tensor of shape (m, r, r)
    off_diagonals : int
        Diagonals on each side.

    Returns
    -------
    Tensor of shape (m, band_size(r, off_diagonals))

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import band_entries
    >>> band_entries(torch.arange(9.).reshape(1, 3, 3), off_diagonals=1)
    tensor([[1., 5., 3., 7.]])
    """
    where = _positions(core.shape[-1], off_diagonals, core.device)
    return core.flatten(1).index_select(1, where)


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
    if r <= DENSE_BELOW * off_diagonals:
        return h[..., :r] @ band_core(band, r, off_diagonals).transpose(1, 2)
    out = torch.zeros_like(h[..., :r])
    start = 0
    for d in range(1, min(off_diagonals, r - 1) + 1):
        upper = band[:, None, start : start + r - d]
        lower = band[:, None, start + r - d : start + 2 * (r - d)]
        start += 2 * (r - d)
        # F.pad keeps this free of in-place writes, which autograd would have to version.
        out = out + F.pad(upper * h[..., d:r], (0, d)) + F.pad(lower * h[..., : r - d], (d, 0))
    return out

"""The leading singular triplets of a large matrix, with a proof that they are the leading ones.

ARPACK finds them on the Gram matrix; what it returns is not believed but checked, and the full
decomposition is at hand for every matrix on which the check fails.
"""

import operator
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, eigsh
from torch import Tensor

from sksve.adapters._basis import near_equal_groups
from sksve.adapters._decompose import as_matrix, decompose, settle_signs

__all__ = ["decompose_top", "leading_basis", "top_pays"]

# Triplets found beyond those asked for; the widest gap among them is where the rest is cut off.
EXTRA = 8
# Steps of subspace iteration that may follow where ARPACK's vectors are not good enough.
STEPS = 4
EPS = float(np.finfo(np.float64).eps)
# Most certified error by default: reached up to about 16,000 rows, with rounding at its worst.
TOLERANCE = 1e-9
# Rotation of a singular vector that a saved basis cannot see (`_basis.TOLERANCE` is ten times it).
ROTATION = 1e-6
# From here on ARPACK and the proof together take 0.2 to 0.6 times as long as the full
# decomposition (benchmarks/speed.py top).
MIN_SIDE, MAX_SHARE = 768, 1 / 16


def top_pays(o: int, i: int, rank: int) -> bool:
    """Whether finding `rank` triplets of an (o, i) matrix is much faster than decomposing it whole.

    Examples
    --------
    >>> from sksve.adapters._decompose_top import top_pays
    >>> [top_pays(*shape, 16) for shape in ((384, 384), (1536, 384), (768, 768), (4096, 4096))]
    [False, False, True, True]
    """
    side = min(o, i)
    return side >= MIN_SIDE and rank + EXTRA <= MAX_SHARE * side


def decompose_top(
    weight: Tensor, rank: int, *, tol: float = TOLERANCE
) -> tuple[Tensor, Tensor, Tensor, float]:
    r"""Leading singular triplets of a large matrix, with a certified error.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
        Any floating dtype, any device; never modified.
    rank : int
        How many triplets are wanted, at least 1; capped at ``min(out_features, in_features)``.
    tol : float, default=1e-9
        Most error. Where it is not reached, the matrix is decomposed as a whole.

    Returns
    -------
    U : Tensor of shape (out_features, r), float64
        Orthonormal columns; r is `rank` or up to 7 more: cut where the gap that follows is widest.
    S : Tensor of shape (r,), float64
        Singular values, largest first.
    Vh : Tensor of shape (r, in_features), float64
        Orthonormal rows. Signs are settled as by :func:`decompose`.
    error : float
        Bound on :math:`\max_i \lvert S_i - \sigma_i(W) \rvert / S_1`.

    Raises
    ------
    ValueError
        If `weight` is not a matrix, is empty or holds NaN or infinity, or `rank` or `tol` is out of
        range.

    Notes
    -----
    With :math:`R = W V - U S` and :math:`T = W^T U - V S`, the matrix
    :math:`W' = U S V^T + (I - U U^T) W (I - V V^T)` differs from W by at most
    :math:`\lVert R \rVert + \lVert T \rVert`, and so do their singular values (Weyl). Those of W' are S
    and those of its second part, all of which are below :math:`\sqrt c < S_r` if
    :math:`c I - W^T W + V S^2 V^T` is positive definite: shown by its Cholesky factorisation, whose
    rounding, like that of the residuals, is accounted for (no probability is involved).
    Start vectors are fixed, so equal matrices give equal results.

    References
    ----------
    .. [1] Lehoucq, Sorensen and Yang (1998), "ARPACK Users' Guide",
       https://doi.org/10.1137/1.9780898719628
    .. [2] Rump (2006), "Verification of positive definiteness",
       https://doi.org/10.1007/s10543-006-0056-1
    .. [3] Halko, Martinsson and Tropp (2011), "Finding structure with randomness",
       https://doi.org/10.1137/090771806 (measured against; slow where values decay slowly)

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import decompose_top
    >>> values = torch.cat([torch.tensor([9.0, 8.0, 7.0]), torch.linspace(1, 0, 97)])
    >>> U, S, Vh, error = decompose_top(torch.diag(values), rank=3)
    >>> [round(s, 9) for s in S[:3].tolist()], error < 1e-10
    ([9.0, 8.0, 7.0], True)
    """
    matrix = as_matrix(weight)
    rank = min(_checked_rank(rank), min(matrix.shape))
    if not tol > 0.0:
        raise ValueError(f"'tol' must be a float > 0. Got {tol!r}.")
    found = _leading(matrix, rank, tol)
    if found is not None:
        return found.U, found.S, found.Vh, found.error
    U, S, Vh = decompose(matrix)
    rest = float(torch.linalg.matrix_norm((U * S) @ Vh - matrix)) + _rounding(matrix, len(S))
    r = rank if rank == len(S) else _widest_gap(S[: rank + EXTRA], rank)
    error = 0.0 if S[0] == 0.0 else rest / float(S[0])
    return U[:, :r].contiguous(), S[:r], Vh[:r].contiguous(), error


def leading_basis(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Leading triplets whose vectors are those of the full decomposition; else that one, whole.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
    rank : int

    Returns
    -------
    U, S, Vh : Tensor
        r >= `rank` triplets. The vectors of the first `rank` (and of all that share the last one's
        value) are fixed to 1e-6, up to signs and rotations among equal values.
    """
    matrix = as_matrix(weight)
    found = _leading(matrix, rank, TOLERANCE)
    # Wedin: a vector turns by at most the residual over the gap to its neighbours. (As measured: the
    # bound on its rounding is for the values' proof; a vector that is off is refused on loading.)
    if found is not None and found.residual <= ROTATION * found.gap:
        return found.U, found.S, found.Vh
    return decompose(matrix)


class _Leading(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor
    error: float
    residual: float
    #: Smallest distance between the groups of equal values that hold the wanted ones, and to the rest.
    gap: float


def _leading(matrix: Tensor, rank: int, tol: float) -> _Leading | None:
    """Certified triplets; None where there is no proof that the error is below `tol`."""
    if rank + EXTRA >= min(matrix.shape) // 2:  # little to leave out
        return None
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = tall.T @ tall
    V = _lanczos(gram, rank + EXTRA) if bool(torch.isfinite(gram).all()) else None
    if V is None:
        return None
    for _ in range(STEPS):
        U, S, V = _ritz(tall, V)
        r = _widest_gap(S, rank)
        error, residual = _value_error(tall, U[:, :r], S[:r], V[:, :r])
        if error <= tol:
            break
        V = torch.linalg.qr(tall.T @ U)[0]
    else:
        return None
    if not _none_missed(tall, gram, S, V, r):
        return None
    bounds = [stop for start, stop in near_equal_groups(S) if start < rank]
    gap = min([float(S[b - 1] - S[b]) for b in bounds if b < len(S)], default=0.0)
    gap = 0.0 if bounds[-1] > r else gap
    U, V = U[:, :r], V[:, :r]
    U, V = (U, V) if tall is matrix else (V, U)
    U, Vh = settle_signs(U, V.T)
    return _Leading(U, S[:r].clone(), Vh, error, residual, gap)


def _lanczos(gram: Tensor, p: int) -> Tensor | None:
    n = gram.shape[0]
    start = np.random.default_rng(n).standard_normal(n)
    try:
        _, V = eigsh(gram.numpy(), p, v0=start, tol=0, ncv=min(n, max(3 * p, 20)))
    except ArpackError:  # not converged, or broken down
        return None
    V = torch.from_numpy(np.ascontiguousarray(V))
    return torch.linalg.qr(V)[0] if bool(torch.isfinite(V).all()) else None


def _ritz(W: Tensor, V: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Best triplets whose right vectors lie in the span of V: then ``W V = U S``."""
    Q, R = torch.linalg.qr(W @ V)
    left, S, right = torch.linalg.svd(R)
    return Q @ left, S, V @ right.T


def _widest_gap(S: Tensor, rank: int) -> int:
    """How many values lie before the widest of the gaps that follow at least `rank` of them."""
    return rank + int((S[rank - 1 : -1] - S[rank:]).argmax())


def _rounding(W: Tensor, r: int) -> float:
    """Bound on the rounding of a product of W with r orthonormal vectors, in spectral norm."""
    return max(W.shape) * EPS / 2.0 * r**0.5 * float(torch.linalg.matrix_norm(W))


def _value_error(W: Tensor, U: Tensor, S: Tensor, V: Tensor) -> tuple[float, float]:
    """Bound on the error of the values, relative to the first; and the residual as measured."""
    norm = torch.linalg.matrix_norm
    eye = torch.eye(len(S), dtype=S.dtype)
    skew = norm(U.T @ U - eye) + norm(V.T @ V - eye)
    rest = float(norm(W @ V - U * S) + norm(W.T @ U - V * S) + 2.0 * S[0] * skew)
    error = rest + 2.0 * _rounding(W, len(S))
    return (error / float(S[0]) if S[0] > 0.0 else float("inf")), rest


def _none_missed(W: Tensor, gram: Tensor, S: Tensor, V: Tensor, r: int) -> bool:
    """Prove that ``|W x| < S[r - 1] |x|`` for every x orthogonal to the first r columns of V."""
    n = gram.shape[0]
    c = float((S[r - 1] + S[r]) / 2.0) ** 2
    # Of the Gram matrix, of V S^2 V^T, and of the factorisation of a matrix whose trace is below n c.
    rounding = 2.0 * max(W.shape) * EPS * float(W.square().sum()) + n * (n + 1) * EPS * c
    if not c + rounding < float(S[r - 1]) ** 2:
        return False
    part = V[:, :r] * S[:r]
    A = torch.addmm(gram, part, part.T, beta=-1.0)
    A.diagonal().add_(c)
    return int(torch.linalg.cholesky_ex(A).info) == 0


def _checked_rank(rank: int) -> int:
    try:
        r = operator.index(rank)
    except TypeError:
        r = 0
    if r < 1 or isinstance(rank, bool):
        raise ValueError(f"'rank' must be an int in the range [1, inf). Got {rank!r}.")
    return r

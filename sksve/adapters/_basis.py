"""Find the basis again that members were trained on: same vectors, same signs, same rotation.

A member's values belong to singular vectors that are not saved: they are computed anew from the same
weights. LAPACK's drivers and versions may give a pair of vectors the opposite sign, and any rotation
of the vectors of (nearly) equal singular values. So that they can be recognised, eight random
projections of every vector of U and of V are saved.
"""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "BasisMismatchError",
    "align_basis",
    "near_equal_groups",
    "project_basis",
    "restore_basis",
    "saved_basis",
]

N_ROWS = 8
TOLERANCE = 1e-5
# Rounding moves a vector by about machine epsilon * S[0] / gap, so a gap of 1e-8 * S[0] still fixes
# it to within 1e-7; below that, two drivers may differ.
NEAR_EQUAL = 1e-8
# 16 projections fix a rotation of so many vectors with room to spare.
MOST_EQUAL = 12


class BasisMismatchError(ValueError):
    """Singular vectors computed anew are not those that were saved."""


def project_basis(U: Tensor, Vh: Tensor, key: str) -> tuple[Tensor, Tensor]:
    r"""Project singular vectors on eight random directions.

    Parameters
    ----------
    U : Tensor of shape (out_features, k)
    Vh : Tensor of shape (k, in_features)
    key : str
        Seed of the directions, whose entries are :math:`\pm 1`.

    Returns
    -------
    PU, PV : Tensor of shape (8, k), float64
        :math:`R_U U` and :math:`R_V V`. Entries are of the order of 1.

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import project_basis
    >>> PU, PV = project_basis(torch.eye(3, 2), torch.eye(2, 4), "key")
    >>> PU.abs().unique(), PV.shape
    (tensor([1.], dtype=torch.float64), torch.Size([8, 2]))
    """
    # From a hash, not a generator: the bits of SHAKE never change, numpy's and torch's streams may.
    left = _signs(f"U|{key}", U.shape[0]) @ U.detach().cpu().double()
    right = _signs(f"V|{key}", Vh.shape[1]) @ Vh.detach().cpu().double().T
    return left, right


def _signs(key: str, n: int) -> Tensor:
    n_bytes = math.ceil(N_ROWS * n / 8)
    bits = np.unpackbits(
        np.frombuffer(hashlib.shake_256(key.encode()).digest(n_bytes), dtype=np.uint8)
    )
    return torch.from_numpy(2.0 * bits[: N_ROWS * n].reshape(N_ROWS, n) - 1.0)


def near_equal_groups(S: Tensor) -> list[tuple[int, int]]:
    """Cut singular values into runs whose neighbours differ by at most ``1e-8 * S[0]``.

    Parameters
    ----------
    S : Tensor of shape (k,)
        Largest first.

    Returns
    -------
    list of (start, stop)

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import near_equal_groups
    >>> near_equal_groups(torch.tensor([3.0, 2.0, 2.0, 1.0]))
    [(0, 1), (1, 3), (3, 4)]
    """
    values = S.detach().cpu().double()
    cuts = (
        torch.nonzero(values[:-1] - values[1:] > NEAR_EQUAL * values[:1]).flatten() + 1
    ).tolist()
    return list(zip([0, *cuts], [*cuts, len(values)]))


def align_basis(
    U: Tensor, S: Tensor, Vh: Tensor, PU: Tensor, PV: Tensor, key: str
) -> tuple[Tensor, Tensor]:
    r"""Turn singular vectors computed anew into those whose projections were saved.

    Signs are aligned pair by pair. Where that does not suffice, the vectors of a group of near-equal
    singular values are rotated by the orthogonal matrix :math:`Q` that minimises
    :math:`\lVert P' Q - P \rVert_F`, with the saved projections :math:`P` and the new ones
    :math:`P'` (Procrustes' problem).

    Parameters
    ----------
    U, S, Vh : Tensor of shapes (out_features, k), (k,), (k, in_features)
        Computed anew.
    PU, PV : Tensor of shape (8, r), r <= k
        What :func:`project_basis` gave of the first r vectors.
    key : str

    Returns
    -------
    U, Vh : Tensor
        The very tensors given where nothing had to be done, else new ones.

    Raises
    ------
    BasisMismatchError
        If a projection still differs by more than 1e-5.

    References
    ----------
    .. [1] Schönemann (1966), "A generalized solution of the orthogonal Procrustes problem",
       https://doi.org/10.1007/BF02289451
    """
    r = PU.shape[1]
    saved = torch.cat([PU, PV]).detach().cpu().double()
    new = torch.cat(project_basis(U[:, :r], Vh[:r], key))
    sign = torch.where((new * saved).sum(dim=0) < 0.0, -1.0, 1.0).double()
    wrong = ~((new * sign - saved).abs().amax(dim=0) <= TOLERANCE)  # NaN is wrong, too
    Q: dict[tuple[int, int], Tensor] = {}
    if bool(wrong.any()):
        for start, stop in near_equal_groups(S):
            if start < r and bool(wrong[start:stop].any()):
                Q[start, stop] = _rotation(new, saved, start, min(stop, r), stop)
    if not Q and bool((sign > 0).all()):
        return U, Vh
    U, Vh = U.clone(), Vh.clone()
    U[:, :r] *= sign.to(U)
    Vh[:r] *= sign.to(Vh)[:, None]
    for (start, stop), rotation in Q.items():
        # The signs of the group are part of the rotation.
        turn = sign[start:stop, None] * rotation
        U[:, start:stop] = (U[:, start:stop].double() @ turn.to(U.device)).to(U)
        Vh[start:stop] = (turn.T.to(Vh.device) @ Vh[start:stop].double()).to(Vh)
    again = torch.cat(project_basis(U[:, :r], Vh[:r], key))
    error = float((again - saved).abs().max())
    if not error <= TOLERANCE:
        raise BasisMismatchError(_mismatch(f"after rotation they are off by {error:.1e}"))
    return U, Vh


def saved_basis(U: Tensor, S: Tensor, Vh: Tensor, rank: int, key: str) -> dict[str, Tensor]:
    """Return what must be saved so that :func:`restore_basis` finds this basis again.

    Parameters
    ----------
    U, S, Vh : Tensor of shapes (out_features, k), (k,), (k, in_features)
    rank : int
        How many leading vectors members are trained on. Vectors that share the last one's singular
        value are saved with it.
    key : str

    Returns
    -------
    dict of str to Tensor
        ``S`` (k,), ``projected_U`` and ``projected_V`` (8, r), r >= rank, in the dtype of `S`.
    """
    r = max((stop for start, stop in near_equal_groups(S) if start < rank), default=0)
    left, right = project_basis(U[:, :r], Vh[:r], key)
    return {"S": S, "projected_U": left.to(S), "projected_V": right.to(S)}


def restore_basis(
    U: Tensor, S: Tensor, Vh: Tensor, saved: Mapping[str, Tensor], rank: int, key: str
) -> tuple[Tensor, Tensor]:
    """Check what :func:`saved_basis` gave against a basis computed anew, and align this one.

    Parameters
    ----------
    U, S, Vh : Tensor
    saved : mapping of str to Tensor
    rank : int
    key : str

    Returns
    -------
    U, Vh : Tensor
        As :func:`align_basis`.

    Raises
    ------
    BasisMismatchError
        If a tensor is missing or of another shape, a singular value differs by more than 1e-5 of the
        largest, or the vectors cannot be aligned.
    """
    shapes = {name: tuple(value.shape) for name, value in saved.items()}
    n, r = ((shapes.get(name) or (0,))[-1] for name in ("S", "projected_U"))
    wanted = {"S": (n,), "projected_U": (N_ROWS, r), "projected_V": (N_ROWS, r)}
    if shapes != wanted or not rank <= r <= n:
        raise BasisMismatchError(
            f"The saved basis must hold S of shape (n,), and projected_U and projected_V of shape "
            f"({N_ROWS}, r) with {rank} <= r <= n. Got {shapes}."
        )
    # Of a large weight, either may hold the leading triplets only.
    both = min(n, S.shape[0])
    error = float((S[:both] - saved["S"][:both].to(S)).abs().max() / S[0].clamp_min(1e-30))
    if not error <= TOLERANCE:
        raise BasisMismatchError(
            _mismatch(f"the singular values are off by {error:.1e} of the largest")
        )
    return align_basis(
        U, S, Vh, saved["projected_U"][:, :both], saved["projected_V"][:, :both], key
    )


def _rotation(new: Tensor, saved: Tensor, start: int, known: int, stop: int) -> Tensor:
    n = stop - start
    if known < stop or n == 1 or n > MOST_EQUAL:
        error = float((new.abs() - saved.abs())[:, start:known].abs().max())
        raise BasisMismatchError(
            _mismatch(
                f"vector {start} of {saved.shape[1]} is off by {error:.1e}"
                if n == 1
                else f"a group of {n} near-equal singular values cannot be told apart"
            )
        )
    A, _, Bh = torch.linalg.svd(new[:, start:stop].T @ saved[:, start:stop])
    return A @ Bh


def _mismatch(detail: str) -> str:
    return (
        f"The singular vectors of a weight matrix differ from those the members were trained on: "
        f"{detail}, and at most {TOLERANCE:g} is allowed. Load the model with the versions of torch "
        "and LAPACK it was saved with, or fit it again here."
    )

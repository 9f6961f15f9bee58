"""Find the basis again that members were trained on: same vectors, same signs, same rotation.

A member's values belong to singular vectors that are not saved: they are recomputed from the same
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

N_ROWS = 8
TOLERANCE = 1e-5
# Rounding moves a vector by about machine epsilon * S[0] / gap, so a gap of 1e-8 * S[0] still fixes
# it to within 1e-7; below that, two drivers may differ.
NEAR_EQUAL = 1e-8
# 16 projections fix a rotation of so many vectors with room to spare.
MOST_EQUAL = 12


class BasisMismatchError(ValueError):
    """Recomputed singular vectors are not those that were saved."""


def near_equal_groups(S: Tensor) -> list[tuple[int, int]]:
    """Cut falling singular values into runs (start, stop) of neighbours at most ``1e-8 * S[0]`` apart."""
    values = S.detach().cpu().double()
    cuts = (
        torch.nonzero(values[:-1] - values[1:] > NEAR_EQUAL * values[:1]).flatten() + 1
    ).tolist()
    return list(zip([0, *cuts], [*cuts, len(values)]))


def saved_basis(U: Tensor, S: Tensor, Vh: Tensor, rank: int, key: str) -> dict[str, Tensor]:
    """Return what must be saved so that :func:`restore_basis` finds the leading `rank` vectors again.

    ``S`` (k,), and ``projected_U`` and ``projected_V`` (8, r) in the dtype of S, with r >= rank: vectors that
    share the last one's singular value are saved with it. `key` is the seed of the projection.
    """
    r = max((stop for start, stop in near_equal_groups(S) if start < rank), default=0)
    left, right = _project(U[:, :r], Vh[:r], key)
    return {"S": S, "projected_U": left.to(S), "projected_V": right.to(S)}


def restore_basis(
    U: Tensor, S: Tensor, Vh: Tensor, saved: Mapping[str, Tensor], rank: int, key: str
) -> tuple[Tensor, Tensor]:
    """Return U and Vh, recomputed, turned into those of which :func:`saved_basis` gave `saved`.

    Raises BasisMismatchError if a tensor is missing or of another shape, a singular value differs by more
    than 1e-5 of the largest, or the vectors cannot be aligned.
    """
    shapes = {name: tuple(value.shape) for name, value in saved.items()}
    n, r = ((shapes.get(name) or (0,))[-1] for name in ("S", "projected_U"))
    wanted = {"S": (n,), "projected_U": (N_ROWS, r), "projected_V": (N_ROWS, r)}
    if shapes != wanted or not rank <= r <= n:
        raise BasisMismatchError(
            f"The saved basis must hold S of shape (n,), and projected_U and projected_V of shape "
            f"({N_ROWS}, r) with {rank} <= r <= n. Got {shapes}."
        )
    n = min(n, len(S))  # how many values are near the last one can be a matter of rounding
    error = float((S[:n] - saved["S"][:n].to(S)).abs().max() / S[0].clamp_min(1e-30))
    if not error <= TOLERANCE:
        raise _mismatch(f"the singular values are off by {error:.1e} of the largest")
    return _aligned(U, S, Vh, saved["projected_U"][:, :n], saved["projected_V"][:, :n], key)


def _project(U: Tensor, Vh: Tensor, key: str) -> tuple[Tensor, Tensor]:
    """Eight random projections (8, k) of the columns of U and of the rows of Vh, in float64."""
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


def _aligned(
    U: Tensor, S: Tensor, Vh: Tensor, PU: Tensor, PV: Tensor, key: str
) -> tuple[Tensor, Tensor]:
    r"""Align signs pair by pair and, where that does not suffice, rotate groups of near-equal values.

    The rotation is the orthogonal matrix :math:`Q` that minimises :math:`\lVert P' Q - P \rVert_F`, with the
    saved projections :math:`P` and the new ones :math:`P'`: Procrustes' problem, solved in Schönemann (1966),
    https://doi.org/10.1007/BF02289451.
    """
    r = PU.shape[1]
    saved = torch.cat([PU, PV]).detach().cpu().double()
    new = torch.cat(_project(U[:, :r], Vh[:r], key))
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
    again = torch.cat(_project(U[:, :r], Vh[:r], key))
    error = float((again - saved).abs().max())
    if not error <= TOLERANCE:
        raise _mismatch(f"after rotation they are off by {error:.1e}")
    return U, Vh


def _rotation(new: Tensor, saved: Tensor, start: int, known: int, stop: int) -> Tensor:
    n = stop - start
    if known < stop or n == 1 or n > MOST_EQUAL:
        error = float((new.abs() - saved.abs())[:, start:known].abs().max())
        raise _mismatch(
            f"vector {start} of {saved.shape[1]} is off by {error:.1e}"
            if n == 1
            else f"a group of {n} near-equal singular values cannot be told apart"
        )
    A, _, Bh = torch.linalg.svd(new[:, start:stop].T @ saved[:, start:stop])
    return A @ Bh


def _mismatch(detail: str) -> BasisMismatchError:
    return BasisMismatchError(
        f"The singular vectors of a weight matrix differ from those the members were trained on: "
        f"{detail}, and at most {TOLERANCE:g} is allowed. Load the model with the versions of torch "
        "and LAPACK it was saved with, or fit it again here."
    )

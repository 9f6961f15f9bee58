"""The basis of a saved layer, found again under other signs and rotations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sksve.adapters import (
    BasisMismatchError,
    SVDLinear,
    align_basis,
    decompose,
    near_equal_groups,
    project_basis,
    restore_basis,
    saved_basis,
)


def orthogonal(n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))[0]


def matrix(S, o, i, seed=0):
    """A matrix with given singular values."""
    k = len(S)
    values = torch.tensor(S, dtype=torch.float64)
    return orthogonal(o, seed)[:, :k] @ torch.diag(values) @ orthogonal(i, seed + 1)[:, :k].T


DISTINCT = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5]
EQUAL = [5.0, 3.0, 3.0, 3.0, 1.0, 1.0]


def turned(U, S, Vh, seed):
    """Another basis of the same matrix: signs flipped, equal values rotated."""
    U, Vh = U.clone(), Vh.clone()
    for start, stop in near_equal_groups(S):
        Q = orthogonal(stop - start, seed + start)
        U[:, start:stop] = U[:, start:stop] @ Q
        Vh[start:stop] = Q.T @ Vh[start:stop]
    return U, Vh


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([DISTINCT, EQUAL]), st.sampled_from([3, 5, 6]))
def test__restore__undoes_signs_and_rotations(seed, S, rank):
    weight = matrix(S, 9, 7)
    U, S, Vh = decompose(weight)
    saved = saved_basis(U, S, Vh, rank, "key")
    other_U, other_Vh = turned(U, S, Vh, seed)
    torch.testing.assert_close(other_U @ torch.diag(S) @ other_Vh, weight)
    got_U, got_Vh = restore_basis(other_U, S, other_Vh, saved, rank, "key")
    r = saved["projected_U"].shape[1]
    assert r >= rank
    torch.testing.assert_close(got_U[:, :r], U[:, :r], rtol=0, atol=1e-12)
    torch.testing.assert_close(got_Vh[:r], Vh[:r], rtol=0, atol=1e-12)
    torch.testing.assert_close(got_U @ torch.diag(S) @ got_Vh, weight)


def test__align__touches_nothing_that_is_right():
    U, S, Vh = decompose(matrix(EQUAL, 9, 7))
    got = align_basis(U, S, Vh, *project_basis(U, Vh, "key"), "key")
    assert got[0] is U
    assert got[1] is Vh


def test__saved__takes_the_last_value_s_equals_along():
    U, S, Vh = decompose(matrix(EQUAL, 9, 7))
    assert [saved_basis(U, S, Vh, r, "k")["projected_U"].shape[1] for r in (0, 1, 2, 4, 5)] == [
        0, 1, 4, 4, 6
    ]  # fmt: skip


def test__a_whole_group_of_many_equal_values__is_right_or_refused():
    weight = orthogonal(20, 3)
    U, S, Vh = decompose(weight)
    saved = saved_basis(U, S, Vh, 20, "key")
    assert restore_basis(U, S, Vh, saved, 20, "key")[0] is U
    with pytest.raises(BasisMismatchError, match="20 near-equal singular values"):
        restore_basis(*swap(U, S, Vh, turned(U, S, Vh, 1)), saved, 20, "key")


def swap(U, S, Vh, other):
    return other[0], S, other[1]


@pytest.mark.parametrize("size", [3e-5, 1e-3, 1.0])
def test__mismatch_above_tolerance__raises(size):
    U, S, Vh = decompose(matrix(DISTINCT, 9, 7))
    for name in ("projected_U", "projected_V"):
        saved = saved_basis(U, S, Vh, 6, "key")
        saved[name] = saved[name].clone()
        saved[name][2, 3] += size
        with pytest.raises(BasisMismatchError, match=r"vector 3 of 6 is off"):
            restore_basis(U, S, Vh, saved, 6, "key")
        saved[name][2, 3] = float("nan")
        with pytest.raises(BasisMismatchError):
            restore_basis(U, S, Vh, saved, 6, "key")


def test__mismatch_below_tolerance__passes():
    U, S, Vh = decompose(matrix(DISTINCT, 9, 7))
    saved = saved_basis(U, S, Vh, 6, "key")
    saved["projected_U"] = saved["projected_U"] + 5e-6
    assert restore_basis(U, S, Vh, saved, 6, "key")[0] is U


def test__a_rotation_among_unequal_values__raises():
    U, S, Vh = decompose(matrix(DISTINCT, 9, 7))
    saved = saved_basis(U, S, Vh, 6, "key")
    Q = torch.eye(7, dtype=torch.float64)
    Q[:2, :2] = orthogonal(2, 1)
    with pytest.raises(BasisMismatchError, match="off by"):
        restore_basis(U @ Q, S, Q.T @ Vh, saved, 6, "key")


def test__other_singular_values__raise():
    U, S, Vh = decompose(matrix(DISTINCT, 9, 7))
    saved = saved_basis(U, S, Vh, 6, "key")
    saved["S"] = S + 1e-3
    with pytest.raises(BasisMismatchError, match="singular values are off by"):
        restore_basis(U, S, Vh, saved, 6, "key")


@pytest.mark.parametrize("name", ["S", "projected_U", "projected_V"])
def test__missing_or_misshapen__raises(name):
    U, S, Vh = decompose(matrix(DISTINCT, 9, 7))
    good = saved_basis(U, S, Vh, 6, "key")
    for bad in ({k: v for k, v in good.items() if k != name}, good | {name: good[name][..., :4]}):
        with pytest.raises(BasisMismatchError, match="must hold S of shape"):
            restore_basis(U, S, Vh, bad, 6, "key")


def test__projection__is_this_one_for_ever():
    PU, PV = project_basis(torch.eye(3), torch.eye(3), "key")
    assert PU.to(int).tolist() == [
        [-1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1],
        [-1, 1, -1], [-1, 1, 1], [1, 1, 1], [1, 1, 1],
    ]  # fmt: skip
    assert not torch.equal(PU, PV)


@pytest.mark.parametrize("core", ["diagonal", "full"])
@pytest.mark.parametrize("rank", [None, 3])
def test__layer__computes_the_same_after_align(core, rank):
    torch.manual_seed(0)
    linear = torch.nn.Linear(7, 9).double()
    linear.weight.data = matrix(EQUAL, 9, 7)
    layer = SVDLinear.from_linear(
        linear, 2, rank=rank, core=core, init_scale=0.5, generator=torch.Generator().manual_seed(0)
    )
    if core == "full":
        torch.nn.init.normal_(layer.values, generator=torch.Generator().manual_seed(1))
    x = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = layer(x)
        saved = {name: value.clone() for name, value in layer.saved_tensors().items()}
        U, Vh = turned(layer.U, layer.S, layer.Vh, 5)
        layer.U.copy_(U)
        layer.Vh.copy_(Vh)
        assert not torch.allclose(layer(x), expected, atol=1e-3)  # it matters
        layer.align(saved)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)

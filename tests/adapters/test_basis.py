"""The basis of a saved layer, found again under other signs and rotations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sksve.adapters import BasisMismatchError, SVDLinear

DISTINCT = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5]
EQUAL = [5.0, 3.0, 3.0, 3.0, 1.0, 1.0]


def orthogonal(n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))[0]


def layer_of(S, rank, o=9, i=7, **more):
    """A layer on a matrix with given singular values."""
    k = len(S)
    linear = torch.nn.Linear(i, o, dtype=torch.float64)
    values = torch.diag(torch.tensor(S, dtype=torch.float64))
    linear.weight.data = orthogonal(o, 0)[:, :k] @ values @ orthogonal(i, 1)[:, :k].T
    return SVDLinear.from_linear(linear, 2, rank=rank, **more)


def saved_by(layer, **changes):
    return {name: value.clone() for name, value in (layer.saved_tensors() | changes).items()}


def turn(layer, seed):
    """Give the layer another basis of the same matrix: signs flipped, equal values rotated."""
    values = layer.S.tolist()
    for value in {round(v, 6) for v in values}:
        own = [k for k, v in enumerate(values) if round(v, 6) == value]
        Q = orthogonal(len(own), seed + own[0])
        layer.U[:, own] = layer.U[:, own] @ Q
        layer.Vh[own] = Q.T @ layer.Vh[own]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([DISTINCT, EQUAL]), st.sampled_from([3, 5, 6]))
def test_align__undoes_signs_and_rotations(seed, S, rank):
    layer = layer_of(S, rank)
    saved, U, Vh = saved_by(layer), layer.U.clone(), layer.Vh.clone()
    product = (U * layer.S) @ Vh
    turn(layer, seed)
    torch.testing.assert_close((layer.U * layer.S) @ layer.Vh, product)
    layer.align(saved)
    r = saved["projected_U"].shape[1]
    assert r >= rank
    torch.testing.assert_close(layer.U[:, :r], U[:, :r], rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.Vh[:r], Vh[:r], rtol=0, atol=1e-12)
    torch.testing.assert_close((layer.U * layer.S) @ layer.Vh, product)


@pytest.mark.parametrize("core", ["diagonal", "full"])
@pytest.mark.parametrize("rank", [None, 3])
def test_align__the_layer_computes_the_same_again(core, rank):
    g = torch.Generator().manual_seed(0)
    layer = layer_of(EQUAL, rank, core=core)
    torch.nn.init.normal_(layer.values, generator=g)
    x = torch.randn(4, 7, dtype=torch.float64, generator=g)
    with torch.no_grad():
        expected, saved = layer(x), saved_by(layer)
        turn(layer, 5)
        assert not torch.allclose(layer(x), expected, atol=1e-3)  # it matters
        layer.align(saved)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)


def test_saved__takes_the_values_that_equal_the_last_one_along():
    found = [saved_by(layer_of(EQUAL, r))["projected_U"].shape[1] for r in (1, 2, 4, 5)]
    assert found == [1, 4, 4, 6]


def test_align__a_whole_group_of_many_equal_values_is_right_or_refused():
    layer = layer_of([1.0] * 20, 20, 20, 20)
    saved, U = saved_by(layer), layer.U.clone()
    layer.align(saved)
    assert torch.equal(layer.U, U)
    turn(layer, 1)
    with pytest.raises(BasisMismatchError, match="20 near-equal singular values"):
        layer.align(saved)


@pytest.mark.parametrize("name", ["projected_U", "projected_V"])
@pytest.mark.parametrize("size", [3e-5, 1e-3, 1.0, float("nan")])
def test_align__a_mismatch_above_the_tolerance_raises_and_changes_nothing(size, name):
    layer = layer_of(DISTINCT, 6)
    saved, before = saved_by(layer), layer.U.clone()
    saved[name][2, 3] += size
    with pytest.raises(BasisMismatchError, match=r"vector 3 of 6 is off"):
        layer.align(saved)
    assert torch.equal(layer.U, before)


def test_align__a_mismatch_below_the_tolerance_passes():
    layer = layer_of(DISTINCT, 6)
    before = layer.U.clone()
    layer.align(saved_by(layer, projected_U=layer.saved_tensors()["projected_U"] + 5e-6))
    assert torch.equal(layer.U, before)


def test_align__a_rotation_among_unequal_values_raises():
    layer = layer_of(DISTINCT, 6)
    saved, Q = saved_by(layer), orthogonal(2, 1)
    layer.U[:, :2], layer.Vh[:2] = layer.U[:, :2] @ Q, Q.T @ layer.Vh[:2]
    with pytest.raises(BasisMismatchError, match="off by"):
        layer.align(saved)


def test_align__other_singular_values_raise():
    layer = layer_of(DISTINCT, 6)
    with pytest.raises(BasisMismatchError, match="singular values are off by"):
        layer.align(saved_by(layer, S=layer.S + 1e-3))


@pytest.mark.parametrize("name", ["S", "projected_U", "projected_V"])
def test_align__a_missing_or_misshapen_tensor_raises(name):
    layer = layer_of(DISTINCT, 6)
    good = saved_by(layer)
    for bad in ({k: v for k, v in good.items() if k != name}, good | {name: good[name][..., :4]}):
        with pytest.raises(BasisMismatchError, match="must hold S of shape"):
            layer.align(bad)


def test_saved__projections_are_these_for_ever():
    eye = torch.eye(3)
    layer = SVDLinear(eye, torch.tensor([3.0, 2.0, 1.0]), eye, None, 1, rank=3)
    layer.weight_hash = "key"
    saved = layer.saved_tensors()
    assert saved["projected_U"].to(int).tolist() == [
        [-1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1],
        [-1, 1, -1], [-1, 1, 1], [1, 1, 1], [1, 1, 1],
    ]  # fmt: skip
    assert not torch.equal(saved["projected_U"], saved["projected_V"])

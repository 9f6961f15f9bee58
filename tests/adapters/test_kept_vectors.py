"""Members' own singular vectors, gathered once for a training: never stale, never copied."""

import copy
import pickle

import pytest
import torch

from sksve.adapters import SVDLinear
from sksve.adapters._directions import KeptVectors, own_vectors


@pytest.fixture
def sources():
    g = torch.Generator().manual_seed(0)
    own = torch.tensor([[0, 2], [1, 3], [0, 3]], dtype=torch.int32)
    return [torch.randn(5, 4, generator=g), torch.randn(4, 7, generator=g), own]


@pytest.fixture
def layer():
    g = [torch.Generator().manual_seed(k) for k in range(2)]
    torch.manual_seed(0)
    linear = torch.nn.Linear(12, 10)
    return SVDLinear.from_linear(
        linear, 2, rank=3, off_diagonals=2, direction_pool=6, band_init_scale=0.5, generator=g
    )


def test_own_vectors__are_the_columns_and_rows_of_each_member(sources):
    U, Vh, own = sources
    left, right = own_vectors(*sources)
    for m in range(3):
        assert torch.equal(left[m], U[:, own[m].long()])
        assert torch.equal(right[m], Vh[own[m].long()])


def test_kept_vectors__gathers_once(sources):
    kept = KeptVectors()
    first, again = kept(*sources, None), kept(*sources, None)
    assert all(a is b for a, b in zip(first, again))
    assert all(torch.equal(a, b) for a, b in zip(first, own_vectors(*sources)))
    kept.forget()
    assert kept(*sources, None)[0] is not first[0]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("how", ["written to", "another"])
def test_kept_vectors__is_never_stale(sources, which, how):
    kept = KeptVectors()
    kept(*sources, None)
    changed = sources[which].flip(0)
    if how == "written to":
        sources[which].copy_(changed)
    else:
        sources[which] = changed
    found = kept(*sources, None)
    assert all(torch.equal(a, b) for a, b in zip(found, own_vectors(*sources)))


def test_kept_vectors__of_some_members_and_without_a_backward_pass_keeps_none(sources):
    kept = KeptVectors()
    some = kept(*sources, torch.tensor([2, 0]))
    assert all(torch.equal(a, b[[2, 0]]) for a, b in zip(some, own_vectors(*sources)))
    with torch.no_grad():
        kept(*sources, None)
    assert kept._last is None


def test_kept_vectors__of_a_block_that_has_stopped_are_those_it_learned_with(sources):
    kept = KeptVectors()
    before = kept(*sources, None)
    with torch.no_grad():
        after = kept(*sources, None)
    assert all(a is b for a, b in zip(after, before))


def test_kept_vectors__of_tensors_that_do_not_count_writes():
    with torch.inference_mode():
        sources = [torch.randn(5, 4), torch.randn(4, 7), torch.tensor([[0, 2]])]
    kept = KeptVectors()
    kept(*sources, None)
    with torch.inference_mode():
        sources[0].mul_(2)
    assert torch.equal(kept(*sources, None)[0], own_vectors(*sources)[0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_layer__copies_start_without(layer, copied):
    fresh = len(pickle.dumps(layer))
    x = torch.randn(4, 12)
    y = layer(x)
    assert layer._kept._last is not None
    assert len(pickle.dumps(layer)) == fresh
    twin = copied(layer)
    assert twin._kept._last is None
    assert torch.equal(twin(x), y)
    assert twin._kept._last[1][0] is not layer._kept._last[1][0]


def test_layer__keeps_them_for_training_steps_of_all_members_only(layer):
    x = torch.randn(4, 12)
    with torch.no_grad():
        without = layer(x)
    assert layer._kept._last is None
    torch.testing.assert_close(layer(x), without)
    assert layer._kept._last is not None
    assert layer.train() is layer
    assert layer._kept._last is not None
    layer.eval()
    assert layer._kept._last is None


def test_layer__follows_its_dtype_and_its_directions(layer):
    x = torch.randn(4, 12)
    layer(x)
    assert layer.double()(x.double()).dtype == torch.float64
    layer.directions.copy_(layer.directions.flip(0))
    with torch.no_grad():
        expected = layer(x.double())
    torch.testing.assert_close(layer(x.double()), expected)

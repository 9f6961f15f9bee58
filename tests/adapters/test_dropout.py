"""FeatureDropout by value: whole features, one mask a row or one for all."""

import pickle

import pytest
import torch
from torch import nn

from sksve.adapters import FeatureDropout, dropout_layers, fixed_masks


def active(rate=0.25, seed=0):
    layer = FeatureDropout(rate, seed)
    layer.active = True
    return layer


def test_training__each_row_has_a_mask_for_all_its_tokens():
    out = active()(torch.ones(50, 7, 40, dtype=torch.float64))
    assert set(out.unique().tolist()) == {0.0, 1.0 / 0.75}
    assert torch.equal(out, out[:, :1].expand_as(out))
    masks = {tuple(row[0].tolist()) for row in out}
    assert len(masks) == 50
    assert abs(float(out.mean()) - 1.0) < 0.05  # 2,000 draws: four standard deviations


def test_training__draws_anew_at_each_call_and_repeats_by_seed():
    x = torch.ones(2, 30)
    one, two = active(seed=3), active(seed=3)
    first, second = one(x), one(x)
    assert not torch.equal(first, second)
    assert torch.equal(two(x), first)
    assert torch.equal(two(x), second)
    assert not torch.equal(active(seed=4)(x), first)


def test_fixed__all_rows_share_the_mask_whatever_their_number():
    layer = FeatureDropout(0.5, seed=0)
    x = torch.randn(6, 3, 20, dtype=torch.float64)
    with fixed_masks(layer, [11]):
        whole = layer(x)
        assert torch.equal(layer(x[4:5, :2]), whole[4:5, :2])
        assert torch.equal(layer(x.float()).double() != 0, whole != 0)  # in every precision
    g = torch.Generator().manual_seed(11)
    mask = (torch.rand(20, generator=g, dtype=torch.float64) >= 0.5).double() / 0.5
    torch.testing.assert_close(whole, x * mask, rtol=0, atol=1e-15)
    assert torch.equal(layer(x), x)


def test_fixed__each_layer_has_its_own_seed():
    model = nn.Sequential(FeatureDropout(0.5, 0), nn.Sequential(FeatureDropout(0.5, 1)))
    assert len(dropout_layers(model)) == 2
    with fixed_masks(model, [5, 6]):
        assert [layer.fixed for layer in dropout_layers(model)] == [5, 6]
    assert [layer.fixed for layer in dropout_layers(model)] == [None, None]
    with pytest.raises(ValueError, match="shorter"), fixed_masks(model, [5]):
        pass
    assert [layer.fixed for layer in dropout_layers(model)] == [None, None]


def test_otherwise__nothing_happens():
    x = torch.randn(2, 3, 4)
    assert torch.equal(FeatureDropout(0.5, 0).train()(x), x)  # train() alone wakes nothing
    scores = torch.randn(2, 2, 3, 3)
    assert torch.equal(active()(scores), scores)
    assert torch.equal(active(rate=0.0)(x), x)


def test_pickle__works_after_masks_were_drawn():
    layer = active(seed=9)
    x = torch.ones(1, 50)
    first = layer(x)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), first)  # starts over

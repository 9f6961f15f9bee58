"""LoRALinear and BatchEnsembleLinear against dense members, by value; what all layers with members share."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from sksve.adapters import (
    BatchEnsembleLinear,
    LoRALinear,
    SVDLinear,
    member_layers,
    merged_member,
    use_members,
)
from tests.adapters.layers import SHAPES, generators, make_linear, shake

RIVALS = {"lora": LoRALinear, "batch_ensemble": BatchEnsembleLinear}
KINDS = {"svd": SVDLinear, **RIVALS}
# Settings under which a layer starts away from its pretrained weight, where it can.
NOISY = {
    "svd": {"init_scale": 0.3},
    "lora": {"rank": 2, "init_gain": 3.0},
    "batch_ensemble": {"init_scale": 0.3},
}


def reference(linear, layer, m, x):
    """Slow and obvious: the dense matrix, entry by entry."""
    W = linear.weight.detach()
    dense = torch.empty_like(W)
    for o in range(W.shape[0]):
        for i in range(W.shape[1]):
            if isinstance(layer, LoRALinear):
                low = sum(layer.B[m, o, a] * layer.A[m, a, i] for a in range(layer.rank))
                dense[o, i] = W[o, i] + low
            else:
                r, s = 1.0 + layer.output_delta[m, o], 1.0 + layer.input_delta[m, i]
                dense[o, i] = r * W[o, i] * s
    y = x @ dense.detach().T
    if linear.bias is not None:
        y = y + linear.bias.detach()
        if getattr(layer, "bias_delta", None) is not None:
            y = y + layer.bias_delta[m].detach()
    return y


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("kind", RIVALS)
def test_forward__equals_dense_members(kind, shape, bias):
    linear = make_linear(*shape, bias=bias)
    layer = shake(KINDS[kind].from_linear(linear, 3))
    x = torch.randn(3 * 2, 5, shape[1], dtype=torch.float64)
    got = layer(x).reshape(3, 2, 5, -1)
    for m, rows in enumerate(x.reshape(3, 2, 5, -1)):
        expected = reference(linear, layer, m, rows)
        torch.testing.assert_close(got[m], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(layer.merge(m)(rows), expected, rtol=0, atol=1e-10)
        with merged_member(layer, m):
            torch.testing.assert_close(layer(rows), expected, rtol=0, atol=1e-10)
    with use_members(layer, [2, 0]):
        chosen = layer(torch.cat([x[4:], x[:2]])).reshape(2, 2, 5, -1)
    torch.testing.assert_close(chosen, got[[2, 0]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", RIVALS)
def test_from_linear__every_member_starts_as_the_linear(kind):
    linear = make_linear(5, 6)
    settings = {"rank": 3, "init_gain": 10.0} if kind == "lora" else {"init_scale": 0.0}
    layer = KINDS[kind].from_linear(linear, 4, **settings)
    x = torch.randn(3, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x.repeat(4, 1)), linear(x).repeat(4, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.pretrained_weight(), linear.weight.data, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_from_linear__member_k_does_not_depend_on_the_others(kind):
    linear = make_linear(5, 6)

    def parameters(members):
        own = [generators(9)[k] for k in members]
        layer = KINDS[kind].from_linear(linear, len(members), generator=own, **NOISY[kind])
        return list(layer.parameters())

    for alone, among in zip(parameters([2]), parameters([0, 1, 2])):
        assert torch.equal(alone[0], among[2])
        assert torch.equal(among[0], among[2]) == (not among.any())


def test_lora__start_is_xavier_uniform():
    layer = LoRALinear.from_linear(
        nn.Linear(300, 20), 2, rank=10, init_gain=5.0, generator=torch.Generator().manual_seed(0)
    )
    bound = 5.0 * (6.0 / 310) ** 0.5
    assert layer.A.abs().max() <= bound
    assert layer.A.abs().max() > 0.99 * bound
    assert abs(float(layer.A.detach().std()) - bound / 3**0.5) < 0.02 * bound
    assert not layer.B.any()


def test_batch_ensemble__start_has_the_scale_asked_for():
    layer = BatchEnsembleLinear.from_linear(
        nn.Linear(3000, 2000), 1, init_scale=0.2, generator=torch.Generator().manual_seed(0)
    )
    for p in layer.parameters():
        assert abs(float(p.detach().std()) - 0.2) < 0.01
        assert abs(float(p.detach().mean())) < 0.01


def test_batch_ensemble__biases_may_be_frozen():
    layer = BatchEnsembleLinear.from_linear(make_linear(4, 3), 2, train_bias=False)
    assert {n for n, _ in layer.named_parameters()} == {"input_delta", "output_delta"}


def test_lora__rank_is_capped():
    assert LoRALinear.from_linear(make_linear(4, 9), 2, rank=100).rank == 4


@pytest.mark.parametrize("kind", RIVALS)
def test_gradients__are_those_of_the_dense_layer(kind):
    layer = shake(KINDS[kind].from_linear(make_linear(3, 4), 2))
    names, values = zip(*layer.named_parameters())
    x = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)

    def run(rows, *values):
        return torch.func.functional_call(layer, dict(zip(names, values)), (rows,))

    assert torch.autograd.gradcheck(run, (x, *[v.detach().requires_grad_() for v in values]))


@pytest.mark.parametrize("kind", KINDS)
def test_conv1d__is_the_transposed_linear(kind):
    conv = Conv1D(6, 4).double()  # 4 inputs, 6 outputs
    with torch.no_grad():
        conv.bias.normal_()
    layer = KINDS[kind].from_linear(conv, 2)
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x.repeat(2, 1)), conv(x).repeat(2, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.merge(1)(x), conv(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", RIVALS)
def test_copies__act_alike(kind):
    layer = shake(KINDS[kind].from_linear(make_linear(4, 5), 2))
    x = torch.randn(4, 5, dtype=torch.float64)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_memory__neither_the_linear_s_nor_a_merged_one_s_is_shared(kind):
    linear = make_linear(4, 5)
    layer = KINDS[kind].from_linear(linear, 1)
    merged = layer.merge(0)
    weight, bias = merged.weight.clone(), merged.bias.clone()
    with torch.no_grad():
        for p in (*linear.parameters(), *merged.parameters()):
            p.zero_()
    assert torch.equal(layer.merge(0).weight, weight)
    assert torch.equal(layer.merge(0).bias, bias)


@pytest.mark.parametrize("kind", KINDS)
def test_faults__are_named(kind):
    make = KINDS[kind].from_linear
    with pytest.raises(TypeError, match=f"{KINDS[kind].__name__}.from_linear takes a torch"):
        make(nn.Identity(), 2)
    with pytest.raises(ValueError, match="'n_members' must be"):
        make(make_linear(2, 2), 0)
    with pytest.raises(ValueError, match=r"one torch\.Generator or 2, one per member"):
        make(make_linear(2, 2), 2, generator=[torch.Generator()] * 3, **NOISY[kind])
    layer = make(make_linear(2, 2), 2)
    with pytest.raises(ValueError, match="3 rows, which 2 members cannot share"):
        layer(torch.zeros(3, 2, dtype=torch.float64))
    for call in (layer.merge, layer.dense, getattr(layer, "entries", layer.merge)):
        with pytest.raises(ValueError, match=r"'member' must be an int in the range \[0, 2\)"):
            call(2)


@pytest.mark.parametrize("kind", [SVDLinear, BatchEnsembleLinear])
@pytest.mark.parametrize(
    "value", [None, 1, "yes", torch.arange(3)], ids=["None", "int", "str", "array"]
)
def test_faults__train_bias_is_a_bool(kind, value):
    with pytest.raises(ValueError, match="'train_bias' must be True or False"):
        kind.from_linear(make_linear(4, 3), 2, train_bias=value)


def test_faults__of_each_kind():
    with pytest.raises(ValueError, match="'rank' must be an int"):
        LoRALinear.from_linear(make_linear(2, 2), 1, rank=0)
    with pytest.raises(ValueError, match="'init_gain' must be a float > 0"):
        LoRALinear.from_linear(make_linear(2, 2), 1, init_gain=0.0)
    with pytest.raises(ValueError, match="'init_scale' must be a float >= 0"):
        BatchEnsembleLinear.from_linear(make_linear(2, 2), 1, init_scale=-1.0)


def test_multiply_adds__count_the_products():
    linear = nn.Linear(10, 6)  # W x takes 60
    assert LoRALinear.from_linear(linear, 1, rank=2).multiply_adds(7) == (7 * 92, 120 + 420)
    assert BatchEnsembleLinear.from_linear(linear, 1).multiply_adds(7) == (7 * 76, 120 + 420)
    assert SVDLinear.from_linear(linear, 1).multiply_adds(7) == (7 * 96, 360 + 420)
    # A small rank: W x and a correction by 2 (10 + 6).
    assert SVDLinear.from_linear(linear, 1, rank=2).multiply_adds(7) == (7 * 92, 120 + 420)


def test_member_layers__are_found_in_order():
    layers = [kind.from_linear(make_linear(3, 3), 2) for kind in KINDS.values()]
    model = nn.Sequential(layers[0], nn.Sequential(nn.Linear(3, 3), layers[1]), layers[2])
    assert member_layers(model) == layers

"""Products that are known before anything learns: the same states and gradients without the matrices."""

import pytest
import torch

from sksve.adapters import LoRALinear, SVDLinear, merged_member, use_members
from sksve.backbones import (
    TINY_VISION_FAMILIES,
    SplitBackbone,
    load_backbone,
    make_tiny_backbone,
    plan_adaptation,
    resolve_backbone,
    swap_modules,
)
from tests.backbones.conftest import FAMILIES
from tests.backbones.test_split import encode

# DeBERTa sends its table of positions through the same queries and keys: they are asked twice.
NO_READERS = ("deberta-v2",)
KINDS = [*FAMILIES, *TINY_VISION_FAMILIES]
M = 2


def inputs_of(kind, backbone):
    if kind in TINY_VISION_FAMILIES:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(3, 3, 28, 28, generator=generator, dtype=torch.float64), None
    return encode(backbone)


def cores(linear, generators):
    return SVDLinear.from_linear(
        linear, M, rank=4, off_diagonals=3, direction_pool=8, init_scale=0.3, generator=generators
    )


def leading_cores(linear, generators):
    more = {"rank": 2, "off_diagonals": 1, "init_scale": 0.3, "train_bias": False}
    return SVDLinear.from_linear(linear, M, generator=generators, **more)


def values(linear, generators):
    return SVDLinear.from_linear(linear, M, init_scale=0.3, generator=generators)


def lora(linear, generators):
    layer = LoRALinear.from_linear(linear, M, rank=2, generator=generators)
    torch.nn.init.normal_(layer.B, std=0.3, generator=generators[0])
    return layer


LAYERS = {"cores": cores, "leading_cores": leading_cores, "values": values, "lora": lora}


def case(kind, adapt_blocks, layer):
    """Adapted backbone, its layers, and what enters: without and with products."""
    pair = make_tiny_backbone(kind, n_blocks=3)
    backbone = load_backbone(resolve_backbone(pair), dtype=torch.float64)
    plan = plan_adaptation(backbone.model, adapt_blocks=adapt_blocks)
    inputs = inputs_of(kind, backbone)
    before = SplitBackbone(backbone, plan)
    narrow, wide = (before.prefix(*inputs, products=products) for products in (False, True))
    readers = {f"{plan.blocks}.{plan.first_block}.{name}" for name in before.readers}
    pretrained = {name: backbone.model.get_submodule(name) for name in readers}
    generators = [torch.Generator().manual_seed(k) for k in range(M)]
    layers = {
        name: LAYERS[layer](backbone.model.get_submodule(name), generators) for name in plan.targets
    }
    swap_modules(backbone.model, layers)
    return SplitBackbone(backbone, plan), layers, inputs, narrow, wide, pretrained


def stacked(hidden, inputs, m=M):
    return [None if t is None else t.repeat(m, *[1] * (t.ndim - 1)) for t in (hidden, *inputs)]


@pytest.mark.parametrize("kind", KINDS)
def test_prefix__products_are_what_the_pretrained_projections_give(kind):
    split, _, _, narrow, wide, pretrained = case(kind, 2, "cores")
    d = narrow.shape[-1]
    assert bool(split.readers) == (kind not in NO_READERS)
    assert split.products_width == wide.shape[-1] - d
    assert torch.equal(wide[..., :d], narrow)
    if kind in (
        "bert",
        "distilbert",
        "mpnet",
        "roberta",
        "electra",
    ):  # they read the states themselves
        outs = [pretrained[f"{split.blocks}.1.{name}"](narrow) for name in split.readers]
        torch.testing.assert_close(wide[..., d:], torch.cat(outs, -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("adapt_blocks", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_suffix__with_products_gives_the_same_states_and_gradients(kind, adapt_blocks, layer):
    split, layers, inputs, narrow, wide, _ = case(kind, adapt_blocks, layer)
    found = []
    for hidden in (narrow, wide):
        for one in layers.values():
            one.zero_grad()
        given = hidden.clone()
        vectors = split.vectors(*stacked(given, inputs))
        assert torch.equal(given, hidden)
        vectors.square().sum().backward()
        found.append([vectors, *(p.grad for one in layers.values() for p in one.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-11)
    assert any(grad is not None and grad.abs().max() > 0 for grad in found[0][1:])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["bert", "gpt2", "dinov2"])
def test_suffix__products_of_chosen_still_and_merged_members(kind, layer):
    split, _, inputs, narrow, wide, _ = case(kind, 2, layer)
    rows = {"rtol": 1e-10, "atol": 1e-12}
    both = split.vectors(*stacked(narrow, inputs)).unflatten(0, (M, -1))
    still = split.vectors(*stacked(wide, inputs), still=1).unflatten(0, (M, -1))
    torch.testing.assert_close(still, both, **rows)
    for k in range(M):
        with use_members(split, [k]):
            torch.testing.assert_close(split.vectors(wide, *inputs), both[k], **rows)
        with merged_member(split, k):
            torch.testing.assert_close(split.vectors(wide, *inputs), both[k], **rows)


@pytest.mark.parametrize("layer", ["cores", "leading_cores", "lora"])
def test_suffix__with_products_does_not_touch_the_pretrained_matrices(layer):
    split, layers, inputs, narrow, wide, pretrained = case("bert", 1, layer)
    expected = split.vectors(*stacked(narrow, inputs))
    for name in pretrained:
        layers[name].weight.fill_(torch.nan)
    torch.testing.assert_close(split.vectors(*stacked(wide, inputs)), expected)


def test_readers__are_adapted_projections_of_the_first_adapted_block_only():
    model = make_tiny_backbone("bert", n_blocks=3)
    backbone = load_backbone(resolve_backbone(model))
    names = {
        (2, "attention"): ("query", "key", "value"), (1, "attention"): ("query", "key", "value"),
        (1, "mlp"): (), (0, "attention"): (), (2, "value"): ("value",),
    }  # fmt: skip
    for (adapt_blocks, which), expected in names.items():
        target_modules = [which] if which == "value" else which
        plan = plan_adaptation(
            backbone.model, adapt_blocks=adapt_blocks, target_modules=target_modules
        )
        readers = SplitBackbone(backbone, plan).readers
        assert readers == tuple(f"attention.self.{name}" for name in expected)

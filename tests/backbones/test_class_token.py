"""The last block for its class token alone: the same vectors and gradients, from less work."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sksve.adapters import SVDLinear
from sksve.backbones import (
    MemberCopies,
    SplitBackbone,
    load_backbone,
    make_tiny_backbone,
    plan_adaptation,
    resolve_backbone,
    swap_modules,
)
from tests.backbones.test_vision import KINDS, model_of

CASES = [(kind, blocks) for kind in KINDS for blocks in (1, 2, 3)]


def backbone_of(kind):
    processor = make_tiny_backbone("dinov2", n_blocks=1)[1]
    return load_backbone(resolve_backbone((model_of(kind), processor)), dtype=torch.float64)


def adapted(kind, adapt_blocks, n_members=2, pooling="cls"):
    backbone = backbone_of(kind)
    plan = plan_adaptation(backbone.model, adapt_blocks=adapt_blocks)
    generators = [torch.Generator().manual_seed(k) for k in range(n_members)]
    layers = {
        name: SVDLinear.from_linear(
            backbone.model.get_submodule(name), n_members, init_scale=0.3, generator=generators
        )
        for name in plan.targets
    }
    swap_modules(backbone.model, layers)
    return SplitBackbone(replace(backbone, pooling=pooling), plan), layers


def pixels(n_rows=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_rows, 3, 28, 28, generator=generator, dtype=torch.float64)


def outcome(layers, vectors):
    """Vectors, and the gradient of each parameter of the layers."""
    for layer in layers.values():
        layer.zero_grad()
    vectors.square().sum().backward()
    return vectors.detach(), [p.grad for layer in layers.values() for p in layer.parameters()]


@pytest.mark.parametrize("still", [0, 1])
@pytest.mark.parametrize(("kind", "adapt_blocks"), CASES)
def test_vectors__are_those_of_all_tokens_and_so_are_the_gradients(kind, adapt_blocks, still):
    split, layers = adapted(kind, adapt_blocks)
    given = pixels()
    hidden = split.prefix(given[:2], None).repeat(2, 1, 1) if split.first_block else None
    if still == adapt_blocks:
        still = 0
    all_tokens = split.pool(split.suffix(hidden, given, None, still), None)
    expected = outcome(layers, all_tokens)
    got = outcome(layers, split.vectors(hidden, given, None, still))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_vectors__of_other_poolings_take_all_tokens(pooling):
    split, _ = adapted("dinov2", 2, pooling=pooling)
    hidden, given = split.prefix(pixels(), None), pixels()
    expected = split.pool(split.suffix(hidden, given, None), None)
    assert torch.equal(split.vectors(hidden, given, None), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors__spare_three_quarters_of_the_last_block(kind):
    split, _ = adapted(kind, 1, n_members=1)
    hidden = split.prefix(pixels(), None)
    counts = {}
    for name in ("suffix", "vectors"):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            getattr(split, name)(hidden, pixels(), None)
        counts[name] = counter.get_total_flops()
    assert counts["vectors"] < 0.55 * counts["suffix"]  # queries, keys, values and attention stay


def test_vectors__leave_the_model_as_it_was():
    split, _ = adapted("vit", 2)
    before = {name: (module, dict(module._modules)) for name, module in split.named_modules()}
    split.vectors(split.prefix(pixels(), None), pixels(), None)
    after = {name: (module, dict(module._modules)) for name, module in split.named_modules()}
    assert before == after


def test_vectors__of_an_attention_with_older_names():
    """Early versions of transformers give a tensor and call the output projection `output`."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.output = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, hidden_states):
            return self.output(hidden_states + self.mix(hidden_states).mean(1, keepdim=True))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attention, self.mlp = nn.LayerNorm(6), Attention(), nn.Linear(6, 6)

        def forward(self, hidden_states):
            hidden_states = self.attention(self.norm1(hidden_states)) + hidden_states
            return self.mlp(hidden_states) + hidden_states

    from sksve.backbones._class_token import ClassTokenBlock

    torch.manual_seed(0)
    block, hidden = Block(), torch.randn(3, 5, 6)
    got = ClassTokenBlock(block, "dinov2")(hidden)
    torch.testing.assert_close(got, block(hidden)[:, :1])


def test_vectors__of_whole_copies():
    backbone = backbone_of("dinov2")
    copies = MemberCopies(SplitBackbone(backbone, plan_adaptation(backbone.model)), 2)
    with torch.no_grad():
        for parameter in copies.copies.values():
            parameter[1] *= 1.1
    expected = copies.pool(copies.suffix(None, pixels(), None), None)
    expected.square().sum().backward()
    grads = {name: p.grad.clone() for name, p in copies.copies.items() if p.grad is not None}
    copies.zero_grad()
    got = copies.vectors(None, pixels(), None)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    got.square().sum().backward()
    for name, grad in grads.items():
        torch.testing.assert_close(copies.copies[name].grad, grad, rtol=1e-8, atol=1e-10)

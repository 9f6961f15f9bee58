"""Backbones with sksve's own adapted layers: every route to a member gives the same numbers."""

import pytest
import torch

from sksve.adapters import SVDLinear, merged_member, use_members
from sksve.backbones import SplitBackbone, plan_adaptation, swap_modules

TEXTS = ["the good film", "a", "x0: -0.86; a long, long story!"]
N_MEMBERS = 3


@pytest.fixture
def batch_of():
    def encode(backbone):
        batch = backbone.processor(TEXTS, padding=True, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"]

    return encode


def adapt(backbone, init_scale, adapt_blocks=2):
    plan = plan_adaptation(backbone.model, adapt_blocks=adapt_blocks)
    generators = [torch.Generator().manual_seed(k) for k in range(N_MEMBERS)]
    swap_modules(
        backbone.model,
        {
            name: SVDLinear.from_linear(
                backbone.model.get_submodule(name),
                N_MEMBERS,
                init_scale=init_scale,
                generator=generators,
            )
            for name in plan.targets
        },
    )
    return SplitBackbone(backbone, plan)


def stacked(ids, mask, n_members):
    return ids.repeat(n_members, 1), mask.repeat(n_members, 1)


@pytest.mark.parametrize("adapt_blocks", [1, 3])
def test_zero_noise__every_member_is_the_original(family, adapt_blocks, backbone_of, batch_of):
    backbone = backbone_of(family, dtype=torch.float64)
    ids, mask = batch_of(backbone)
    with torch.no_grad():
        expected = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
        split = adapt(backbone, 0.0, adapt_blocks)
        ids_m, mask_m = stacked(ids, mask, N_MEMBERS)
        hidden = split.prefix(ids, mask).repeat(N_MEMBERS, 1, 1) if adapt_blocks < 3 else None
        got = split.suffix(hidden, ids_m, mask_m).unflatten(0, (N_MEMBERS, -1))
    real = mask.bool()
    for member in range(N_MEMBERS):
        torch.testing.assert_close(got[member][real], expected[real], rtol=0, atol=1e-9)


def test_noise__joint_chosen_and_merged_members_agree(family, backbone_of, batch_of):
    backbone = backbone_of(family, dtype=torch.float64)
    ids, mask = batch_of(backbone)
    real = mask.bool()
    with torch.no_grad():
        split = adapt(backbone, 0.3)
        hidden = split.prefix(ids, mask)
        joint = split.suffix(hidden.repeat(3, 1, 1), *stacked(ids, mask, 3))
        joint = joint.unflatten(0, (3, -1))
        assert (joint[0] - joint[1])[real].abs().max() > 0.01
        with use_members(split, [2, 0]):
            chosen = split.suffix(hidden.repeat(2, 1, 1), *stacked(ids, mask, 2))
        chosen = chosen.unflatten(0, (2, -1))
        for place, member in enumerate([2, 0]):
            torch.testing.assert_close(chosen[place][real], joint[member][real], rtol=0, atol=1e-9)
        for member in range(3):
            with merged_member(split, member):
                alone = split.suffix(hidden, ids, mask)
            torch.testing.assert_close(alone[real], joint[member][real], rtol=0, atol=1e-9)


def test_adapters__are_all_that_learns(family, backbone_of):
    split = adapt(backbone_of(family), 0.1)
    learning = {name for name, p in split.named_parameters() if p.requires_grad}
    layers = {n: m for n, m in split.named_modules() if isinstance(m, SVDLinear)}
    assert learning == {
        f"{name}.{p}" for name in layers for p, _ in layers[name].named_parameters()
    }


def test_gradients__reach_every_adapted_layer(family, backbone_of, batch_of):
    backbone = backbone_of(family)
    ids, mask = batch_of(backbone)
    split = adapt(backbone, 0.1)
    hidden = split.prefix(ids, mask).repeat(N_MEMBERS, 1, 1)
    ids_m, mask_m = stacked(ids, mask, N_MEMBERS)
    split.pool(split.suffix(hidden, ids_m, mask_m), mask_m)[:, 0].sum().backward()
    layers = [m for m in split.modules() if isinstance(m, SVDLinear)]
    assert len(layers) == len(plan_adaptation(backbone_of(family).model, adapt_blocks=2).targets)
    for layer in layers:
        assert (layer.values.grad.abs().amax(dim=1) > 0).all(), "each member's own"

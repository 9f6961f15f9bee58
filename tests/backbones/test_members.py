"""Backbones with sksve's own adapted layers: every route to a member gives the same numbers."""

import copy

import pytest
import torch

from sksve.adapters import SVDLinear, merged_member, use_members
from sksve.backbones import (
    SplitBackbone,
    load_backbone,
    plan_adaptation,
    prove,
    resolve_backbone,
    swap_modules,
)

TEXTS = ["the good film", "a", "x0: -0.86; a long, long story!"]
N_MEMBERS = 3


def batch_of(backbone):
    batch = backbone.processor(TEXTS, padding=True, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def adapt(backbone, init_scale, adapt_blocks=2):
    plan = prove(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
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
def test_zero_noise__every_member_is_the_original(family, adapt_blocks, backbone_of):
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


def check_routes(backbone):
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


def test_noise__joint_chosen_and_merged_members_agree(family, backbone_of):
    check_routes(backbone_of(family, dtype=torch.float64))


@pytest.mark.parametrize("kinds", [["p2c"], ["c2p"], ["p2c", "c2p"]], ids="+".join)
def test_noise__deberta_with_projections_of_its_own_for_positions(kinds, pair_of):
    model, tokenizer = pair_of("deberta-v2")
    config = copy.deepcopy(model.config)
    config.share_att_key, config.pos_att_type = False, kinds
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        other = type(model)(config).eval()
    check_routes(load_backbone(resolve_backbone((other, tokenizer)), dtype=torch.float64))


def layers_of(split):
    return {name: m for name, m in split.model.named_modules() if isinstance(m, SVDLinear)}


def test_gradients__reach_every_member_of_every_adapted_layer_and_nothing_else(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = batch_of(backbone)
    split = adapt(backbone, 0.1).train()
    layers = layers_of(split)
    learning = {f"model.{n}.{p}" for n, layer in layers.items() for p in ("values", "bias_delta")}
    assert {n for n, p in split.named_parameters() if p.requires_grad} <= learning
    hidden = split.prefix(ids, mask)
    assert not hidden.requires_grad
    hidden = split.suffix(hidden.repeat(N_MEMBERS, 1, 1), *stacked(ids, mask, N_MEMBERS))
    split.pool(hidden, mask.repeat(N_MEMBERS, 1))[:, 0].sum().backward()
    assert len(layers) == len(plan_adaptation(backbone_of(family).model, adapt_blocks=2).targets)
    for layer in layers.values():
        assert (layer.values.grad.abs().amax(dim=1) > 0).all(), "each member's own"


@pytest.mark.parametrize("adapt_blocks", [3, 2])
def test_n_frozen__same_states_and_gradients_but_none_in_frozen_blocks(
    family, backbone_of, adapt_blocks
):
    backbone = backbone_of(family, dtype=torch.float64)
    ids, mask = stacked(*batch_of(backbone), N_MEMBERS)
    split = adapt(backbone, 0.3, adapt_blocks)
    hidden = split.prefix(ids, mask) if split.first_block else None
    found = {}
    for n_frozen in (0, 1):
        split.zero_grad()
        states = split.suffix(hidden, ids, mask, n_frozen)
        split.pool(states, mask)[:, 0].sum().backward()
        found[n_frozen] = states, {n: layer.values.grad for n, layer in layers_of(split).items()}
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0)
    first = f"{split.blocks}.{split.first_block}."
    assert any(name.startswith(first) for name in found[0][1])
    for name, grad in found[0][1].items():
        if name.startswith(first):
            assert grad is not None
            assert found[1][1][name] is None
        else:
            torch.testing.assert_close(found[1][1][name], grad, rtol=0, atol=0)

"""Token types reach the model: in one piece, in the prefix, and not where the model takes none."""

import pytest
import torch

from sksve.backbones import SplitBackbone, plan_adaptation

PAIRS = (["the good film", "a"], ["bad", "a very long story!"])


@pytest.mark.parametrize("adapt_blocks", [0, 1, 3])
@pytest.mark.parametrize("family", ["bert", "electra"])
def test_token_types__give_the_models_own_answer(family, adapt_blocks, backbone_of):
    backbone = backbone_of(family, dtype=torch.float64)
    batch = backbone.processor(*PAIRS, padding=True, return_tensors="pt")
    assert batch["token_type_ids"].sum() > 3
    with torch.no_grad():
        expected = backbone.model(**batch).last_hidden_state
        untyped = backbone.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    assert (expected - untyped).abs().max() > 0.1
    mask = batch["attention_mask"]
    inputs = torch.stack([batch["input_ids"], batch["token_type_ids"]], dim=1)
    split = SplitBackbone(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    got = split.suffix(split.prefix(inputs, mask), inputs, mask)
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], rtol=0, atol=1e-12)


def test_token_types__are_left_out_where_the_model_takes_none(backbone_of):
    backbone = backbone_of("distilbert", dtype=torch.float64)
    batch = backbone.processor(*PAIRS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    split = SplitBackbone(backbone, plan_adaptation(backbone.model))
    typed = torch.stack([ids, torch.ones_like(ids)], dim=1)
    assert torch.equal(split(typed, mask), split(ids, mask))

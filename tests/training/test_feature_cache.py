"""The frozen part's output: in memory, in a file, or from the last fit; always the same numbers."""

import gc
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sksve.backbones import load_backbone, make_tiny_backbone, plan_adaptation, resolve_backbone
from sksve.inputs import tokenize
from sksve.training import TokenDataset, TrainingConfig, train
from sksve.training import _feature_cache as cache_module
from sksve.training._feature_cache import FeatureCache, feature_cache, weights_key
from sksve.training._module import EnsembleModule

TEXTS = ["a", "good film", "a rather longer text about a film", "bad"] * 3
CONFIG = TrainingConfig(
    n_classes=3, seed=0, max_epochs=2, batch_size=4, lr=0.01, head_lr=0.01, weight_decay=0.0,
    warmup=0.0, max_grad_norm=1.0, head_init_std=0.5, dtype=torch.float64,
)  # fmt: skip


@pytest.fixture(autouse=True)
def empty_cache():
    feature_cache.clear()
    yield
    feature_cache.clear()


def learn(texts=TEXTS, seed=0, adapt_blocks=1, **kwargs):
    from sksve.adapters import SVDLinear

    backbone = load_backbone(
        resolve_backbone(make_tiny_backbone(random_state=seed)), dtype=torch.float64
    )
    plan = plan_adaptation(backbone.model, adapt_blocks=adapt_blocks)
    ids = tokenize(backbone.processor, texts, 64)
    data = TokenDataset(ids, np.arange(len(ids)) % 3, dtype=torch.float64)

    def layers(linear, generators):
        return SVDLinear.from_linear(linear, len(generators), init_scale=0.1, generator=generators)

    return train(backbone, plan, layers, range(2), data, None, CONFIG, **kwargs), data


def count_runs(monkeypatch):
    runs = []
    original = EnsembleModule.features

    def counted(self, *args, **more):
        runs.append(args[0].shape)
        return original(self, *args, **more)

    monkeypatch.setattr(EnsembleModule, "features", counted)
    return runs


def test_train__the_frozen_part_runs_once_for_candidates_that_share_it(monkeypatch):
    runs = count_runs(monkeypatch)
    first, _ = learn()
    n = len(runs)
    assert n > 0
    second, _ = learn()
    assert len(runs) == n
    for a, b in zip(first.state, second.state, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "other", [{"texts": TEXTS[1:]}, {"seed": 1}, {"adapt_blocks": 0}], ids=["rows", "model", "cut"]
)
def test_train__what_differs_is_not_shared(monkeypatch, other):
    learn()
    runs = count_runs(monkeypatch)
    learn(**other)
    assert runs


def test_train__features_in_a_file_give_the_same_members(monkeypatch):
    expected, _ = learn()
    feature_cache.clear()
    monkeypatch.setattr(cache_module, "MEMORY_BYTES", 8)
    got, data = learn()
    for a, b in zip(got.state, expected.state, strict=True):
        assert torch.equal(a, b)
    assert len(feature_cache) == 0
    file = data._feature_file
    assert file.path.stat().st_size == data.features.nbytes

    copied = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < data.features.nbytes + 10_000
    assert torch.equal(copied.features, data.features)
    path = file.path
    del copied
    gc.collect()
    assert path.exists()  # a copy does not take the file with it
    del data, file, got
    gc.collect()
    assert not path.exists()


@pytest.mark.slow
def test_train__tasks_map_the_file(monkeypatch):
    expected, _ = learn()
    feature_cache.clear()
    monkeypatch.setattr(cache_module, "MEMORY_BYTES", 8)
    got, _ = learn(n_jobs=2)
    for a, b in zip(got.state, expected.state, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_cache__is_bounded_and_forgets_the_oldest():
    cache = FeatureCache(max_bytes=3 * 40)
    lengths = np.ones(10)
    for name in "abc":
        cache.put(name, torch.full((10, 1), float(ord(name))), lengths)
    cache.get("a")
    cache.put("d", torch.zeros(10, 1), lengths)
    assert [cache.get(k) is not None for k in "abcd"] == [True, False, True, True]
    cache.put("large", torch.zeros(31, 1), lengths)
    assert cache.get("large") is None
    assert len(cache) == 3
    cache.clear()
    assert cache.get("a") is None


def test_weights_key__sees_every_weight():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    key = weights_key(model, 1)
    assert key == weights_key(model, 1) != weights_key(model, 2)
    with torch.no_grad():
        model[0].weight[1, 1] += 1e-6
    assert weights_key(model, 1) != key

"""Both routes of inference, and the frozen part computed beforehand: the same numbers."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from sksve.adapters import SVDLinear, merged_member
from sksve.backbones import (
    SplitBackbone,
    load_backbone,
    make_tiny_backbone,
    plan_adaptation,
    prove,
    resolve_backbone,
)
from sksve.inputs import tokenize
from sksve.training import (
    Run,
    Settings,
    TokenDataset,
    Training,
    frozen_vectors,
    predict_logits,
    softmax64,
    train,
)
from tests.private import build_module, frozen, inference

TEXTS = ["a", "good film", "a rather longer text about a film", "bad", "good film", "x" * 40]
SETTINGS = Settings(
    "test",
    Training(
        head_lr=0.01, warmup=0.0, head_init_scale=0.5, optimizer="adamw", freeze_out=None
    ).get_params()
    | {"max_epochs": 1, "batch_size": 4, "lr": 0.01, "weight_decay": 0.0, "patience": None}
    | {"random_state": 0, "verbose": 0, "max_length": 64},
)
RUN = Run(n_classes=3, dtype=torch.float64)


def noisy_layers(linear, generators):
    return SVDLinear.from_linear(linear, len(generators), init_scale=0.4, generator=generators)


def make(adapt_blocks=None, family="bert", members=3):
    resolved = resolve_backbone(make_tiny_backbone(family))
    backbone = load_backbone(resolved, dtype=torch.float64)
    plan = prove(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    module = build_module(backbone, plan, noisy_layers, range(members), SETTINGS, RUN)

    def dataset(texts=TEXTS):
        ids = tokenize(backbone.processor, texts, 64)
        return TokenDataset(ids, pad_token_id=0, dtype=torch.float64)

    return module, dataset


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("adapt_blocks", [None, 1, 0])
def test_predict_logits__every_route_gives_the_same(adapt_blocks, family):
    module, dataset = make(adapt_blocks, family)
    expected = predict_logits(module, dataset(), merge=False)
    assert expected.shape == (3, len(TEXTS), 3)
    # Members differ wherever anything of theirs can: at least in their heads.
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    close(predict_logits(module, dataset(), merge=True), expected)
    cached = dataset()
    assert frozen.compute_features(module.split, cached) is (adapt_blocks is not None)
    for merge in (True, False):
        close(predict_logits(module, cached, merge=merge), expected)
    one_by_one = [predict_logits(module, dataset([t]), merge=False)[:, 0] for t in TEXTS]
    close(np.stack(one_by_one, axis=1), expected)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("adapt_blocks", [None, 1, 0])
def test_frozen_vectors__are_what_the_model_gives_each_text(adapt_blocks, family):
    backbone = load_backbone(resolve_backbone(make_tiny_backbone(family)), dtype=torch.float64)
    plan = prove(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    ids = tokenize(backbone.processor, TEXTS, 64)
    data = TokenDataset(ids, pad_token_id=0, dtype=torch.float64)
    vectors = frozen_vectors(SplitBackbone(backbone, plan), data)
    assert data.has_features is (adapt_blocks is not None)
    with torch.no_grad():
        hidden = [backbone.model(torch.tensor([row])).last_hidden_state[0] for row in ids]
    pooled = [h[-1] if family == "gpt2" else h.mean(dim=0) for h in hidden]
    close(vectors, torch.stack(pooled).numpy())


@pytest.mark.parametrize("merge", [True, False])
def test_predict_logits__small_batches_and_groups(monkeypatch, merge):
    module, dataset = make(1)
    expected = predict_logits(module, dataset(), merge=merge)
    monkeypatch.setattr(frozen, "TOKENS_CPU", 1)
    monkeypatch.setattr(inference, "TURN_BYTES", 1)
    close(predict_logits(module, dataset(), merge=merge), expected)


@pytest.mark.parametrize("merge", [True, False])
def test_predict_logits__some_members(merge):
    module, dataset = make()
    expected = predict_logits(module, dataset())
    close(predict_logits(module, dataset(), members=[2, 0], merge=merge), expected[[2, 0]])


def test_predict_logits__leaves_the_mode_as_it_was():
    module, dataset = make()
    module.train()
    predict_logits(module, dataset())
    assert module.training
    assert not module.split.model.training


def test_predict_logits__mode_is_restored_when_a_forward_pass_raises(monkeypatch):
    module, dataset = make()
    monkeypatch.setattr(module.heads, "forward", lambda *args: 1 / 0)
    for mode in (True, False):
        module.train(mode)
        with pytest.raises(ZeroDivisionError):
            predict_logits(module, dataset())
        assert module.training is mode
        assert module.heads.training is mode


@pytest.mark.parametrize("adapt_blocks", [1, 0])
def test_train__features_kept_or_computed_anew_train_the_same_members(monkeypatch, adapt_blocks):
    backbone = load_backbone(resolve_backbone(make_tiny_backbone()), dtype=torch.float64)
    plan = prove(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    ids = tokenize(backbone.processor, TEXTS, 64)
    runs = []
    features = SplitBackbone.features
    monkeypatch.setattr(
        SplitBackbone, "features", lambda *args: runs.append(len(args[1])) or features(*args)
    )

    def learn():
        data = TokenDataset(ids, np.arange(len(ids)) % 3, dtype=torch.float64)
        members = train(backbone, plan, noisy_layers, range(2), data, None, SETTINGS, RUN)
        return members.state, data.has_features

    kept, has_features = learn()
    assert has_features
    assert sum(runs) == len(TEXTS), "each row once"
    monkeypatch.setattr(frozen, "FEATURE_BYTES", 8)
    anew, has_features = learn()
    assert not has_features
    for a, b in zip(kept, anew, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_build_module__shares_the_backbones_weights_and_changes_none(monkeypatch):
    backbone = load_backbone(resolve_backbone(make_tiny_backbone()))
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    storages = {p.untyped_storage().data_ptr() for p in backbone.model.parameters()}
    plan = plan_adaptation(backbone.model, adapt_blocks=1)
    run = replace(RUN, dtype=torch.float32)
    data = TokenDataset(tokenize(backbone.processor, TEXTS, 64), np.arange(6) % 3)
    module = train(backbone, plan, noisy_layers, range(2), data, None, SETTINGS, run).net.module_
    frozen = {n: p for n, p in module.split.model.named_parameters() if n in before}
    assert len(frozen) > 10
    assert {p.untyped_storage().data_ptr() for p in frozen.values()} <= storages
    module.to(torch.float64)  # as a move to another device: the others stay where they are
    after = backbone.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_train__a_second_fit_hashes_no_weight(monkeypatch, tmp_path):
    for part in make_tiny_backbone():
        part.save_pretrained(tmp_path)
    hashed = []
    sha256 = hashlib.sha256

    class Counted:
        def __init__(self, data=b""):
            self.digest = sha256(data)
            hashed.append(len(data))

        def update(self, data):
            hashed.append(memoryview(data).nbytes)
            self.digest.update(data)

        def hexdigest(self):
            return self.digest.hexdigest()

    def fit():
        backbone = load_backbone(resolve_backbone(tmp_path))
        plan = plan_adaptation(backbone.model, adapt_blocks=1)
        data = TokenDataset(tokenize(backbone.processor, TEXTS, 64), np.arange(6) % 3)
        hashed.clear()
        run = replace(RUN, dtype=torch.float32)
        train(backbone, plan, noisy_layers, range(2), data, None, SETTINGS, run)
        return sum(hashed)

    monkeypatch.setattr(hashlib, "sha256", Counted)
    assert fit() > 16 * 16 * 4 * 6, "each adapted matrix, in the first fit"
    assert fit() < 16 * 16 * 4


def test_merging__pays_for_many_tokens_only():
    module, _ = make()
    assert not inference.merging_pays(module, 1)
    assert inference.merging_pays(module, 100_000)


def test_softmax64__sums_to_one_far_out(rng):
    logits = rng.normal(size=(2, 5, 4)) * 1e4
    p = softmax64(logits.astype(np.float32))
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=0, atol=1e-15)
    z = rng.normal(size=(3, 4))
    np.testing.assert_allclose(softmax64(z), np.exp(z) / np.exp(z).sum(1, keepdims=True))


@pytest.mark.parametrize("adapt_blocks", [None, 1, 0])
@pytest.mark.parametrize("tokens", [1, 60, 10**9])
def test_train__members_that_take_turns_learn_the_same(monkeypatch, adapt_blocks, tokens):
    resolved = resolve_backbone(make_tiny_backbone())
    backbone = load_backbone(resolved, dtype=torch.float64)
    plan = prove(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    ids = tokenize(backbone.processor, TEXTS * 2, 64)

    def learn():
        data = TokenDataset(ids, np.arange(12) % 3, dtype=torch.float64)
        return train(backbone, plan, noisy_layers, range(3), data, None, SETTINGS, RUN)

    expected = learn()
    monkeypatch.setattr("sksve.training._module.STEP_TOKENS_CPU", tokens)
    got = learn()
    for a, b in zip(got.state, expected.state, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    close(got.history[0]["train_loss"], expected.history[0]["train_loss"])


def test_merged_member__rounds_once_to_what_autocast_would_use():
    linear = torch.nn.Linear(12, 20)
    layer = SVDLinear.from_linear(
        linear, 2, init_scale=0.4, generator=torch.Generator().manual_seed(0)
    )
    x = torch.randn(5, 12)
    for member in range(2):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            with merged_member(layer, member):
                expected = layer(x)
            with merged_member(layer, member, dtype=torch.bfloat16):
                assert layer._merged[0].dtype == torch.bfloat16
                assert torch.equal(layer(x), expected)
    double = SVDLinear.from_linear(linear.double(), 2)
    with merged_member(double, 0, dtype=torch.bfloat16):  # autocast leaves it alone
        assert double._merged[0].dtype == torch.float64

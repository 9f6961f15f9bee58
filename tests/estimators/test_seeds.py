"""The same seed gives the same bits; nothing outside the estimator is read, moved or changed."""

import copy
import random

import numpy as np
import pytest
import torch

from sksve.backbones import make_tiny_backbone
from tests.making import save_tiny


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test__random_state__gives_identical_bits(precision, make, texts, labels):
    settings = {"precision": precision, "early_stopping": True, "validation_fraction": 0.3}
    a, b = (make(random_state=3, **settings).fit(texts, labels) for _ in range(2))
    np.testing.assert_array_equal(a.predict_proba_members(texts), b.predict_proba_members(texts))
    for p, q in zip(a.net_.module_.parameters(), b.net_.module_.parameters(), strict=True):
        assert torch.equal(p, q)
    for row, other in zip(a.history_, b.history_, strict=True):
        for key in row:
            np.testing.assert_array_equal(row[key], other[key])


def test__random_state__makes_the_difference_and_may_be_a_generator(make, texts, labels):
    def proba(state):
        return make(random_state=state, max_epochs=1).fit(texts, labels).predict_proba(texts)

    state = np.random.RandomState(5)
    first, second = proba(state), proba(state)  # it is moved by each fit
    np.testing.assert_array_equal(first, proba(np.random.RandomState(5)))
    new = proba(np.random.default_rng(5))
    np.testing.assert_array_equal(new, proba(np.random.default_rng(5)))
    for a, b in [(first, second), (proba(0), proba(1)), (proba(None), proba(None))]:
        assert np.abs(a - b).max() > 1e-4


def global_states():
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is the subject
    return random.getstate(), (name, keys.tobytes(), *rest), torch.get_rng_state().numpy().tobytes()


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("from_folder", [False, True])
def test__global_random_states__are_not_moved(
    random_state, from_folder, make, texts, labels, tmp_path
):
    backbone = str(save_tiny(tmp_path)) if from_folder else make_tiny_backbone()
    before = global_states()
    clf = make(backbone, random_state=random_state, early_stopping=True, validation_fraction=0.3)
    clf.fit(texts, labels)
    clf.predict(texts)
    clf.predict_uncertainty(texts)
    assert global_states() == before


def test__global_random_states__are_not_read(make, fitted, texts, labels):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is the subject
    torch.manual_seed(1)
    clf = make().fit(texts, labels)
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))


def test__global_settings_of_torch__stay(make, texts, labels):
    def settings():
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
        )

    before = settings()
    make(precision="bfloat16", max_epochs=1).fit(texts, labels).predict(texts)
    assert settings() == before


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test__backbone__is_never_changed(family, make, texts, labels):
    model, tokenizer = make_tiny_backbone(family)
    model.train()
    for p in list(model.parameters())[::2]:
        p.requires_grad_(False)
    tokenizer.padding_side = "left"
    tokenizer.model_max_length = 77
    tokenizer.backend_tokenizer.enable_truncation(11)
    tokenizer.backend_tokenizer.enable_padding(length=9)

    def snapshot():
        return (
            {name: value.clone() for name, value in model.state_dict().items()},
            [(name, m.training, type(m)) for name, m in model.named_modules()],
            [(name, p.requires_grad, p.grad, id(p)) for name, p in model.named_parameters()],
            [(m.p, type(m)) for m in model.modules() if isinstance(m, torch.nn.Dropout)],
            len([h for m in model.modules() for h in m._forward_hooks]),
            model.config.to_dict(),
            tokenizer.backend_tokenizer.to_str(),
            (tokenizer.padding_side, tokenizer.model_max_length, tokenizer.pad_token),
        )

    weights, *rest = snapshot()
    clf = make((model, tokenizer), early_stopping=True, validation_fraction=0.3)
    clf.fit(texts, labels).predict(texts)
    after, *rest_after = snapshot()
    assert rest_after == rest
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert weights.keys() == after.keys()
    # ... and what is left in the model has no say in the answers.
    fresh = make(make_tiny_backbone(family), early_stopping=True, validation_fraction=0.3)
    np.testing.assert_array_equal(
        fresh.fit(texts, labels).predict_proba(texts), clf.predict_proba(texts)
    )


def test__backbone__of_a_model_with_a_head_is_its_base(make, fitted, texts, labels):
    from transformers import AutoModelForSequenceClassification

    model, tokenizer = make_tiny_backbone()
    headed = AutoModelForSequenceClassification.from_config(model.config)
    headed.base_model.load_state_dict(model.state_dict(), strict=False)
    clf = make((headed, tokenizer)).fit(texts, labels)
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))


def test__own_weights__of_the_backbone_stay_frozen(fitted, tiny):
    given = tiny[0].state_dict()
    inside = fitted.net_.module_.split.model.state_dict()
    shared = [name for name in given if name in inside]
    assert shared
    for name in shared:
        assert torch.equal(inside[name], given[name].double())


def test__parameters__are_the_same_objects_after_fit(make, texts, labels):
    given = {
        "callbacks": [],
        "class_weight": {"pos": 1.0, "neg": 2.0},
        "target_modules": ["query", "value"],
        "random_state": np.random.RandomState(0),
    }
    content = copy.deepcopy({k: v for k, v in given.items() if k != "random_state"})
    clf = make(max_epochs=1, **given)
    before = clf.get_params()
    clf.fit(texts, labels).predict(texts)
    after = clf.get_params()
    assert all(before[name] is after[name] for name in before)
    assert content == {name: given[name] for name in content}


@pytest.mark.filterwarnings("ignore:X has no column of free text")
def test__data__are_not_changed(make, labels):
    import pandas as pd

    frame = pd.DataFrame({"a": [1, None, 3] * 4, "b": ["x", "y", None] * 4})
    y, weight = np.array(labels), np.linspace(1, 2, 12)
    copies = frame.copy(), y.copy(), weight.copy()
    make(max_epochs=1).fit(frame, y, weight).predict(frame)
    pd.testing.assert_frame_equal(frame, copies[0])
    np.testing.assert_array_equal(y, copies[1])
    np.testing.assert_array_equal(weight, copies[2])

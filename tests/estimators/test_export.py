"""One member as an ordinary model: the same probabilities, with nothing of sksve inside."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from transformers import AutoModel, PreTrainedModel

from sksve import baselines
from sksve.backbones import make_tiny_backbone, pool_tokens
from sksve.baselines import LinearProbeClassifier

FAMILIES = ["bert", "roberta", "distilbert", "deberta-v2", "gpt2", "llama"]


@pytest.mark.parametrize("family", FAMILIES)
def test__member__gives_its_probabilities(family, make, texts, labels):
    clf = make(make_tiny_backbone(family), n_members=2, off_diagonals=1).fit(texts, labels)
    expected = clf.predict_proba_members(texts)
    tokenizer = clf._tokenizer
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    for member in range(2):
        alone = clf.to_torch(member)
        with torch.no_grad():
            got = alone(batch["input_ids"], batch["attention_mask"]).softmax(dim=-1)
        np.testing.assert_allclose(got.numpy(), expected[member], atol=1e-9)
    assert np.abs(expected[0] - expected[1]).max() > 1e-6  # the members differ


def test__to_transformers__is_plain_and_saved_by_transformers(make, fitted, texts, tmp_path):
    model = fitted.to_transformers(2)
    assert isinstance(model, PreTrainedModel)
    assert {type(m).__module__.partition(".")[0] for m in model.modules()} == {
        "transformers",
        "torch",
    }
    assert model.config.id2label == {0: "neg", 1: "pos"}
    assert not model.training
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path, dtype=torch.float64)
    head = fitted.to_torch(2).head
    batch = fitted._tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = again(**batch).last_hidden_state
        got = head(pool_tokens(hidden, batch["attention_mask"], "mean")).softmax(dim=-1)
    np.testing.assert_allclose(got.numpy(), fitted.predict_proba_members(texts)[2], atol=1e-9)


def test__copy__is_independent_and_draws_no_random_numbers(fitted, texts):
    before = fitted.predict_proba(texts)
    state = torch.random.get_rng_state()
    model = fitted.to_transformers(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    np.testing.assert_array_equal(fitted.predict_proba(texts), before)


def test__linear_probe__keeps_its_backbone(tiny, texts, labels):
    clf = LinearProbeClassifier(tiny, precision="float64")
    model = clf.fit(texts, labels).to_transformers()
    for name, p in tiny[0].named_parameters():
        if not name.startswith("pooler."):
            torch.testing.assert_close(model.get_parameter(name), p.double(), rtol=0, atol=0)


def test__without_a_pooler(make, texts, labels):
    model, tokenizer = make_tiny_backbone()
    model.pooler = None
    clf = make((model, tokenizer), n_members=1, max_epochs=1).fit(texts, labels)
    assert clf.to_transformers().pooler is None


@pytest.mark.parametrize("name", [n for n in baselines.__all__ if n != "MCDropoutClassifier"])
def test__rivals__give_the_member_that_was_asked_for(name, tiny, texts, labels):
    if name == "LaplaceClassifier":
        pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")
    clf = getattr(baselines, name)(tiny, precision="float64", random_state=0)
    few = {"n_members": 3, "n_samples": 3, "max_epochs": 2}
    clf.set_params(**{k: v for k, v in few.items() if k in clf.get_params()})
    clf.fit(texts, labels)
    batch = clf._tokenizer(texts, padding=True, return_tensors="pt")
    expected = clf.predict_proba_members(texts)
    for member in range(len(expected)):
        with torch.no_grad():
            got = clf.to_torch(member)(batch["input_ids"], batch["attention_mask"]).softmax(dim=-1)
        np.testing.assert_allclose(got.numpy(), expected[member], rtol=0, atol=1e-9)
    assert len(expected) == 1 or np.abs(expected[0] - expected[2]).max() > 1e-6


def test__mc_dropout__whose_members_are_masks__says_so(tiny, texts, labels):
    clf = baselines.MCDropoutClassifier(tiny, max_epochs=1, random_state=0).fit(texts, labels)
    assert not hasattr(clf, "to_torch")
    assert not hasattr(clf, "to_transformers")
    with pytest.raises(AttributeError) as info:
        clf.to_torch(1)
    assert "FineTunedClassifier for the model alone" in str(info.value)


def test__no_such_member_or_not_fitted(make, fitted):
    for member in (3, -1, 1.0, True, None):
        with pytest.raises(ValueError, match=r"\[0, 3\)"):
            fitted.to_transformers(member)
    with pytest.raises(NotFittedError):
        make().to_torch()


def test__export__serves_other_sizes(fitted32, texts):
    alone = fitted32.to_torch(1)
    batch = fitted32._tokenizer(texts[:3], padding=True, return_tensors="pt")
    inputs = batch["input_ids"], batch["attention_mask"]
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens", max=128)
    shapes = ({0: rows, 1: tokens}, {0: rows, 1: tokens})
    exported = torch.export.export(alone, inputs, dynamic_shapes=shapes).module()
    batch = fitted32._tokenizer(texts, padding=True, return_tensors="pt")
    got = exported(batch["input_ids"], batch["attention_mask"]).softmax(dim=-1).detach().numpy()
    np.testing.assert_allclose(got, fitted32.predict_proba_members(texts)[1], atol=1e-5)

"""What every rival has in common with SVEClassifier."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sksve import predict_uncertainty
from sksve.backbones import make_tiny_backbone
from sksve.persistence import class_named

WIDTH = {
    "fine_tuned": 1,
    "deep_ensemble": 3,
    "lora_ensemble": 3,
    "batch_ensemble": 3,
    "linear_probe": 3,
}


def test_members__are_pooled_and_split(rival, fitted, texts, labels):
    clf = fitted(rival)
    members = clf.predict_proba_members(texts)
    assert members.shape == (WIDTH.get(rival, 4), len(texts), 2)
    assert members.dtype == np.float64
    np.testing.assert_allclose(members.sum(-1), 1.0, rtol=0, atol=1e-12)
    proba = clf.predict_proba(texts)
    np.testing.assert_allclose(proba, members.mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(texts)), proba, rtol=0, atol=1e-12)
    odds = np.log(proba[:, 1] / proba[:, 0])
    np.testing.assert_allclose(clf.decision_function(texts), odds, rtol=0, atol=1e-9)
    assert clf.predict(texts).tolist() == clf.classes_[proba.argmax(1)].tolist()
    u = predict_uncertainty(clf, texts)
    np.testing.assert_allclose(u.total, u.aleatoric + u.epistemic, rtol=0, atol=1e-12)
    if len(members) > 1:
        assert np.abs(members[0] - members[1]).max() > 1e-4
        assert u.epistemic.max() > 1e-6
    else:
        assert not u.epistemic.any()


def test_training__moves_the_predictions(trained_rival, fitted, make, texts, labels):
    still = make(trained_rival, lr=1e-300, head_lr=1e-300, head_init_scale=0.0).fit(texts, labels)
    if trained_rival != "laplace":  # its heads scatter around the still one
        np.testing.assert_allclose(still.predict_proba(texts), 0.5, rtol=0, atol=1e-9)
    assert np.abs(fitted(trained_rival).predict_proba(texts) - 0.5).max() > 0.01


def test_predictions__depend_on_neither_order_nor_subset_nor_batch(rival, fitted, texts):
    clf = fitted(rival)
    whole = clf.predict_proba_members(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = clf.predict_proba_members([texts[i] for i in order])
    np.testing.assert_allclose(shuffled, whole[:, order], rtol=0, atol=1e-9)
    for i in (0, 3):
        alone = clf.predict_proba_members([texts[i]])[:, 0]
        np.testing.assert_allclose(alone, whole[:, i], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["deep_ensemble", "lora_ensemble", "batch_ensemble", "linear_probe"]
)
def test_members__do_not_depend_on_their_number(name, fitted, make, texts, labels):
    three = fitted(name).predict_proba_members(texts)
    two = make(name, n_members=2).fit(texts, labels)
    np.testing.assert_allclose(two.predict_proba_members(texts), three[:2], rtol=0, atol=1e-6)
    # A warm start adds the third.
    two.set_params(warm_start=True, n_members=3).fit(texts, labels)
    np.testing.assert_allclose(two.predict_proba_members(texts), three, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mc_dropout", "laplace"])
def test_samples__do_not_depend_on_their_number(name, fitted, make, texts, labels):
    if name == "laplace":
        pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")
    four = fitted(name).predict_proba_members(texts)
    six = make(name, n_samples=6).fit(texts, labels).predict_proba_members(texts)
    np.testing.assert_allclose(six[:4], four, rtol=0, atol=1e-9)
    assert len({row.tobytes() for row in six}) == 6


def test_fit__is_repeatable_and_moves_no_global_state(rival, fitted, texts, labels):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = clone(fitted(rival)).fit(texts, labels)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    expected = fitted(rival).predict_proba_members(texts)
    np.testing.assert_array_equal(again.predict_proba_members(texts), expected)
    other = clone(again).set_params(random_state=1).fit(texts, labels)
    assert np.abs(other.predict_proba(texts) - again.predict_proba(texts)).max() > 1e-6


def test_backbone__stays_as_it_was(rival, make, texts, labels):
    model, tokenizer = make_tiny_backbone()
    before = copy.deepcopy(model.state_dict())
    make(rival, (model, tokenizer)).fit(texts, labels)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.grad is not None for p in model.parameters())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_copies_and_saved_ones__predict_alike(rival, fitted, tiny, texts, tmp_path):
    clf = fitted(rival)
    expected = clf.predict_proba_members(texts)
    saved = clf.save_pretrained(tmp_path)
    loaded = class_named(type(clf).__name__).from_pretrained(saved, backbone=tiny)
    assert set(vars(loaded)) == set(vars(clf))
    for twin in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf)), loaded):
        np.testing.assert_array_equal(twin.predict_proba_members(texts), expected)


def test_three_classes_and_float32(rival, make, texts):
    y = np.array(["a", "b", "c"] * 4)
    clf = make(rival, precision="float32").fit(texts, y)
    single = make(rival).fit(texts, y)
    assert clf.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(
        clf.predict_proba_members(texts), single.predict_proba_members(texts), rtol=0, atol=1e-3
    )


def test_early_stopping__keeps_the_best_weights(trained_rival, make, texts, labels):
    clf = make(
        trained_rival, early_stopping=True, patience=1, max_epochs=15, lr=0.2, head_lr=0.2
    ).fit(texts, labels, X_val=texts[:4], y_val=labels[:4])
    losses = np.array([epoch["valid_loss"] for epoch in clf.history_])
    assert np.isnan(losses[-1]).any() or len(losses) < 15
    if trained_rival not in (
        "mc_dropout",
        "laplace",
    ):  # the best epoch's loss is that of the members now
        members = clf.predict_proba_members(texts[:4])
        y = np.array([clf.classes_.tolist().index(label) for label in labels[:4]])
        now = -np.log(members[:, np.arange(4), y]).mean(1)
        np.testing.assert_allclose(now, np.nanmin(losses, axis=0), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "family",
    [
        "gpt2",
        *(pytest.param(f, marks=pytest.mark.slow) for f in ("deberta-v2", "llama", "electra")),
    ],
)
def test_other_families(rival, family, make, texts, labels):
    clf = make(rival, make_tiny_backbone(family), max_epochs=1).fit(texts, labels)
    members = clf.predict_proba_members(texts)
    alone = clf.predict_proba_members(texts[3:4])
    np.testing.assert_allclose(alone, members[:, 3:4], rtol=0, atol=1e-9)
    assert np.isfinite(members).all()


def test_last_block_only__leaves_the_first_alone(trained_rival, make, texts, labels):
    clf = make(trained_rival, adapt_blocks=1).fit(texts, labels)
    report = clf.adapter_report_
    assert all(name.startswith("encoder.layer.1.") for name in report.adapted)
    assert clf.net_.module_.split.has_prefix
    whole = clf.predict_proba_members(texts)
    np.testing.assert_allclose(
        clf.predict_proba_members(texts[5:6]), whole[:, 5:6], rtol=0, atol=1e-9
    )


def test_parameters__faults_are_named(rival, make, texts, labels):
    cls = "Training" if rival == "batch_ensemble" else type(make(rival)).__name__
    faults = {
        "fine_tuned": {"lr": 0.0},
        "deep_ensemble": {"n_members": 0},
        "lora_ensemble": {"rank": 0.5, "init_gain": 0.0},
        "batch_ensemble": {"init_scale": -1.0},
        "mc_dropout": {"n_samples": 0, "dropout": 1.0},
        "linear_probe": {"n_members": 0, "n_folds": 1, "normalize": 2},
        "laplace": {"n_samples": 2.5, "hessian_structure": "lowrank", "prior_precision": "cv"},
    }
    for name, value in faults[rival].items():
        clf = make(rival, **{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of {cls} must be"):
            clf.fit(texts, labels)
        assert not hasattr(clf, "classes_")

"""Spectrum shifts, intruders and diversity by layer, by value."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from sksve import SVEClassifier, Training
from sksve.backbones import make_tiny_backbone
from sksve.baselines import (
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LinearProbeClassifier,
    LoRAEnsembleClassifier,
)
from sksve.diagnostics import count_intruders, layer_diversity, spectrum_shift
from sksve.plotting import LayerDiversityDisplay, SpectrumDisplay

TEXTS = ["good film", "bad film", "the story was great and very fun", "dull"] * 3
LABELS = ["pos", "neg"] * 6
COMMON = {
    "max_epochs": 2, "batch_size": 4, "lr": 0.02, "training": Training(head_lr=0.02), "precision": "float64",
    "random_state": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny():
    return make_tiny_backbone()


@pytest.fixture(scope="module")
def sve(tiny):
    return SVEClassifier(tiny, n_members=3, core="diagonal", **COMMON).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def lora(tiny):
    return LoRAEnsembleClassifier(tiny, n_members=2, rank=2, **COMMON).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def deep(tiny):
    return DeepEnsembleClassifier(tiny, n_members=2, **COMMON).fit(TEXTS, LABELS)


def test_diagonal_core__moves_values_only(sve, tiny):
    shift = spectrum_shift(sve)
    assert shift.layers == sve.adapter_report_.adapted
    assert not shift.intruders.any()
    np.testing.assert_allclose(shift.outside, 0.0, rtol=0, atol=1e-9)
    np.testing.assert_allclose(shift.change, shift.value_shift, rtol=1e-9, atol=0)
    for j, name in enumerate(shift.layers):
        layer = sve.net_.module_.split.model.get_submodule(name)
        delta = layer.values.detach().numpy()
        np.testing.assert_allclose(shift.relative_shifts[j], delta, rtol=0, atol=1e-9)
        S = np.linalg.svd(tiny[0].get_submodule(name).weight.detach().double().numpy())[1]
        np.testing.assert_allclose(shift.values[j], S, rtol=0, atol=1e-9)
        expected = np.linalg.norm(S * delta, axis=1) / np.linalg.norm(S)
        np.testing.assert_allclose(shift.change[j], expected, rtol=1e-9, atol=0)
        place = np.linspace(0, 1, len(S))
        expected = (delta**2 * place).sum(1) / (delta**2).sum(1)
        np.testing.assert_allclose(shift.centre[j], expected, rtol=1e-9, atol=0)


def test_lora__leaves_the_pretrained_directions(lora):
    shift = spectrum_shift(lora)
    assert shift.layers == lora.adapter_report_.adapted
    assert (shift.outside > 0.5).all()
    layer = lora.net_.module_.split.model.get_submodule(shift.layers[0])
    change = (layer.B[1] @ layer.A[1]).detach().norm() / layer.weight.norm()
    assert shift.change[0, 1] == pytest.approx(float(change), rel=1e-9)
    U, _, Vh = torch.linalg.svd(layer.weight, full_matrices=False)
    along = torch.diag(U.T @ layer.merge(1).weight @ Vh.T).detach()
    np.testing.assert_allclose(shift.member_values[0][1], along, rtol=0, atol=1e-9)
    assert (shift.value_shift <= shift.change).all()


def test_lora__has_intruders_where_its_change_dominates(lora):
    # A foreign direction, much larger than anything before it.
    layer = lora.net_.module_.split.model.get_submodule(lora.adapter_report_.adapted[0])
    U = torch.linalg.svd(layer.weight)[0]
    foreign = U.sum(dim=1) / 4  # a cosine of 1/4 with each of the 16
    kept = layer.B.detach().clone()
    with torch.no_grad():
        layer.B[0].zero_()
        layer.B[0, :, 0] = 1e3 * foreign
        assert spectrum_shift(lora).intruders[0].tolist()[0] == 1
        assert spectrum_shift(lora, threshold=0.2).intruders[0, 0] == 0
        layer.B.copy_(kept)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_full_fine_tuning__is_compared_with_the_pretrained(family):
    backbone = make_tiny_backbone(family)
    clf = FineTunedClassifier(backbone, **COMMON).fit(TEXTS, LABELS)
    shift = spectrum_shift(clf)
    name = shift.layers[0]
    before = backbone[0].get_submodule(name).weight.detach().double()
    after = clf.net_.module_.split.member_values(0)[f"{name}.weight"].detach()
    assert shift.change[0, 0] == pytest.approx(float((after - before).norm() / before.norm()))
    before, after = (before.T, after.T) if family == "gpt2" else (before, after)
    U, _, Vh = torch.linalg.svd(before, full_matrices=False)
    paired = torch.diag(U.T @ after @ Vh.T).numpy()
    np.testing.assert_allclose(np.sort(shift.member_values[0][0]), np.sort(paired), atol=1e-9)


def test_frame__has_a_row_a_layer_and_member(sve):
    shift = spectrum_shift(sve)
    frame = shift.to_frame()
    assert len(frame) == len(shift.layers) * 3
    row = frame[(frame.layer == shift.layers[4]) & (frame.member == 2)].iloc[0]
    assert row.change == shift.change[4, 2]
    assert row.centre == shift.centre[4, 2]


def test_probe__has_nothing_to_compare(tiny):
    probe = LinearProbeClassifier(tiny, n_members=2).fit(TEXTS, LABELS)
    shift = spectrum_shift(probe)
    assert shift.layers == ()
    assert len(shift.to_frame()) == 0
    with pytest.raises(ValueError, match="nothing to draw"):
        SpectrumDisplay(shift).plot()
    found = layer_diversity(probe, TEXTS[:4])
    assert found.layers == ("pooled", "logits")
    assert found.variance[0] == 0.0
    assert found.variance[1] > 0.0


def test_intruders__top_and_zero_directions():
    U = torch.eye(4, dtype=torch.float64)[:, :2]
    weight = torch.diag(torch.tensor([1.0, 2.0, 9.0, 8.0], dtype=torch.float64))
    assert count_intruders(weight, U) == 2
    assert count_intruders(weight, U, top=1) == 1
    weight[2:] = 0.0  # what is left of those directions is arbitrary
    assert count_intruders(weight, U) == 0
    assert count_intruders(torch.zeros(4, 4), U.float()) == 0


@pytest.mark.parametrize("which", ["sve", "lora", "deep"])
def test_layer_diversity__equals_a_slow_reference(which, request):
    clf = request.getfixturevalue(which)
    module = clf.net_.module_
    found = layer_diversity(clf, TEXTS[:4])
    hidden = []  # of each member and text: every hidden state, unpadded
    for k in range(module.n_members):
        states = []
        for text in TEXTS[:4]:
            ids = torch.tensor([clf.backbone[1](text)["input_ids"]])
            with torch.no_grad():
                model = as_plain_model(clf, k)
                states.append(model(ids, output_hidden_states=True).hidden_states)
        hidden.append(states)
    for block in (1, 2):
        stacked = torch.stack([torch.cat([s[block][0] for s in member]) for member in hidden])
        spread = ((stacked - stacked.mean(0)) ** 2).mean(0).sum()
        expected = float(spread / (stacked**2).mean(0).sum())
        assert found.variance[block - 1] == pytest.approx(expected, rel=1e-6)
        m = len(stacked)
        pairs = [
            1 - torch.cosine_similarity(stacked[i], stacked[j], dim=-1).mean()
            for i in range(m)
            for j in range(i)
        ]
        assert found.distance[block - 1] == pytest.approx(float(sum(pairs) / len(pairs)), rel=1e-6)
    assert found.to_frame().layer.tolist() == list(found.layers)


def as_plain_model(clf, k):
    import copy

    from sksve.adapters import MemberLinear

    split = clf.net_.module_.split
    model = copy.deepcopy(clf.backbone[0]).double().eval()
    if hasattr(split, "member_values"):
        model.load_state_dict(split.member_values(k), strict=False)
    for name, layer in split.model.named_modules():
        if isinstance(layer, MemberLinear):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.merge(k))
    return model


def test_layer_diversity__of_equal_members_is_zero(tiny):
    clf = SVEClassifier(
        tiny,
        n_members=2,
        max_epochs=1,
        lr=1e-300,
        training=Training(init_scale=0.0, head_lr=1e-300),
    ).fit(TEXTS, LABELS)
    found = layer_diversity(clf, TEXTS[:3])
    np.testing.assert_allclose(found.variance[:-1], 0.0, rtol=0, atol=1e-9)
    assert found.variance[-1] > 0.01  # heads differ from the start


def test_layer_diversity__mode_is_restored_when_a_forward_pass_raises(tiny, monkeypatch):
    clf = SVEClassifier(tiny, n_members=2, max_epochs=1).fit(TEXTS, LABELS)
    module = clf.net_.module_.train()
    monkeypatch.setattr(module.heads, "forward", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layer_diversity(clf, TEXTS)
    assert module.training


def test_layer_diversity__begins_at_the_cut(tiny):
    clf = SVEClassifier(tiny, n_members=2, adapt_blocks=1, max_epochs=1).fit(TEXTS, LABELS)
    found = layer_diversity(clf, TEXTS[:3])
    assert found.layers == ("encoder.layer.1", "pooled", "logits")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"threshold": None}, "'threshold'.*None"),
        ({"threshold": 1.5}, r"'threshold'.*\[0.*1.*1.5"),
        ({"top": 0}, "'top'.*0"),
        ({"top": 2.0}, "'top'.*2.0"),
    ],
    ids=["threshold-none", "threshold-beyond", "top-zero", "top-float"],
)
def test_intruders__parameters_are_checked_before_anything_slow(sve, told, words, monkeypatch):
    monkeypatch.setattr(torch.linalg, "svd", None)  # nothing is decomposed
    with pytest.raises(ValueError, match=words):
        spectrum_shift(sve, **told)
    with pytest.raises(ValueError, match=words):
        count_intruders(torch.eye(3), torch.eye(3), **told)


def test_faults__are_named(tiny):
    with pytest.raises(TypeError, match="fitted sksve classifier is needed"):
        spectrum_shift(LogisticRegression())
    with pytest.raises(NotFittedError):
        layer_diversity(SVEClassifier(tiny), TEXTS)


def test_spectrum_display__draws_the_numbers(sve):
    import matplotlib.pyplot as plt

    display = SpectrumDisplay.from_estimator(sve)
    assert len(display.points_) == 3
    np.testing.assert_array_equal(display.points_[1].get_ydata(), display.shift.value_shift[:, 1])
    assert display.intruders_ is None
    again = display.plot(kind="spectrum")
    grid = np.linspace(0, 1, 101)
    rows = [
        np.interp(grid, np.linspace(0, 1, len(r)), np.abs(r))
        for layer in display.shift.relative_shifts
        for r in layer
    ]
    np.testing.assert_allclose(again.points_[0].get_ydata(), np.median(rows, axis=0), atol=1e-12)
    with pytest.raises(ValueError, match="'kind' must be one of"):
        display.plot(kind="pie")
    plt.close("all")


def test_spectrum_display__marks_intruders(sve):
    import dataclasses

    import matplotlib.pyplot as plt

    shift = spectrum_shift(sve)
    marked = shift.intruders.copy()
    marked[5, 1] = 2
    display = SpectrumDisplay(dataclasses.replace(shift, intruders=marked)).plot()
    assert display.intruders_.get_xydata().tolist() == [[5.0, shift.value_shift[5, 1]]]
    plt.close("all")


def test_diversity_display__draws_the_numbers(sve):
    import matplotlib.pyplot as plt

    display = LayerDiversityDisplay.from_estimator(sve, TEXTS[:4])
    expected = layer_diversity(sve, TEXTS[:4]).variance
    np.testing.assert_allclose(display.line_.get_ydata(), expected, rtol=0, atol=1e-15)
    assert display.ax_.get_legend().get_texts()[0].get_text() == "SVEClassifier"
    plt.close("all")

"""Predictions: what one text gets must not depend on its neighbours, and the members must add up."""

import numpy as np
import pytest
import torch
from scipy.special import entr, softmax

from sksve.backbones import make_tiny_backbone
from sksve.inputs import tokenize
from sksve.training import TokenDataset, predict_logits, softmax64
from tests.private import frozen

TOLERANCE = {"float32": 1e-5, "float64": 1e-9}


@pytest.fixture(params=["float64", "float32"])
def either(request, fitted, fitted32):
    """A fitted classifier, and how far its probabilities may move."""
    return {"float64": fitted, "float32": fitted32}[request.param], TOLERANCE[request.param]


def close(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test__proba__is_float64_and_sums_to_one(either, texts):
    clf, _ = either
    for proba in (clf.predict_proba(texts), *clf.predict_proba_members(texts)):
        assert proba.dtype == np.float64
        assert proba.shape == (12, len(clf.classes_))
        assert (proba >= 0).all()
        np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=0, atol=1e-15)


def test__proba__does_not_depend_on_the_order_of_rows(either, texts, rng):
    clf, tolerance = either
    order = rng.permutation(12)
    members = clf.predict_proba_members([texts[i] for i in order])
    close(members, clf.predict_proba_members(texts)[:, order], tolerance)


def test__proba__does_not_depend_on_the_other_rows(either, texts):
    clf, tolerance = either
    together = clf.predict_proba_members(texts)
    alone = np.concatenate([clf.predict_proba_members([text]) for text in texts], axis=1)
    close(alone, together, tolerance)
    equal = clf.predict_proba(["good film", "a", "good film"])
    np.testing.assert_array_equal(equal[0], equal[2])
    long = " ".join(["story"] * 100)
    close(clf.predict_proba_members([*texts, long])[:, :12], together, tolerance)


@pytest.mark.parametrize("budget", [1, 100_000], ids=["one row", "all rows"])
def test__proba__does_not_depend_on_the_batch_size(budget, either, texts, monkeypatch):
    clf, tolerance = either
    expected = clf.predict_proba_members(texts)
    monkeypatch.setattr(frozen, "TOKENS_CPU", budget)
    close(clf.predict_proba_members(texts), expected, tolerance)


@pytest.mark.parametrize("adapt_blocks", [None, 1])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rank": 2, "off_diagonals": 1},
        {"rank": 2, "direction_pool": 5},
        {"rank": 2, "off_diagonals": 1, "direction_pool": 5},
    ],
)
def test__routes__merged_and_factorised_agree(adapt_blocks, changes, make, texts, labels):
    clf = make(adapt_blocks=adapt_blocks, max_epochs=1, **changes).fit(texts, labels)
    data = TokenDataset([clf._tokenizer(text)["input_ids"] for text in texts], dtype=torch.float64)
    merged, thin = (predict_logits(clf.net_.module_, data, merge=m) for m in (True, False))
    close(merged, thin, 1e-9)
    close(softmax(merged, axis=-1), clf.predict_proba_members(texts), 1e-9)
    one = predict_logits(clf.net_.module_, data, members=[2], merge=False)
    close(one[0], thin[2], 1e-9)


def test__predict_proba__is_the_mean_of_the_members(either, texts):
    clf, _ = either
    members = clf.predict_proba_members(texts)
    assert members.shape == (3, 12, len(clf.classes_))
    assert np.ptp(members, axis=0).max() > 1e-4  # the members are not all one
    close(clf.predict_proba(texts), members.mean(axis=0), 1e-15)
    close(clf.predict_log_proba(texts), np.log(members.mean(axis=0)), 1e-12)


def test__uncertainty__follows_from_the_members(either, texts):
    clf, _ = either
    p = clf.predict_proba_members(texts)
    mean = p.mean(axis=0)
    u = clf.predict_uncertainty(texts)
    close(u.total, entr(mean).sum(axis=1), 1e-12)
    close(u.aleatoric, entr(p).sum(axis=2).mean(axis=0), 1e-12)
    close(u.total, u.aleatoric + u.epistemic, 1e-12)
    assert (u.epistemic >= 0).all()
    assert u.epistemic.max() > 0
    close(u.disagreement, (p.argmax(2) != mean.argmax(1)).mean(axis=0), 0)
    close(u.variance, p.var(axis=0).sum(axis=1), 1e-15)
    close(u.confidence, clf.predict_proba(texts).max(axis=1), 1e-15)
    with pytest.raises(AttributeError):
        u.total = 0


def test__uncertainty__of_one_member_is_all_aleatoric(make, texts, labels):
    clf = make(n_members=1, max_epochs=1).fit(texts, labels)
    u = clf.predict_uncertainty(texts)
    assert u.epistemic.tolist() == [0.0] * 12
    assert u.disagreement.tolist() == [0.0] * 12
    np.testing.assert_array_equal(u.total, u.aleatoric)
    # To the last bit but one: the mean of one member is renormalised once more.
    one = clf.predict_proba_members(texts)[0]
    np.testing.assert_allclose(one, clf.predict_proba(texts), rtol=1e-15, atol=0)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("adapt_blocks", [None, 1])
def test__empty_text__has_one_defined_answer(family, adapt_blocks, make, texts, labels):
    backbone = make_tiny_backbone(family)
    clf = make(backbone, max_epochs=1, adapt_blocks=adapt_blocks)
    clf.fit(["", *texts[1:]], labels)  # in fit, too
    alone = clf.predict_proba_members([""])
    assert np.isfinite(alone).all()
    among = clf.predict_proba_members(["", "good film", "", "  ", "\n"])
    for row in (0, 2, 3, 4):  # blanks have no token either
        close(among[:, row], alone[:, 0], 1e-9)


def test__odd_texts__have_finite_answers(fitted):
    odd = [
        "\x00",
        "😀" * 50,
        "İstanbul",
        "مرحبا",
        "a" * 300,
        "\u200b",
        "[PAD]",
        "[MASK] [SEP]",
        "é",
    ]
    with pytest.warns(UserWarning, match="max_length"):
        members = fitted.predict_proba_members(odd)
    assert np.isfinite(members).all()


def test__precision__of_float64_is_not_rounded_to_float32(make, fitted, texts, labels):
    module = fitted.net_.module_
    assert {p.dtype for p in module.parameters()} == {torch.float64}
    assert {b.dtype for b in module.buffers() if b.is_floating_point()} == {torch.float64}
    members = fitted.predict_proba_members(texts)
    rounded = members.astype(np.float32).astype(np.float64)
    assert np.abs(members - rounded).max() > 0
    single = make(precision="float32").fit(texts, labels).predict_proba_members(texts)
    assert 0 < np.abs(single - members).max() < 1e-3


def test__precision__of_bfloat16_is_near_float32(make, texts, labels):
    both = [make(precision=precision).fit(texts, labels) for precision in ("bfloat16", "float32")]
    half, full = (clf.predict_proba_members(texts) for clf in both)
    assert half.dtype == np.float64
    np.testing.assert_allclose(half.sum(axis=2), 1.0, rtol=0, atol=1e-15)
    assert 0 < np.abs(half - full).max() < 0.05
    # The weights themselves stay float32, or small steps would be lost.
    assert {p.dtype for p in both[0].net_.module_.parameters()} == {torch.float32}
    # Of one and the same members, by either route.
    data = TokenDataset(tokenize(both[1]._tokenizer, texts, 128))
    for merge in (True, False):
        module = both[1].net_.module_
        logits = predict_logits(module, data, autocast=torch.bfloat16, merge=merge)
        assert 0 < np.abs(softmax64(logits) - full).max() <= 0.05


def test__truncation__warns_with_the_share(make, texts, labels):
    from sksve import TruncationWarning

    # texts of 5 words and more have 7 tokens and more
    cut = sum(len(text.replace(",", " ,").split()) + 2 > 6 for text in texts)
    assert 0 < cut < 12
    words = rf"{cut} of 12 texts \({cut / 12:.1%}\) have more than max_length=6 tokens"
    with pytest.warns(TruncationWarning, match=words) as record:
        clf = make(max_length=6, max_epochs=1).fit(texts, labels)
    assert len(record) == 1
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        long = clf.predict_proba(["the story was great and very fun"])
    close(long, clf.predict_proba(["the story was great"]), 0)


def test__max_length__of_fit_holds_in_predict(make, texts, labels):
    clf = make(max_epochs=1).fit(texts, labels)
    before = clf.predict_proba(texts)
    clf.set_params(max_length=5)  # for the next fit
    np.testing.assert_array_equal(clf.predict_proba(texts), before)

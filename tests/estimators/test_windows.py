"""Long texts in windows: what one window at a time gives, whatever shares a batch."""

import numpy as np
import pytest
import torch

from sksve import NoveltyDetector, SVEClassifier
from sksve.backbones import make_tiny_backbone
from sksve.baselines import FineTunedClassifier, LinearProbeClassifier
from sksve.diagnostics import layer_diversity
from sksve.preprocessing import BackboneFeatures
from tests.making import LABELS, TEXTS, new

MIXED = [t if i % 3 else " ".join([t, *TEXTS[:i]]) for i, t in enumerate(TEXTS)]
SETTINGS = {
    "n_members": 3, "max_epochs": 2, "batch_size": 4, "max_length": 12, "precision": "float64",
    "random_state": 0, "long_texts": "windows",
}  # fmt: skip


def windows_of(tokenizer, text, length=12):
    """Windows of a text by hand: its tokens in steps of three quarters of the room."""
    begin, *ids, end = tokenizer(text)["input_ids"]
    room = length - 2
    step = room - room // 4
    starts = range(0, max(1, len(ids) - room // 4), step)
    return [[begin, *ids[s : s + room], end] for s in starts]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("bert", {}),
        ("bert", {"adapt_blocks": 1, "core": "full", "rank": 3, "optimizer": "muon"}),
        ("roberta", {"adapt_blocks": 1}),
    ],
)
def test_windows__members_average_the_logits_of_one_window_at_a_time(family, settings):
    pair = make_tiny_backbone(family)
    clf = new(SVEClassifier, pair, **SETTINGS | settings).fit(MIXED, LABELS)
    got = clf.predict_proba_members(MIXED)
    many = 0
    for k in range(3):
        member = clf.to_torch(k)  # a head is linear: the mean of logits is the logit of the mean
        for row, text in enumerate(MIXED):
            windows = windows_of(pair[1], text)
            many += len(windows) > 1
            with torch.no_grad():
                logits = torch.stack([member(torch.tensor([w]))[0] for w in windows]).mean(dim=0)
            np.testing.assert_allclose(got[k, row], logits.softmax(-1), rtol=0, atol=1e-12)
    assert many >= 9


def test_windows__no_row_sees_another_and_members_not_their_number():
    pair = make_tiny_backbone()
    clf = new(SVEClassifier, pair, **SETTINGS).fit(MIXED, LABELS)
    got = clf.predict_proba_members(MIXED)
    alone = np.concatenate([clf.predict_proba_members([text]) for text in MIXED], axis=1)
    np.testing.assert_allclose(alone, got, rtol=0, atol=1e-14)
    np.testing.assert_allclose(clf.predict_proba_members(MIXED[::-1])[:, ::-1], got, atol=1e-14)
    fewer = new(SVEClassifier, pair, **SETTINGS | {"n_members": 2}).fit(MIXED, LABELS)
    np.testing.assert_allclose(fewer.predict_proba_members(MIXED), got[:2], rtol=0, atol=1e-9)


def test_windows__short_texts_are_as_without(make, texts, labels):
    cut, whole = (
        make(max_length=90, long_texts=how).fit(texts, labels) for how in ("truncate", "windows")
    )
    np.testing.assert_array_equal(
        cut.predict_proba_members(texts), whole.predict_proba_members(texts)
    )


def test_windows__everything_else_goes_with_them(tmp_path, recwarn):
    pair = make_tiny_backbone()
    clf = new(SVEClassifier, pair, **SETTINGS).fit(MIXED, LABELS)
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path / "a"), backbone=pair)
    assert again.long_texts == "windows"
    np.testing.assert_array_equal(again.predict_proba(MIXED), clf.predict_proba(MIXED))
    assert np.isfinite(clf.predict_uncertainty(MIXED).novelty).all()
    assert layer_diversity(clf, MIXED).layers[-1] == "logits"
    tuned = new(FineTunedClassifier, pair, max_epochs=1, max_length=12, long_texts="windows")
    tuned.fit(MIXED, LABELS)
    np.testing.assert_allclose(
        tuned.predict_proba(MIXED[3:4]), tuned.predict_proba(MIXED)[3:4], atol=1e-6
    )
    features = BackboneFeatures(pair, max_length=12, long_texts="windows", precision="float64")
    vectors = features.fit_transform(MIXED)
    parts = BackboneFeatures(pair, precision="float64").fit(TEXTS)
    np.testing.assert_allclose(vectors[1], parts.transform([MIXED[1]])[0], rtol=0, atol=1e-12)
    detector = NoveltyDetector(pair, max_length=12, long_texts="windows").fit(MIXED)
    assert np.isfinite(detector.score_samples(MIXED)).all()
    probe = LinearProbeClassifier(pair, max_length=12, long_texts="windows").fit(MIXED, LABELS)
    assert np.isfinite(probe.predict_proba(MIXED)).all()
    assert not [w for w in recwarn if "were cut" in str(w.message)]


def test_windows__are_said_and_refused_where_they_do_nothing(capsys):
    pair = make_tiny_backbone()
    new(SVEClassifier, pair, **SETTINGS | {"max_epochs": 1, "verbose": 1}).fit(MIXED, LABELS)
    assert "tokens in windows of at most 12" in capsys.readouterr().out
    clf = new(SVEClassifier, pair, **SETTINGS, serializer="pair")
    with pytest.raises(ValueError, match="'text_pair': leave long_texts at 'truncate'"):
        clf.fit([[t, t] for t in TEXTS], LABELS)
    images = np.zeros((12, 28, 28, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="'image': leave long_texts"):
        new(SVEClassifier, make_tiny_backbone("vit"), **SETTINGS).fit(images, LABELS)
    with pytest.raises(ValueError, match="room for 1 tokens"):
        new(SVEClassifier, pair, **SETTINGS | {"max_length": 3}).fit(TEXTS, LABELS)
    with pytest.warns(UserWarning, match="were cut. long_texts='windows' reads all"):
        new(SVEClassifier, pair, **SETTINGS | {"long_texts": "truncate"}).fit(MIXED, LABELS)

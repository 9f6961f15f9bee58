"""Pairs of texts through the whole estimator, against transformers' own call of a pair."""

import numpy as np
import pandas as pd
import pytest
import torch

from sksve.backbones import make_tiny_backbone
from tests.private import TINY_FAMILIES, inference

SETTINGS = {"n_members": 2, "max_epochs": 1, "serializer": "pair"}
PAIRS = [
    ("good film", "bad film"),
    ("the story", "was great and very fun"),
    ("a best movie", "x"),
    ("dull", "no story, poor plot than never"),
] * 3


@pytest.mark.parametrize("adapt_blocks", [1, None])
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test__no_noise_no_training__is_the_model_on_the_tokenizers_pair(
    family, adapt_blocks, make, labels
):
    model, tokenizer = make_tiny_backbone(family)
    clf = make(
        (model, tokenizer), init_scale=0.0, lr=1e-300, head_lr=1e-300, adapt_blocks=adapt_blocks,
        pooling="mean", **SETTINGS,
    ).fit(PAIRS, labels)  # fmt: skip
    found = clf.predict_proba_members(PAIRS)
    head, double = clf.net_.module_.heads.weight, make_tiny_backbone(family)[0].double()
    for row, (first, second) in enumerate(PAIRS[:4]):
        with torch.no_grad():
            vector = double(**tokenizer(first, second, return_tensors="pt")).last_hidden_state[0]
            expected = torch.einsum("mcd,d->mc", head, vector.mean(0)).softmax(-1)
        np.testing.assert_allclose(found[:, row], expected, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def fitted_on_pairs(make, labels):
    return make(**SETTINGS).fit(PAIRS, labels)


@pytest.mark.parametrize("merge", [True, False])
def test__both_routes__know_the_token_types(merge, fitted_on_pairs, monkeypatch):
    expected = fitted_on_pairs.predict_proba(PAIRS)
    monkeypatch.setattr(inference, "merging_pays", lambda *a: merge)
    np.testing.assert_allclose(fitted_on_pairs.predict_proba(PAIRS), expected, rtol=0, atol=1e-12)
    swapped = [(b, a) for a, b in PAIRS]
    assert np.abs(fitted_on_pairs.predict_proba(swapped) - expected).max() > 1e-3


def test__forms__give_the_same(fitted_on_pairs, make, labels):
    expected = fitted_on_pairs.predict_proba(PAIRS)
    frame = pd.DataFrame(PAIRS, columns=["premise", "claim"])
    for X in (np.array(PAIRS), [list(p) for p in PAIRS], np.array(PAIRS, dtype=object)):
        np.testing.assert_array_equal(fitted_on_pairs.predict_proba(X), expected)
    clf = make(**SETTINGS).fit(frame, labels)
    assert (clf.input_kind_, clf.n_features_in_) == ("text_pair", 2)
    assert clf.feature_names_in_.tolist() == ["premise", "claim"]
    np.testing.assert_array_equal(clf.predict_proba(frame), expected)
    # Columns are found by name, so their order does not matter.
    np.testing.assert_array_equal(clf.predict_proba(frame[["claim", "premise"]]), expected)
    with pytest.raises(ValueError, match="premise"):
        clf.predict(frame.rename(columns={"premise": "other"}))


def test__order_and_padding__do_not_matter(fitted_on_pairs):
    long = [*PAIRS, ("fun " * 30, "dull " * 20)]
    expected = fitted_on_pairs.predict_proba(PAIRS)
    np.testing.assert_allclose(fitted_on_pairs.predict_proba(long)[:12], expected, atol=1e-9)
    np.testing.assert_allclose(
        fitted_on_pairs.predict_proba(PAIRS[::-1])[::-1], expected, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (["a", "b"], "serializer='pair' X must have two columns"),
        ([("a", None), ("b", "c")], "row 0, column 1 is None"),
        ([("a", "b", "c")] * 2, r"Got shape \(2, 3\)"),
    ],
)
def test__bad_pairs__are_named_before_loading(X, words, make, fitted_on_pairs, no_loading):
    with pytest.raises(ValueError, match=words):
        make(**SETTINGS).fit(X, [0, 1])
    with pytest.raises(ValueError, match=words):
        fitted_on_pairs.predict(X)


def test__other_words_for_a_serializer__are_refused(make):
    with pytest.raises(ValueError, match="'serializer' parameter"):
        make(serializer="pairs").fit(PAIRS, [0, 1] * 6)
    with pytest.raises(ValueError, match="'text_pair', but 'ViTModel' is a vision backbone"):
        make(make_tiny_backbone("vit"), serializer="pair").fit(PAIRS, [0, 1] * 6)

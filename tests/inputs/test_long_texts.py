"""Very long texts: the tokens a tokenizer's own truncation gives, without the memory it takes."""

import resource
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksve import TruncationWarning
from sksve.backbones import TINY_FAMILIES, load_backbone, make_tiny_backbone, resolve_backbone
from sksve.inputs import _tokenize, tokenize, tokenize_pairs

WORDS = st.lists(
    st.sampled_from(["good", "film", "ab", "ü", "\U0001f600", " ", "a" * 300, "!"]), max_size=40
)
TEXTS = WORDS.map(" ".join)


@pytest.fixture(scope="module", params=TINY_FAMILIES)
def tokenizer(request):
    return load_backbone(resolve_backbone(make_tiny_backbone(request.param))).processor


def both_ways(call, *args):
    """As the tokenizer cuts, and as we do."""
    found = []
    for most in (10**9, -1):
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            patch.setattr(_tokenize, "MOST_CHARACTERS", most)
            patch.setattr(_tokenize, "MOST_PIECES", most)
            found.append(call(*args))
    return found


@settings(max_examples=10)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), length=st.integers(3, 40))
def test_texts__are_cut_as_the_tokenizer_cuts(tokenizer, texts, length):
    theirs, ours = both_ways(tokenize, tokenizer, texts, length)
    assert ours == theirs


@settings(max_examples=12)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), length=st.integers(5, 40))
def test_pairs__are_cut_as_the_tokenizer_cuts(tokenizer, pairs, length):
    theirs, ours = both_ways(tokenize_pairs, tokenizer, pairs, length)
    assert ours == theirs


def test_long_and_short_rows__keep_their_places(tokenizer):
    texts = ["good", "film " * 5000, "bad", "good " * 5000, ""]
    with pytest.warns(TruncationWarning, match="2 of 5"):
        found = tokenize(tokenizer, texts, 12)
    assert found == [tokenize(tokenizer, [text], 12, warn=False)[0] for text in texts]
    with pytest.warns(TruncationWarning, match="2 of 5"):
        ids, _ = tokenize_pairs(tokenizer, [(t, "x") for t in texts], 12)
    assert [len(row) for row in ids][1] == 12


def test_pair_of_megabytes__fits_into_memory():
    """The tokenizer's own truncation takes more than 8 GB here."""
    tokenizer = load_backbone(resolve_backbone(make_tiny_backbone())).processor
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pair = ("good film " * 50_000, "bad " * 125_000)
    ids, types = tokenize_pairs(tokenizer, [pair], 16, warn=False)
    assert len(ids[0]) == len(types[0]) == 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


def test_pairs__of_many_pieces_are_cut_here_too(tokenizer, monkeypatch):
    """Cut to few tokens, texts of 500 words leave a quarter of a million combinations of pieces."""
    pair, given = ("good bad " * 250, "film fun " * 250), []
    encode = _tokenize._encode
    monkeypatch.setattr(
        _tokenize, "_encode", lambda t, rows, *a: given.extend(rows) or encode(t, rows, *a)
    )
    length = 2 + tokenizer.num_special_tokens_to_add(pair=True)
    found = tokenize_pairs(tokenizer, [pair, ("good", "film")], length, warn=False)
    assert given == [("", ""), ("good", "film")]
    expected = tokenize_pairs(tokenizer, [("good", "film")] * 2, length, warn=False)
    assert found[0][1] == expected[0][1]
    assert found[0][0][:2] == expected[0][0][:2]
    assert len(found[0][0]) == length

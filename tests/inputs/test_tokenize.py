"""Token ids of texts and pairs: cut with a warning, never empty, never padded; of any length."""

import resource
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksve import TruncationWarning
from sksve.backbones import make_tiny_backbone
from sksve.inputs import check_max_length, tokenize, tokenize_pairs
from tests.private import TINY_FAMILIES

PAIRS = [("good film", "bad"), ("a", "the plot of that story, in 3 words"), ("", "worst"), ("", "")]


@pytest.fixture(scope="module", params=TINY_FAMILIES)
def tokenizer(request):
    return make_tiny_backbone(request.param, n_blocks=1)[1]


def words(n):
    return " ".join(["fun"] * n)


def test__tokenize__gives_the_tokenizer_s_own_ids(tokenizer):
    texts = ["good film", words(40), "a"]
    ids = tokenize(tokenizer, texts, 128)
    assert ids == [tokenizer(text)["input_ids"] for text in texts]
    assert all(type(i) is int for row in ids for i in row)


@pytest.mark.parametrize("beyond", [-1, 0, 1, 5])
def test__tokenize__cuts_and_warns_beyond_max_length_only(tokenizer, beyond):
    special = len(tokenizer("")["input_ids"])
    text = words(10 - special + beyond)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        ids = tokenize(tokenizer, ["a", text, text], 10)
    assert len(ids[1]) == min(10 + beyond, 10)
    if beyond <= 0:
        assert record == []
    else:
        assert record[0].category is TruncationWarning
        assert "2 of 3 texts (66.7%) have more than max_length=10" in str(record[0].message)


def test__tokenize__keeps_the_special_tokens_of_a_cut_text():
    tokenizer = make_tiny_backbone("bert", n_blocks=1)[1]
    ids = tokenize(tokenizer, [words(50)], 5, warn=False)[0]
    assert ids[0] == tokenizer.cls_token_id
    assert ids[-1] == tokenizer.sep_token_id


def test__tokenize__is_silent_on_request(tokenizer):
    assert len(tokenize(tokenizer, [words(50)], 5, warn=False)[0]) == 5


def test__tokenize__gives_an_empty_text_one_token_at_least(tokenizer):
    ids = tokenize(tokenizer, ["", "good", " "], 16)
    assert all(ids)
    assert ids[0] == ids[2]


def test__tokenize__does_not_remember_a_former_max_length(tokenizer):
    before = tokenize(tokenizer, [words(20)], 128)
    tokenize(tokenizer, [words(20)], 4, warn=False)
    assert tokenize(tokenizer, [words(20)], 128) == before


def test__check_max_length__compares_with_the_positions():
    check_max_length(128, 128, "b")
    check_max_length(10**6, None, "b")
    with pytest.raises(ValueError, match=r"at most 128.*'b'\. Got 129"):
        check_max_length(129, 128, "b")


# -- pairs ---------------------------------------------------------------------------------------


def test_tokenize_pairs__is_the_tokenizers_own_call(tokenizer):
    ids, types = tokenize_pairs(tokenizer, PAIRS, 128)
    typed = "token_type_ids" in tokenizer.model_input_names
    for row, (first, second) in enumerate(PAIRS):
        # As a batch: a lone ("", "") would be taken for a single text.
        expected = {name: rows[0] for name, rows in tokenizer([first], [second]).items()}
        assert ids[row] == (expected["input_ids"] or [tokenizer.eos_token_id])
        if typed:
            assert types[row] == expected["token_type_ids"]
    assert typed or types is None
    if typed:
        assert sum(types[1]) > 5


def test_tokenize_pairs__cuts_the_longer_text_and_says_so():
    tokenizer = make_tiny_backbone("bert", n_blocks=1)[1]
    pairs = [("good film", "fun " * 9), ("a", "b")]
    with pytest.warns(TruncationWarning, match=r"1 of 2 pairs of texts \(50.0%\).*max_length=9"):
        ids, types = tokenize_pairs(tokenizer, pairs, 9)
    assert tokenizer.decode(ids[0]) == "[CLS] good film [SEP] fun fun fun fun [SEP]"
    assert types[0] == [0] * 4 + [1] * 5
    tokenize_pairs(tokenizer, [("good", "fun " * 6)], 10)  # just fits: no warning
    with pytest.raises(ValueError, match="more than 3, the number of special tokens"):
        tokenize_pairs(tokenizer, pairs, 3)


# -- very long texts: the tokens of the tokenizer's own truncation, without the memory it takes ---

WORDS = st.lists(
    st.sampled_from(["good", "film", "ab", "ü", "\U0001f600", " ", "a" * 300, "!"]), max_size=40
)
TEXTS = WORDS.map(" ".join)


def both_ways(call, *args):
    """As the tokenizer cuts, and as we do."""
    found = []
    for most in (10**9, -1):
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            patch.setattr("sksve.inputs._tokenize.MOST_CHARACTERS", most)
            patch.setattr("sksve.inputs._tokenize.MOST_PIECES", most)
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
    tokenizer = make_tiny_backbone(n_blocks=1)[1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pair = ("good film " * 50_000, "bad " * 125_000)
    ids, types = tokenize_pairs(tokenizer, [pair], 16, warn=False)
    assert len(ids[0]) == len(types[0]) == 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


class Spied:
    """A tokenizer that remembers what it was to truncate."""

    def __init__(self, tokenizer):
        self._tokenizer, self.truncated = tokenizer, []

    def __call__(self, first, second, **options):
        if options["truncation"]:
            self.truncated += zip(first, second)
        return self._tokenizer(first, second, **options)

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)


def test_pairs__of_many_pieces_are_cut_here_too(tokenizer):
    """Cut to few tokens, texts of 500 words leave a quarter of a million combinations of pieces."""
    pair, short = ("good bad " * 250, "film fun " * 250), ("good", "film")
    length = 2 + tokenizer.num_special_tokens_to_add(pair=True)
    spied = Spied(tokenizer)
    cut = tokenize_pairs(spied, [pair, short], length, warn=False)
    assert spied.truncated == [("", ""), short]
    expected = tokenize_pairs(tokenizer, [short] * 2, length, warn=False)
    assert cut[0][1] == expected[0][1]
    assert cut[0][0][:2] == expected[0][0][:2]
    assert len(cut[0][0]) == length

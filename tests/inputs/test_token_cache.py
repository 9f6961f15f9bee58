"""Texts are tokenised once, and the second answer is the first one, warning included."""

import tracemalloc
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve import TruncationWarning
from sksve.backbones import load_backbone, make_tiny_backbone, resolve_backbone
from sksve.inputs import _tokenize as module
from sksve.inputs import tokenize
from sksve.inputs._token_cache import FEWEST, TokenCache, token_cache

TEXTS = [f"a good film number {i}" for i in range(FEWEST)]


@pytest.fixture(autouse=True)
def empty_cache():
    token_cache.clear()
    yield
    token_cache.clear()


@pytest.fixture
def encoded(monkeypatch):
    """Texts handed to the tokenizer, call by call."""
    calls = []
    original = module._encode

    def counted(tokenizer, texts, max_length):
        calls.append(len(texts))
        return original(tokenizer, texts, max_length)

    monkeypatch.setattr(module, "_encode", counted)
    return calls


def new_tokenizer(family="bert"):
    return load_backbone(resolve_backbone(make_tiny_backbone(family))).processor


def test_tokenize__again_by_another_copy_of_the_tokenizer_is_free(encoded):
    first = tokenize(new_tokenizer(), TEXTS, 64)
    n = len(encoded)
    assert tokenize(new_tokenizer(), list(TEXTS), 64) == first
    assert len(encoded) == n


@pytest.mark.parametrize(
    ("family", "texts", "max_length"),
    [("bert", TEXTS[::-1], 64), ("bert", TEXTS, 63), ("gpt2", TEXTS, 64)],
    ids=["texts", "length", "tokenizer"],
)
def test_tokenize__what_differs_is_tokenised(encoded, family, texts, max_length):
    tokenize(new_tokenizer(), TEXTS, 64)
    n = len(encoded)
    tokenize(new_tokenizer(family), texts, max_length)
    assert len(encoded) > n


def test_tokenize__the_cut_is_told_each_time():
    expected = None
    for _ in range(2):
        with pytest.warns(TruncationWarning, match="256 of 256") as told:
            ids = tokenize(new_tokenizer(), TEXTS, 4)
        expected = expected or ids
        assert ids == expected
        assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenize(new_tokenizer(), TEXTS, 4, warn=False)


def test_tokenize__few_texts_are_not_kept():
    tokenize(new_tokenizer(), TEXTS[:-1], 64)
    assert len(token_cache) == 0


def test_cache__is_bounded_and_forgets_the_oldest():
    cache = TokenCache(max_tokens=7)
    for name in "abc":
        cache.put(name, ([[1, 2]], 0))  # two tokens, one text
    assert [cache.get(k) is not None for k in "abc"] == [False, True, True]
    cache.put("d", ([[1] * 7], 0))
    assert cache.get("d") is None
    cache.put("e", ([[]] * 8, 0))
    assert cache.get("e") is None


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=9), st.integers(0, 9))
def test_cache__gives_back_what_it_was_given(ids, n_cut):
    cache = TokenCache()
    cache.put("a", (ids, n_cut))
    first = cache.get("a")
    assert first == (ids, n_cut)
    first[0].append([1])  # a copy of its own for each who asks
    assert cache.get("a") == (ids, n_cut)


def test_cache__takes_few_bytes_a_token():
    cache = TokenCache()
    tracemalloc.start()
    try:
        for k in range(40):  # 1000 texts of ten tokens of a large vocabulary each
            cache.put(str(k), ([[30_000 + k + i for i in range(10)] for _ in range(1000)], 0))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(cache) == 40
    assert kept < 1.2 * 4 * 40 * 11_000


def test_cache__unused__keeps_and_finds_nothing(encoded):
    tokenizer = new_tokenizer()
    with token_cache.unused():
        tokenize(tokenizer, TEXTS, 64)
    assert len(token_cache) == 0
    tokenize(tokenizer, TEXTS, 64)
    n = len(encoded)
    with token_cache.unused():
        tokenize(tokenizer, TEXTS, 64)
    assert len(encoded) > n
    assert len(token_cache) == 1

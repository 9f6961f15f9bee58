"""Token ids: cut with a warning, never empty, never padded."""

import warnings

import pytest

from sksve import TruncationWarning
from sksve.backbones import load_backbone, make_tiny_backbone, resolve_backbone
from sksve.inputs import check_max_length, tokenize


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def tokenizer(request):
    return load_backbone(resolve_backbone(make_tiny_backbone(request.param))).processor


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
    tokenizer = load_backbone(resolve_backbone(make_tiny_backbone("bert"))).processor
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

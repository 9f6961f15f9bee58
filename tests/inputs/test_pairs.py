"""Two columns of texts as the tokenizer's own pair."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sksve import TruncationWarning
from sksve.backbones import TINY_FAMILIES, make_tiny_backbone
from sksve.inputs import read_rows, tokenize_pairs

PAIRS = [("good film", "bad"), ("a", "the plot of that story, in 3 words"), ("", "worst"), ("", "")]
FORMS = {
    "tuples": lambda p: p,
    "lists": lambda p: [list(pair) for pair in p],
    "array": np.array,
    "object-array": lambda p: np.array(p, dtype=object),
    "pandas": lambda p: pd.DataFrame(p, columns=["a", "b"]),
    "polars": lambda p: pl.DataFrame(p, schema=["a", "b"], orient="row"),
}


@pytest.mark.parametrize("form", FORMS)
def test_read_pairs__reads_the_same_from_every_form(form):
    rows = read_rows(FORMS[form](PAIRS), pairs=True)
    assert (rows.kind, len(rows)) == ("text_pair", 4)
    assert rows.rows == PAIRS
    assert all(type(text) is str for pair in rows.rows for text in pair)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (["a", "b"], r"two columns of texts.*Got shape \(2,\)"),
        ("ab", "two columns of texts.*Got str"),
        ([("a", "b", "c")], r"Got shape \(1, 3\)"),
        (np.zeros((2, 3)), r"Got shape \(2, 3\)"),
        ([("a", "b"), ("c", None)], "missing text: row 1, column 1 is None"),
        (pd.DataFrame({"a": ["x", np.nan], "b": ["y", "z"]}), "missing text: row 1, column 0"),
        ([("a", "b"), (3, "c")], "Row 1, column 0 is int"),
        (np.zeros((2, 2)), "Row 0, column 0 is float"),
        ([("a", "half a \ud83d")], "row 0, column 1 of X is broken"),
        (np.empty((0, 2), dtype=object), r"0 sample\(s\)"),
    ],
)
def test_read_pairs__names_the_fault(X, words):
    with pytest.raises(ValueError, match=words):
        read_rows(X, pairs=True)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_tokenize_pairs__is_the_tokenizers_own_call(family):
    tokenizer = make_tiny_backbone(family, n_blocks=1)[1]
    ids, types = tokenize_pairs(tokenizer, PAIRS, 128)
    typed = "token_type_ids" in tokenizer.model_input_names
    assert typed == (family in ("bert", "electra"))
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

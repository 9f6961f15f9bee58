"""Pairs of texts: two columns that a tokenizer takes as first and second segment."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sksve._exceptions import TruncationWarning
from sksve._forks import lock_of
from sksve.inputs._kinds import Samples, checked_texts, column_of, index_of, shape_of
from sksve.inputs._long_texts import encode_long, has_many_pieces, is_long
from sksve.inputs._tokenize import blank_token

__all__ = ["read_pairs", "tokenize_pairs"]


def read_pairs(X: Any) -> Samples:
    """Read a 2-D X of two columns of texts.

    Parameters
    ----------
    X : DataFrame, ndarray of shape (n, 2), or list of pairs

    Returns
    -------
    Samples
        Of kind "text_pair"; its ``texts`` are tuples of two str.

    Raises
    ------
    ValueError
        If `X` has not two columns, is empty, or holds a cell that is no text (the message names row
        and column).
    """
    shape = None if isinstance(X, (str, bytes)) else shape_of(X)
    if shape is None or len(shape) != 2 or shape[1] != 2:
        got = f"{type(X).__name__}" if shape is None else f"shape {shape}"
        raise ValueError(
            "With serializer='pair' X must have two columns of texts: a table of shape (n, 2), or a "
            f"list of (str, str). Got {got} instead."
        )
    if shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )
    first, second = (checked_texts(_column(X, j), f", column {j}") for j in (0, 1))
    return Samples("text_pair", shape[0], list(zip(first, second)), index_of(X))


def _column(X: Any, j: int) -> list[Any]:
    cells = column_of(X, j)
    return np.asarray(X)[:, j].tolist() if cells is None else cells


def tokenize_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], max_length: int, *, warn: bool = True
) -> tuple[list[list[int]], list[list[int]] | None]:
    """Token ids and token types of each pair, special tokens included.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        Called as ``tokenizer(first, second, truncation="longest_first")``.
    pairs : sequence of (str, str)
    max_length : int
        Longer pairs are cut, token by token from the longer of the two texts.
    warn : bool, default=True
        Say which share of the pairs was cut.

    Returns
    -------
    ids : list of list of int
        Each at least one token long.
    types : list of list of int, or None
        Segment of each token; None if the tokenizer knows no token types.

    Raises
    ------
    ValueError
        If `max_length` leaves no room beside the special tokens.

    Warns
    -----
    TruncationWarning
        If any pair was cut.
    """
    special = int(tokenizer.num_special_tokens_to_add(pair=True))
    if max_length <= special:
        raise ValueError(
            f"The 'max_length' parameter must be more than {special}, the number of special tokens "
            f"around a pair of texts. Got {max_length!r} instead."
        )
    typed = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
    room = max_length - special
    rows = [row for row, pair in enumerate(pairs) if is_long(*pair) or has_many_pieces(*pair, room)]
    long_rows = encode_long(tokenizer, [pairs[row] for row in rows], max_length) if rows else None
    short = list(pairs)
    for row in rows if long_rows else ():
        short[row] = ("", "")
    done = _encode(tokenizer, short, max_length, typed)
    ids, types = done["input_ids"], done["token_type_ids"] if typed else None
    for row, (tokens, its_types) in zip(rows, long_rows or ()):
        ids[row] = tokens
        if types is not None:
            types[row] = its_types
    full = [row for row, tokens in enumerate(ids) if len(tokens) >= max_length]
    if warn and full:
        long = _encode(tokenizer, [pairs[row] for row in full], None, False)["input_ids"]
        n_cut = sum(len(tokens) > max_length for tokens in long)
        if n_cut:
            warnings.warn(
                f"{n_cut} of {len(pairs)} pairs of texts ({n_cut / len(pairs):.1%}) have more than "
                f"max_length={max_length} tokens and were cut.",
                TruncationWarning,
                stacklevel=2,
            )
    if not all(ids):
        blank = blank_token(tokenizer)
        ids = [tokens or [blank] for tokens in ids]
        types = None if types is None else [t or [0] for t in types]
    return ids, types


def _encode(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], max_length: int | None, typed: bool
) -> Any:
    first, second = (list(texts) for texts in zip(*pairs))
    with lock_of(tokenizer):
        return tokenizer(
            first,
            second,
            add_special_tokens=True,
            padding=False,
            truncation="longest_first" if max_length is not None else False,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=typed,
            verbose=False,
        )

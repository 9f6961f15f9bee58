"""Texts to token ids: truncated with a warning, never empty, never padded."""

import warnings
from collections.abc import Sequence
from typing import Any

from sksve._exceptions import TruncationWarning
from sksve._forks import lock_of
from sksve.inputs._long_texts import encode_long, is_long
from sksve.inputs._token_cache import token_cache

__all__ = ["blank_token", "max_tokens", "tokenize"]


def max_tokens(max_length: int, max_positions: int | None, backbone: str) -> int:
    """Check `max_length` against the model.

    Raises
    ------
    ValueError
        If the model has fewer positions.
    """
    if max_positions is not None and max_length > max_positions:
        raise ValueError(
            f"The 'max_length' parameter must be at most {max_positions}, the number of positions of "
            f"backbone {backbone!r}. Got {max_length!r} instead."
        )
    return max_length


def tokenize(
    tokenizer: Any, texts: Sequence[str], max_length: int, *, warn: bool = True
) -> list[list[int]]:
    """Token ids of each text, special tokens included.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        A private copy: truncation settings may be left in it.
    texts : sequence of str
    max_length : int
        Longer texts are cut.
    warn : bool, default=True
        Say which share of the texts was cut.

    Returns
    -------
    list of list of int
        Each at least one token long: a text without any token (possible where a tokenizer adds no
        special tokens) becomes the tokenizer's end, start, or padding token.

    Warns
    -----
    TruncationWarning
        If any text was cut.
    """
    key = token_cache.key(tokenizer, texts, max_length)
    found = None if key is None else token_cache.get(key)
    if found is None:
        ids = _encode_cut(tokenizer, list(texts), max_length)
        # Only texts of exactly max_length tokens can have been cut: count those again in full.
        full = [row for row, tokens in enumerate(ids) if len(tokens) >= max_length]
        long = _encode(tokenizer, [texts[row] for row in full], None) if full else []
        found = ids, sum(len(tokens) > max_length for tokens in long)
        if key is not None:
            token_cache.put(key, found)
    ids, n_cut = found
    if warn and n_cut:
        warnings.warn(
            f"{n_cut} of {len(texts)} texts ({n_cut / len(texts):.1%}) have more than "
            f"max_length={max_length} tokens and were cut.",
            TruncationWarning,
            stacklevel=2,
        )
    if not all(ids):
        blank = blank_token(tokenizer)
        ids = [tokens or [blank] for tokens in ids]
    return ids


def _encode_cut(tokenizer: Any, texts: list[str], max_length: int) -> list[list[int]]:
    """Encode all texts, very long ones in their own way."""
    rows = [row for row, text in enumerate(texts) if is_long(text)]
    long = encode_long(tokenizer, [(texts[row],) for row in rows], max_length) if rows else None
    if not long:
        return _encode(tokenizer, texts, max_length)
    for row in rows:
        texts[row] = ""
    ids = _encode(tokenizer, texts, max_length)
    for row, (tokens, _) in zip(rows, long):
        ids[row] = tokens
    return ids


def _encode(tokenizer: Any, texts: list[str], max_length: int | None) -> list[list[int]]:
    with lock_of(tokenizer):
        return tokenizer(
            texts,
            add_special_tokens=True,
            padding=False,
            truncation=max_length is not None,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]


def blank_token(tokenizer: Any) -> int:
    """Return the token that stands for a text without any."""
    for name in ("eos_token_id", "bos_token_id", "pad_token_id", "unk_token_id"):
        token = getattr(tokenizer, name, None)
        if token is not None:
            return int(token)
    return 0

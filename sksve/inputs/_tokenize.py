"""Texts and pairs of texts to token ids: truncated with a warning, never empty, never padded.

Very long rows are cut here: the tokenizers library keeps all that it cuts off, in pieces as long as what
it keeps, and of a pair every combination of the pieces of both texts. Two texts of a megabyte fill any
memory.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from sksve._exceptions import TruncationWarning
from sksve._forks import lock_of

MOST_CHARACTERS = 20_000
MOST_PIECES = 1000

Tokens = tuple[list[list[int]], list[list[int]] | None]


def check_max_length(max_length: int, max_positions: int | None, backbone: str) -> None:
    """Check that the model has as many positions as the longest text may have tokens."""
    if max_positions is not None and max_length > max_positions:
        raise ValueError(
            f"The 'max_length' parameter must be at most {max_positions}, the number of positions of "
            f"backbone {backbone!r}. Got {max_length!r} instead."
        )


def tokenize(
    tokenizer: Any, texts: Sequence[str], max_length: int, *, warn: bool = True
) -> list[list[int]]:
    """Token ids of each text, special tokens included, cut to `max_length` with a TruncationWarning.

    A text without any token (possible where a tokenizer adds no special tokens) becomes the tokenizer's
    end, start, or padding token. The tokenizer is a private copy: truncation settings may be left in it.
    """
    return _tokenize(tokenizer, [(text,) for text in texts], max_length, warn=warn)[0]


def tokenize_windows(
    tokenizer: Any, texts: Sequence[str], max_length: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of each text's windows end to end, and the number of each token's window, from 1.

    A window has at most `max_length` tokens, special tokens included, and begins with the last quarter of
    the window before. ValueError if `max_length` leaves no room beside the special tokens, or the tokenizer
    cannot make windows.
    """
    room = max_length - int(tokenizer.num_special_tokens_to_add())
    if room < 2 or not getattr(tokenizer, "is_fast", False):
        cause = (
            f"max_length={max_length} leaves room for {room} tokens beside the special ones"
            if room < 2
            else f"{type(tokenizer).__name__} is no tokenizer of the tokenizers library"
        )
        raise ValueError(f"long_texts='windows' cannot be had: {cause}. Use 'truncate'.")
    with lock_of(tokenizer):
        done = tokenizer(
            list(texts),
            padding=False, truncation=True, max_length=max_length, stride=room // 4,
            return_overflowing_tokens=True, return_attention_mask=False, verbose=False,
        )  # fmt: skip
    ids: list[list[int]] = [[] for _ in texts]
    numbers: list[list[int]] = [[] for _ in texts]
    for row, window in zip(done["overflow_to_sample_mapping"], done["input_ids"]):
        window = window or ([] if ids[row] else [_blank_token(tokenizer)])
        numbers[row] += [1 + (numbers[row][-1] if numbers[row] else 0)] * len(window)
        ids[row] += window
    return ids, numbers


def tokenize_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], max_length: int, *, warn: bool = True
) -> Tokens:
    """Token ids and types of each pair, as :func:`tokenize`; types are None if the tokenizer knows none.

    Longer pairs are cut token by token from the longer of the two texts. ValueError if `max_length` leaves no
    room beside the special tokens.
    """
    special = int(tokenizer.num_special_tokens_to_add(pair=True))
    if max_length <= special:
        raise ValueError(
            f"The 'max_length' parameter must be more than {special}, the number of special tokens "
            f"around a pair of texts. Got {max_length!r} instead."
        )
    typed = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
    return _tokenize(
        tokenizer, list(pairs), max_length, warn=warn, typed=typed, room=max_length - special
    )


def _tokenize(
    tokenizer: Any,
    rows: Sequence[tuple[str, ...]],
    max_length: int,
    *,
    warn: bool,
    typed: bool = False,
    room: int | None = None,
) -> Tokens:
    """Token ids and types of rows of one text or of two."""
    long = [i for i, row in enumerate(rows) if _is_long(row, room)]
    cut_here = _encode_long(tokenizer, [rows[i] for i in long], max_length) if long else None
    short = list(rows)
    for i in long if cut_here else ():
        short[i] = ("",) * len(rows[i])
    done = _encode(tokenizer, short, max_length, typed)
    ids, types = done["input_ids"], done["token_type_ids"] if typed else None
    for i, (its_ids, its_types) in zip(long, cut_here or ()):
        ids[i] = its_ids
        if types is not None:
            types[i] = its_types
    if warn:
        _warn_of_cuts(tokenizer, rows, ids, max_length)
    if not all(ids):
        blank = _blank_token(tokenizer)
        ids = [tokens or [blank] for tokens in ids]
        types = None if types is None else [t or [0] for t in types]
    return ids, types


def _warn_of_cuts(
    tokenizer: Any, rows: Sequence[tuple[str, ...]], ids: list[list[int]], max_length: int
) -> None:
    # Only rows of exactly max_length tokens can have been cut: count those again in full.
    full = [row for row, tokens in zip(rows, ids) if len(tokens) >= max_length]
    whole = _encode(tokenizer, full, None, False)["input_ids"] if full else []
    n_cut = sum(len(tokens) > max_length for tokens in whole)
    if n_cut:
        what = "texts" if len(rows[0]) == 1 else "pairs of texts"
        warnings.warn(
            f"{n_cut} of {len(rows)} {what} ({n_cut / len(rows):.1%}) have more than "
            f"max_length={max_length} tokens and were cut. long_texts='windows' reads all of a text.",
            TruncationWarning,
            stacklevel=4,
        )


def _encode(
    tokenizer: Any, rows: Sequence[tuple[str, ...]], max_length: int | None, typed: bool
) -> Any:
    columns = [list(texts) for texts in zip(*rows)]
    with lock_of(tokenizer):
        return tokenizer(
            *columns,
            add_special_tokens=True,
            padding=False,
            truncation="longest_first" if max_length is not None else False,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=typed,
            verbose=False,
        )


def _blank_token(tokenizer: Any) -> int:
    for name in ("eos_token_id", "bos_token_id", "pad_token_id", "unk_token_id"):
        token = getattr(tokenizer, name, None)
        if token is not None:
            return int(token)
    return 0


# -- very long rows ------------------------------------------------------------------------------


def _is_long(row: tuple[str, ...], room: int | None) -> bool:
    """Whether to cut a row here; `room` is the number of tokens left for a pair."""
    if sum(map(len, row)) > MOST_CHARACTERS:
        return True
    return room is not None and has_many_pieces(row[0], row[1], room)


def has_many_pieces(first: str, second: str, room: int) -> bool:
    """Whether a pair, cut by the library, could leave more than a thousand combinations of pieces.

    >>> has_many_pieces("good " * 20, "bad " * 20, 2), has_many_pieces("good " * 20, "bad " * 20, 125)
    (True, False)
    """
    return (len(first) // room + 1) * (len(second) // room + 1) > MOST_PIECES


def longest_first(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts stay, as ``truncation="longest_first"`` has it.

    >>> longest_first(100, 3, 10), longest_first(100, 99, 10), longest_first(4, 5, 10)
    ((7, 3), (5, 5), (4, 5))
    """
    short, long = sorted((n_first, n_second))
    if short + long > room:
        long = max(short, room - short)
        if short + long > room:
            short, long = room // 2, room - room // 2
    return (short, long) if n_first <= n_second else (long, short)


def _encode_long(
    tokenizer: Any, rows: Sequence[tuple[str, ...]], max_length: int
) -> list[tuple[list[int], list[int]]] | None:
    """Token ids and types; None from a tokenizer written in Python: no word on whose a token is."""
    encoded = []
    for row in rows:  # one at a time: each may take a hundred megabytes
        with lock_of(tokenizer):
            # A batch of one: given alone, an empty second text would be taken for none.
            done = tokenizer(
                *([text] for text in row),
                add_special_tokens=True, padding=False, truncation=False, verbose=False,
            )  # fmt: skip
        if not getattr(done, "encodings", None):
            return None
        encoded.append(_cut(done.encodings[0], max_length))
    return encoded


def _cut(encoding: Any, max_length: int) -> tuple[list[int], list[int]]:
    ids, types, of_text = encoding.ids, encoding.type_ids, encoding.sequence_ids
    if len(ids) <= max_length:
        return ids, types
    counts = of_text.count(0), of_text.count(1)
    left = list(longest_first(*counts, max(0, max_length - (len(ids) - sum(counts)))))
    kept = []
    for position, text in enumerate(of_text):
        if text is None:
            kept.append(position)
        elif left[text]:
            left[text] -= 1
            kept.append(position)
    return [ids[p] for p in kept], [types[p] for p in kept]

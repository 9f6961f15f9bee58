"""Very long texts to token ids: cut here, for the tokenizers' own way of cutting takes memory without end.

The tokenizers library keeps all that it cuts off, in pieces as long as what it keeps; of a pair, every
combination of the pieces of both texts: two texts of a megabyte fill any memory.
"""

from collections.abc import Sequence
from typing import Any

from sksve._forks import lock_of

__all__ = ["encode_long", "has_many_pieces", "is_long", "longest_first"]

MOST_CHARACTERS = 20_000
MOST_PIECES = 1000


def is_long(*texts: str) -> bool:
    """Whether texts, together one row, are to be cut here."""
    return sum(map(len, texts)) > MOST_CHARACTERS


def has_many_pieces(first: str, second: str, room: int) -> bool:
    """Whether a pair, cut by the library, could leave more than a thousand combinations of pieces.

    Examples
    --------
    >>> from sksve.inputs._long_texts import has_many_pieces
    >>> has_many_pieces("good " * 20, "bad " * 20, 2), has_many_pieces("good " * 20, "bad " * 20, 125)
    (True, False)
    """
    return (len(first) // room + 1) * (len(second) // room + 1) > MOST_PIECES


def longest_first(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts stay, as ``truncation="longest_first"`` has it.

    Parameters
    ----------
    n_first, n_second : int
        Tokens of the two texts.
    room : int
        Tokens that may stay, special ones not counted.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> from sksve.inputs._long_texts import longest_first
    >>> longest_first(100, 3, 10), longest_first(100, 99, 10), longest_first(4, 5, 10)
    ((7, 3), (5, 5), (4, 5))
    """
    short, long = sorted((n_first, n_second))
    if short + long > room:
        long = max(short, room - short)
        if short + long > room:
            short, long = room // 2, room - room // 2
    return (short, long) if n_first <= n_second else (long, short)


def encode_long(
    tokenizer: Any, rows: Sequence[tuple[str, ...]], max_length: int
) -> list[tuple[list[int], list[int]]] | None:
    """Token ids and token types of long texts or pairs, at most `max_length` of each.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    rows : sequence of (str,) or of (str, str)
    max_length : int

    Returns
    -------
    list of (ids, types), or None
        None: the tokenizer does not tell which text a token is of (one not written in Rust).
    """
    found = []
    for row in rows:  # one at a time: each may take a hundred megabytes
        with lock_of(tokenizer):
            # A batch of one: given alone, an empty second text would be taken for none.
            done = tokenizer(
                *([text] for text in row),
                add_special_tokens=True, padding=False, truncation=False, verbose=False,
            )  # fmt: skip
        if not getattr(done, "encodings", None):
            return None
        found.append(_cut(done.encodings[0], max_length))
    return found


def _cut(encoding: Any, max_length: int) -> tuple[list[int], list[int]]:
    ids, types, of_text = encoding.ids, encoding.type_ids, encoding.sequence_ids
    if len(ids) <= max_length:
        return ids, types
    counts = of_text.count(0), of_text.count(1)
    room = max(0, max_length - (len(ids) - sum(counts)))
    left = list(longest_first(*counts, room))
    kept = []
    for position, text in enumerate(of_text):
        if text is None:
            kept.append(position)
        elif left[text]:
            left[text] -= 1
            kept.append(position)
    return [ids[p] for p in kept], [types[p] for p in kept]

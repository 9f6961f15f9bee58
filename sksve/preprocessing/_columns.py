"""Which columns are written, in what order, and what they are called."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve.preprocessing._cell import is_missing

# Free text, not a category: so many words in the mean cell, and most cells unlike any other.
FREE_TEXT_WORDS = 4

_BREAKS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def humanize(name: str) -> str:
    """Write a column's name as people do.

    Parameters
    ----------
    name : str
        A name in snake_case, dotted.case or CamelCase.

    Returns
    -------
    str
        Words between single spaces, in lower case but for abbreviations.

    Examples
    --------
    >>> from sksve.preprocessing._columns import humanize
    >>> [humanize(name) for name in ("annual_income", "PaymentMethod", "StreamingTV", "x0", "ID")]
    ['annual income', 'payment method', 'streaming TV', 'x0', 'ID']
    """
    words = re.split(r"[_.\s]+", _BREAKS.sub(" ", name))
    words = [w if len(w) > 1 and w.isupper() else w[:1].lower() + w[1:] for w in words if w]
    return " ".join(words) or name


def written_names(
    names: Sequence[str] | Mapping[str, str] | None, own_names: list[str], humanized: bool
) -> list[str]:
    """What each column is called in the text.

    Two columns whose humanised names agree keep their own.
    """
    shown = [humanize(name) for name in own_names] if humanized else own_names
    twice = {name for name, n in Counter(shown).items() if n > 1}
    shown = [own if name in twice else name for name, own in zip(shown, own_names)]
    if names is None:
        return shown
    if isinstance(names, Mapping):
        for name in names:
            if name not in own_names:
                raise ValueError(f"'names' has {name!r}. {_known(name, own_names)}")
        return [str(names.get(own, name)) for own, name in zip(own_names, shown)]
    if len(names) != len(own_names):
        raise ValueError(
            f"'names' must hold one name per column of X, which has {len(own_names)}. "
            f"Got {len(names)} instead."
        )
    return [str(name) for name in names]


def written_order(
    columns: Sequence[str | int] | None,
    text_columns: Sequence[str | int] | str,
    own_names: list[str],
    table: NDArray[np.object_],
) -> tuple[list[int], list[int]]:
    """Positions of the columns to write, free text last; and which of them are free text."""
    order = list(range(len(own_names)))
    if columns is not None:
        order = _positions(columns, own_names, "columns")
    if isinstance(text_columns, str):  # "auto"
        last = [] if columns is not None else [j for j in order if _is_free_text(table[:, j])]
    else:
        last = _positions(text_columns, own_names, "text_columns") if len(text_columns) else []
        absent = [own_names[j] for j in last if j not in order]
        if absent:
            raise ValueError(f"'text_columns' has {absent}, which 'columns' leaves out.")
    return [j for j in order if j not in last] + last, last


def _is_free_text(cells: NDArray[np.object_]) -> bool:
    texts = [cell for cell in cells if not is_missing(cell)]
    if not texts or not all(isinstance(text, str) for text in texts):
        return False
    n_words = sum(len(text.split()) for text in texts)
    return n_words >= FREE_TEXT_WORDS * len(texts) and 2 * len(set(texts)) > len(texts)


def _positions(columns: Sequence[str | int], own_names: list[str], owner: str) -> list[int]:
    positions = [_position(column, own_names, owner) for column in columns]
    if len(positions) == 0 or len(set(positions)) < len(positions):
        raise ValueError(
            f"'{owner}' must name at least one column, and each only once. Got {list(columns)!r}."
        )
    return positions


def _position(column: str | int, own_names: list[str], owner: str) -> int:
    if isinstance(column, Integral) and not isinstance(column, bool):
        if -len(own_names) <= column < len(own_names):
            return int(column) % len(own_names)
    elif column in own_names:
        return own_names.index(str(column))
    raise ValueError(f"'{owner}' has {column!r}. {_known(column, own_names)}")


def _known(name: Any, own_names: list[str]) -> str:
    close = get_close_matches(str(name), own_names, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(repr(n) for n in own_names[:10]) + (", ..." if len(own_names) > 10 else "")
    return f"X has no such column; it has {len(own_names)}: {shown}.{meant}"

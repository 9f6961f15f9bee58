"""JSON as its standard has it: no NaN, no key twice, nothing that Python alone would accept."""

import json
import math
from typing import Any

from sksve._exceptions import PersistenceError

__all__ = ["dumps", "loads"]

# A manifest has some hundred kilobytes and a few levels; more than this is an attack on the memory.
MOST_BYTES = 2**25
MOST_LEVELS = 64


def dumps(value: Any) -> str:
    """Write plain values in one canonical form: sorted keys, ASCII, one space of indentation.

    Parameters
    ----------
    value : None, bool, int, float, str, or list or dict (keys str) of such
        Floats are finite.

    Returns
    -------
    str
        Ends with a line break.

    Raises
    ------
    ValueError
        If a float is NaN or infinite.

    Examples
    --------
    >>> from sksve.persistence import dumps, loads
    >>> loads(dumps({"b": 1, "a": [0.1, None]}).encode())
    {'a': [0.1, None], 'b': 1}
    """
    return json.dumps(value, allow_nan=False, sort_keys=True, ensure_ascii=True, indent=1) + "\n"


def loads(data: bytes, *, name: str = "The file") -> Any:
    """Read strict JSON.

    Parameters
    ----------
    data : bytes
        UTF-8 without a byte order mark.
    name : str
        What the message calls the source.

    Returns
    -------
    object
        Plain values.

    Raises
    ------
    sksve.PersistenceError
        If `data` is not UTF-8, not JSON, holds NaN, an infinity or a number too large for a float,
        has a key twice in one object, is nested more than 64 levels deep or larger than 32 MiB.
    """
    if len(data) > MOST_BYTES:
        raise PersistenceError(f"{name} must have at most {MOST_BYTES} bytes. Got {len(data)}.")
    try:
        found = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise PersistenceError(
            f"{name} is no strict JSON: {error or 'it is nested too deeply'}. It was damaged or "
            "edited: save the model again, or download it again."
        ) from error
    if _too_deep(found):
        raise PersistenceError(f"{name} must be nested at most {MOST_LEVELS} levels deep.")
    return found


def _too_deep(value: Any) -> bool:
    """Whether lists and objects are nested too deeply; whoever walks through them later recurses."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer if isinstance(outer, list) else outer.values())
        ]
        if not level:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number} is too large")
    return value

"""One cell of a table as text: it depends on the cell's value, never on what it is stored in.

The same value may come as ``3``, ``3.0``, ``np.float32(3)`` or ``Decimal("3.00")``; an integer
column turns into floats as soon as one cell is missing. All of these must read ``3``.
"""

import datetime
import math
from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

FLOAT32_DIGITS = 6  # decimal digits that always survive in a float32
_FLOAT32_TINY = float(np.finfo(np.float32).tiny)
_FLOAT32_FRACTIONS = 2.0**23  # a float32 at or above it has no fraction left
_EXACT_BELOW = 10**21  # longer whole numbers are written with an exponent


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, NaT or pandas' NA.

    >>> [is_missing(cell) for cell in (None, float("nan"), "", 0)]
    [True, True, False, False]
    """
    if value is None:
        return True
    if isinstance(value, str):
        return False
    if isinstance(value, Decimal):
        return value.is_nan()  # a signalling NaN must not be compared
    try:
        # Only what is missing differs from itself; pandas' NA refuses to say.
        return bool(value != value)
    except Exception:
        return type(value).__name__ == "NAType"


# Free text, not a category: so many words in the mean cell, and most cells, or so many of them, different.
FREE_TEXT_WORDS, FREE_TEXT_CELLS = 2.5, 20


def is_free_text(cells: Sequence[Any]) -> bool:
    """Whether the cells of a column, none missing, are free text: at least 2.5 words in the mean cell, and
    more than half of the cells, or at least 20 of them, different.

    >>> is_free_text(["it does not start", "where is my order"]), is_free_text(["two words"] * 9)
    (True, False)
    """
    if not len(cells) or not all(isinstance(cell, str) for cell in cells):
        return False
    if sum(len(cell.split()) for cell in cells) < FREE_TEXT_WORDS * len(cells):
        return False
    n_different = len(set(cells))
    return 2 * n_different > len(cells) or n_different >= FREE_TEXT_CELLS


def cell_text(value: Any, digits: int = FLOAT32_DIGITS) -> str:
    """Text of one cell that is not missing; `digits` are the significant ones of numbers not whole.

    >>> [cell_text(cell) for cell in (3, 3.0, np.float32(0.1), 0.1, 12345678.9, "a", True)]
    ['3', '3', '0.1', '0.1', '12345679', 'a', 'True']
    """
    kind = type(value)
    if kind is float:  # what most cells are; the abstract number types below are slow to ask
        return _number(value, digits)
    if kind is int:
        return _whole(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (datetime.date, np.datetime64)):
        return _date(value)
    if isinstance(value, (datetime.timedelta, np.timedelta64)):  # to numpy, an integer
        return _duration(value)
    if isinstance(value, Integral):
        return _whole(int(value))
    if isinstance(value, (Real, Decimal)):
        return _number(value, digits)
    return str(value)


def _number(value: Any, digits: int) -> str:
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    if value == int(value):
        return _whole(int(value))
    if digits <= FLOAT32_DIGITS and _FLOAT32_TINY <= abs(number) < _FLOAT32_FRACTIONS:
        # Rounded to float32 first, so that rounding to digits cannot tell the two types apart.
        number = float(np.float32(number))
    if abs(number) < 1:
        return f"{number:.{digits}g}"
    n_before_point = len(str(int(abs(number))))
    text = f"{number:.{max(0, digits - n_before_point)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _whole(value: int) -> str:
    if abs(value) < _EXACT_BELOW:
        return str(value)
    mantissa, _, exponent = f"{Decimal(value):.{FLOAT32_DIGITS - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def _date(value: Any) -> str:
    """ISO format to the microsecond; a time of midnight without a zone is left out."""
    if isinstance(value, np.datetime64):
        plain = value.astype("datetime64[us]").item()
        if not isinstance(plain, datetime.date):  # outside the years 1 to 9999
            return str(value)
        value = plain
    if not isinstance(value, datetime.datetime):
        return value.isoformat()
    if value.tzinfo is None and value.time() == datetime.time():
        return value.date().isoformat()
    return value.isoformat(sep=" ", timespec="microseconds" if value.microsecond else "seconds")


def _duration(value: Any) -> str:
    if isinstance(value, np.timedelta64):
        unit, _ = np.datetime_data(value.dtype)
        plain = None if unit in ("Y", "M") else value.astype("timedelta64[us]").item()
        if not isinstance(plain, datetime.timedelta):  # months and years have no fixed length
            return str(value)
        value = plain
    # pandas' subclass prints another way.
    return str(datetime.timedelta(value.days, value.seconds, value.microseconds))

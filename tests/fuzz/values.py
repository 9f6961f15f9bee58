"""What a parameter may be given by mistake, and what all odd values are made with."""

import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.fuzz.harness import Refusal, Source

__all__ = ["HUGE", "INF", "JUNK", "NAN", "Hostile", "junk", "readonly", "spoilt"]

HUGE = 10**400
NAN, INF = float("nan"), float("inf")


class Hostile:
    """Says no to whatever it is asked."""

    def __eq__(self, other: object) -> bool:
        raise Refusal("no comparison")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Hostile()"


JUNK: dict[str, Any] = {
    "None": None,
    "True": True,
    "zero": 0,
    "minus-one": -1,
    "one": 1,
    "seven": 7,
    "huge": HUGE,
    "minus-huge": -HUGE,
    "half": 0.5,
    "small": 1e-320,
    "big": 1e308,
    "nan": NAN,
    "inf": INF,
    "empty-str": "",
    "str": "no such thing",
    "surrogate": "\ud800",
    "nul": "a\0b",
    "bytes": b"x",
    "list": [],
    "list-of-none": [None],
    "list-of-mixed": [1, "a", 2.5],
    "tuple": (1, 2),
    "dict": {"a": 1},
    "set": {1},
    "object": object(),
    "class": int,
    "function": len,
    "array": np.arange(3),
    "array-0d": np.array(3),
    "array-empty": np.array([]),
    "np-int": np.int64(3),
    "np-float": np.float32(0.25),
    "np-bool": np.True_,
    "complex": 1j,
    "NA": pd.NA,
    "NaT": pd.NaT,
    "decimal": Decimal("0.5"),
    "fraction": Fraction(1, 2),
    "date": datetime.date(2020, 1, 1),
    "frame": pd.DataFrame({"a": [1]}),
    "path": Path("no/such/path"),
    "long": "a" * 10_000,
}


def junk(source: Source) -> Any:
    return JUNK[source.one_of(JUNK)]


def readonly(a: Any) -> np.ndarray:
    a = np.array(a)
    a.flags.writeable = False
    return a


def spoilt(p: np.ndarray, value: float) -> np.ndarray:
    p = p.copy()
    if p.size:
        p.flat[p.size // 2] = value
    return p

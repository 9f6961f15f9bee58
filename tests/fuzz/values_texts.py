"""Texts: what stands in a cell, and what the cells lie in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse

from tests.fuzz.harness import Source
from tests.fuzz.values import HUGE, NAN, Hostile, readonly

__all__ = ["pick_texts"]

PLANES = [chr((plane << 16) | 0x1234) for plane in range(17)]
CELLS: dict[str, str] = {
    "plain": "good film",
    "empty": "",
    "space": " \t\r\n\u00a0\u2003\u200b",
    "planes": "".join(PLANES),
    "every-block": "".join(chr(k) for k in range(0, 0x110000, 997) if not 0xD800 <= k < 0xE000),
    "nul": "good\0film\0",
    "controls": "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029",
    "combining": "e" + "\u0301" * 300,
    "bidi": "\u202eabc\u202c\u2066x\u2069",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "not-characters": "\ufffe\uffff\U0010ffff",
    "special-tokens": "[CLS] [SEP] [PAD] [MASK] <s> </s> <|endoftext|>",
    "long-word": "a" * 5000,
    "long": "good bad " * 300,
    "html": "<script>alert(1)</script>",
    "format": "{name} %s {0} {",
}
#: A megabyte takes the tokenizer its time: in few cases only.
LONG = {"megabyte": "good film " * 100_000, "megabyte-word": "ä" * 500_000}
SURROGATES = {
    "high": "\ud800",
    "low": "good \udfff",
    "pair": "\ud83d\ude00",
    "reversed": "\ude00\ud83d",
}

ODD_TEXTS: dict[str, Callable[[list[str]], Any]] = {
    "one-str": lambda t: t[0],
    "bytes": lambda t: [c.encode() for c in t],
    "none": lambda t: [*t[:-1], None],
    "nan": lambda t: [*t[:-1], NAN],
    "NA": lambda t: pd.Series([*t[:-1], pd.NA], dtype="string"),
    "number": lambda t: [*t[:-1], 3],
    "huge": lambda t: [*t[:-1], HUGE],
    "list": lambda t: [*t[:-1], [t[0]]],
    "numbers": lambda t: list(range(len(t))),
    "huge-numbers": lambda t: [HUGE] * len(t),
    "empty": lambda t: [],
    "empty-array": lambda t: np.array([], dtype=str),
    "none-at-all": lambda t: None,
    "scalar": lambda t: 3.5,
    "set": lambda t: set(t),
    "dict": lambda t: dict(enumerate(t)),
    "generator": lambda t: (c for c in t),
    "iterator": lambda t: iter(t),
    "object": lambda t: object(),
    "hostile": lambda t: [Hostile()] * len(t),
    "class": lambda t: str,
    "bytes-array": lambda t: np.array([b"a"] * len(t)),
    "datetimes": lambda t: np.arange(len(t)).astype("M8[D]"),
    "void": lambda t: np.zeros(len(t), dtype="V4"),
    "structured": lambda t: np.zeros(len(t), dtype=[("a", "U4")]),
    "three-d": lambda t: np.array([[t]]),
    "zero-d": lambda t: np.array(t[0]),
    "sparse": lambda t: scipy.sparse.csr_array(np.eye(len(t))),
    "masked": lambda t: np.ma.array(t, mask=[True] + [False] * (len(t) - 1)),
    "categorical": lambda t: pd.Series(t).astype("category"),
    "categorical-NA": lambda t: pd.Series([*t[:-1], None]).astype("category"),
    "index": lambda t: pd.Index(t),
    "range": lambda t: range(len(t)),
    "polars-none": lambda t: pl.Series([*t[:-1], None]),
    "complex": lambda t: np.ones((len(t), 2)) * 1j,
}
GOOD_TEXTS: dict[str, Callable[[list[str]], Any]] = {
    "list": lambda t: t,
    "tuple": tuple,
    "array": lambda t: np.array(t, dtype=object),
    "column": lambda t: np.array(t, dtype=object)[:, None],
    "series": lambda t: pd.Series(t, index=[f"r{i}" for i in range(len(t))]),
    "string-series": lambda t: pd.Series(t, dtype="string"),
    "frame": lambda t: pd.DataFrame({"t": t}),
    "polars": lambda t: pl.Series(t),
    "polars-frame": lambda t: pl.DataFrame({"t": t}),
    "string-dtype": lambda t: np.array(t, dtype=np.dtypes.StringDType()),
    "strs": lambda t: [np.str_(c) for c in t],
    "readonly": lambda t: readonly(np.array(t, dtype=object)),
}


def pick_texts(source: Source, n: int, one_in: int = 3) -> tuple[Any, bool]:
    """Texts in some container, and whether they must be taken."""
    cells = [CELLS[source.one_of(CELLS)] for _ in range(n)]
    if source.seldom(60):
        cells[0] = LONG[source.one_of(LONG)]
    if source.seldom(10):
        cells[-1] = SURROGATES[source.one_of(SURROGATES)]
        return source.build(
            {k: GOOD_TEXTS[k] for k in ("list", "tuple", "array", "column")}, cells
        ), False
    if source.seldom(one_in):
        return source.build(ODD_TEXTS, cells), False
    return source.build(GOOD_TEXTS, cells), True

"""Labels: kinds that every function takes, and kinds that are taken or refused, never by accident."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse

from tests.fuzz.harness import Source
from tests.fuzz.values import HUGE, INF, NAN, Hostile, readonly

__all__ = ["good_labels", "labels"]


def _codes(n: int, c: int, rng: np.random.Generator) -> np.ndarray:
    """Every class, where the rows allow it."""
    codes = rng.integers(0, c, n)
    codes[: min(n, c)] = np.arange(min(n, c))
    return rng.permutation(codes)


def _of(values: list[Any], codes: np.ndarray, dtype: Any = object) -> np.ndarray:
    found = np.empty(len(codes), dtype=dtype)
    for i, code in enumerate(codes):
        found[i] = values[code % len(values)]
    return found


_WORDS = ["no", "yes", "ünïcode", "\U0001f600", "", "a b"]

#: Labels that every function takes: maker(codes).
GOOD_LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    "ints": lambda k: k,
    "list": lambda k: k.tolist(),
    "int8": lambda k: k.astype(np.int8),
    "uint64": lambda k: k.astype(np.uint64) + np.uint64(2**63),
    "big-endian": lambda k: k.astype(">i4"),
    "negative": lambda k: k - 3,
    "spread": lambda k: k * 10**12,
    "float-ints": lambda k: k.astype(float),
    "strs": lambda k: _of(_WORDS, k, "U8"),
    "objects": lambda k: _of(_WORDS, k),
    "series": lambda k: pd.Series(_of(_WORDS, k), index=np.arange(len(k)) + 5),
    "categorical": lambda k: pd.Series(pd.Categorical.from_codes(k, categories=list("abcdef"))),
    "str-series": lambda k: pd.Series(_of(list("abcdef"), k), dtype="string"),
    "polars": lambda k: pl.Series(k.tolist()),
    "readonly": lambda k: readonly(k),
    "strided": lambda k: np.repeat(k, 2)[::2],
    "tuple": lambda k: tuple(k.tolist()),
}
#: Labels of other dtypes: taken or refused, but never by accident.
ODD_LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    "bool": lambda k: k > 0,
    "object-bool": lambda k: (k > 0).astype(object),
    "bytes": lambda k: _of([b"a", b"b", b"c", b"d", b"e", b"f"], k, "S1"),
    "object-bytes": lambda k: _of([b"a", b"b", b"c"], k),
    "datetime64": lambda k: k.astype("M8[D]"),
    "timedelta64": lambda k: k.astype("m8[s]"),
    "dates": lambda k: _of([datetime.date(2020, 1, d + 1) for d in range(6)], k),
    "decimals": lambda k: _of([Decimal(d) for d in range(6)], k),
    "fractions": lambda k: _of([Fraction(d, 3) for d in range(6)], k),
    "huge": lambda k: _of([HUGE + d for d in range(6)], k),
    "huge-list": lambda k: [HUGE + int(d) for d in k],
    "two-to-64": lambda k: [2**64 + int(d) for d in k],
    "floats": lambda k: k + 0.5,
    "float16": lambda k: k.astype(np.float16),
    "longdouble": lambda k: k.astype(np.longdouble),
    "nan": lambda k: np.where(k == 0, NAN, k),
    "inf": lambda k: np.where(k == 0, INF, k),
    "none": lambda k: _of([None, 1, 2], k),
    "none-str": lambda k: _of([None, "a", "b"], k),
    "all-none": lambda k: [None] * len(k),
    "mixed": lambda k: _of([1, "a", 2.5], k),
    "NA": lambda k: pd.Series([pd.NA if d == 0 else int(d) for d in k], dtype="Int64"),
    "nullable": lambda k: pd.Series(k, dtype="Int64"),
    "nullable-bool": lambda k: pd.Series(k > 0, dtype="boolean"),
    "nullable-float": lambda k: pd.Series(k, dtype="Float64"),
    "str-NA": lambda k: pd.Series([pd.NA if d == 0 else "a" for d in k], dtype="string"),
    "timestamps": lambda k: pd.Series(pd.to_datetime(k, unit="D")),
    "zoned": lambda k: pd.Series(pd.to_datetime(k, unit="D", utc=True)),
    "categories-NA": lambda k: pd.Series(
        pd.Categorical.from_codes(k - 1, categories=list("abcde"))
    ),
    "one-class": lambda k: np.zeros(len(k), int),
    "column": lambda k: k[:, None],
    "two-d": lambda k: np.column_stack([k, k]),
    "frame": lambda k: pd.DataFrame({"y": k}),
    "one-more": lambda k: np.append(k, 0),
    "one-less": lambda k: k[:-1],
    "empty": lambda k: k[:0],
    "nested": lambda k: [[int(d)] for d in k],
    "ragged": lambda k: [[int(d)] * (1 + int(d)) for d in k],
    "tuples": lambda k: _of([(1, 2), (3, 4), (5,)], k),
    "dicts": lambda k: _of([{}, {"a": 1}], k),
    "objects": lambda k: _of([object(), object()], k),
    "hostile": lambda k: _of([Hostile(), 1], k),
    "complex": lambda k: k + 1j,
    "masked": lambda k: np.ma.masked_equal(k, 0),
    "structured": lambda k: np.zeros(len(k), dtype=[("a", int)]),
    "scalar": lambda k: 3,
    "none-at-all": lambda k: None,
    "one-str": lambda k: "yes",
    "dict": lambda k: {"a": 1},
    "set": lambda k: {0, 1},
    "generator": lambda k: (int(d) for d in k),
    "range": lambda k: range(len(k)),
    "string-dtype": lambda k: _of(list("abcdef"), k).astype(np.dtypes.StringDType()),
    "surrogates": lambda k: _of(["\ud800", "\udfff", "a"], k),
    "nul": lambda k: _of(["a", "a\0", "a\0b"], k),
    "long-strs": lambda k: _of(["a" * 100_000, "b"], k),
    "intervals": lambda k: pd.Series(pd.cut(k, 3)),
    "sparse": lambda k: scipy.sparse.csr_array(k[:, None]),
}


def good_labels(source: Source, n: int, c: int) -> Any:
    return source.build(GOOD_LABELS, _codes(n, c, source.rng))


def labels(source: Source, n: int, c: int, one_in: int = 3) -> Any:
    """Labels, one time in so many of an odd kind."""
    makers = ODD_LABELS if source.seldom(one_in) else GOOD_LABELS
    return source.build(makers, _codes(n, c, source.rng))

"""Odd values for parameters; labels, weights, probabilities and scores, good and odd.

Good ones are taken by every function; odd ones are taken or refused, but never by accident.
"""

import datetime
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse

from tests.fuzz.harness import Refusal, Source

Makers = dict[str, Callable[[np.ndarray], Any]]

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


# -- labels, from codes --------------------------------------------------------------------------


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

GOOD_LABELS: Makers = {
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
ODD_LABELS: Makers = {
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


# -- weights --------------------------------------------------------------------------------------


GOOD_WEIGHTS: Makers = {
    "none": lambda w: None,
    "nothing": lambda w: None,
    "floats": lambda w: w,
    "ints": lambda w: np.ceil(w).astype(int),
    "list": lambda w: w.tolist(),
    "series": lambda w: pd.Series(w),
    "float16": lambda w: w.astype(np.float16),
    "readonly": readonly,
    "some-zero": lambda w: np.where(np.arange(len(w)) % 3 == 1, 0.0, w),
}
ODD_WEIGHTS: Makers = {
    "nan": lambda w: spoilt(w, NAN),
    "inf": lambda w: spoilt(w, INF),
    "negative": lambda w: spoilt(w, -1.0),
    "zeros": np.zeros_like,
    "one-left": lambda w: np.eye(1, len(w))[0],
    "big": lambda w: w * 1e308,
    "small": lambda w: w * 1e-320,
    "far-apart": lambda w: 10.0 ** np.linspace(-300, 300, len(w)),
    "huge": lambda w: np.array([HUGE] * len(w), dtype=object),
    "objects": lambda w: w.astype(object),
    "nones": lambda w: np.full(len(w), None),
    "strs": lambda w: w.astype(str),
    "words": lambda w: ["heavy"] * len(w),
    "bools": lambda w: w > 1,
    "complex": lambda w: w + 1j,
    "two-d": lambda w: w[:, None],
    "longer": lambda w: np.append(w, 1.0),
    "scalar": lambda w: 2.0,
    "empty": lambda w: w[:0],
    "one-str": lambda w: "balanced",
    "dict": lambda w: {0: 1.0, 1: 2.0},
    "datetimes": lambda w: (w * 9).astype("M8[s]"),
    "nullable": lambda w: pd.Series(w, dtype="Float64"),
    "NA": lambda w: pd.Series(spoilt(w, NAN), dtype="Float64"),
    "longdouble": lambda w: w.astype(np.longdouble),
    "polars": lambda w: pl.Series(w),
}


def weights(source: Source, n: int, one_in: int = 4) -> Any:
    makers = ODD_WEIGHTS if source.seldom(one_in) else GOOD_WEIGHTS
    return source.build(makers, source.rng.gamma(2.0, size=n) + 0.01)


# -- probabilities --------------------------------------------------------------------------------


STORED: Makers = {
    "float64": lambda p: p,
    "float32": lambda p: p.astype(np.float32),
    "longdouble": lambda p: p.astype(np.longdouble),
    "big-endian": lambda p: p.astype(">f8"),
    "fortran": np.asfortranarray,
    "readonly": readonly,
    "strided": lambda p: np.repeat(p, 2, axis=0)[::2],
    "reversed": lambda p: np.ascontiguousarray(p[::-1])[::-1],
    "list": lambda p: p.tolist(),
    "object": lambda p: p.astype(object),
    "ints": lambda p: (p == p.max(axis=-1, keepdims=True)).astype(int),
    "bools": lambda p: p == p.max(axis=-1, keepdims=True),
    "halves": lambda p: p.astype(np.float16),
}
ODD: Makers = {
    "nan": lambda p: spoilt(p, NAN),
    "inf": lambda p: spoilt(p, INF),
    "minus-inf": lambda p: spoilt(p, -INF),
    "negative": lambda p: spoilt(p, -0.25),
    "minus-zero": lambda p: spoilt(p, -0.0),
    "huge": lambda p: spoilt(p, 1e308),
    "all-huge": lambda p: np.full(p.shape, 1e308),
    "longdouble-huge": lambda p: spoilt(p.astype(np.longdouble), np.longdouble("1e4000")),
    "subnormal": lambda p: np.full(p.shape, 5e-324),
    "zeros": np.zeros_like,
    "sum-0.9": lambda p: p * 0.9,
    "sum-1.0005": lambda p: p * 1.0005,
    "logits": lambda p: np.log(p + 1e-9),
    "one-column": lambda p: p[..., :1],
    "no-column": lambda p: p[..., :0],
    "one-less": lambda p: p[..., :-1],
    "a-vector": lambda p: p[..., 0],
    "deeper": lambda p: p[None],
    "empty": lambda p: p[:0],
    "nothing": lambda p: [],
    "scalar": lambda p: 0.5,
    "one-row-more": lambda p: np.concatenate([p, p[:1]]),
    "strs": lambda p: p.astype(str),
    "words": lambda p: np.full(p.shape, "often"),
    "bytes": lambda p: p.astype("S8"),
    "complex": lambda p: p + 0j,
    "none": lambda p: None,
    "nones": lambda p: np.full(p.shape, None),
    "one-none": lambda p: _object_with(p, None),
    "one-NA": lambda p: _object_with(p, pd.NA),
    "one-str": lambda p: _object_with(p, "x"),
    "one-list": lambda p: _object_with(p, [1]),
    "one-huge": lambda p: _object_with(p, HUGE),
    "datetimes": lambda p: (p * 100).astype("M8[s]"),
    "timedeltas": lambda p: (p * 100).astype("m8[s]"),
    "structured": lambda p: np.zeros(p.shape, dtype=[("a", float)]),
    "masked": lambda p: np.ma.masked_less(p, 0.3),
    "ragged": lambda p: [[0.5, 0.5], [1.0]],
    "dict": lambda p: {"a": 1},
    "str": lambda p: "0.5",
    "generator": lambda p: (row for row in p),
    "decimals": lambda p: np.vectorize(lambda v: Decimal(repr(float(v))), otypes=[object])(p),
    "string-dtype": lambda p: p.astype(str).astype(np.dtypes.StringDType()),
    "void": lambda p: np.zeros(p.shape, dtype="V4"),
}
#: Two-dimensional ones only.
ODD_TABLES: Makers = {
    "frame": lambda p: pd.DataFrame(p),
    "nullable": lambda p: pd.DataFrame(p).astype("Float64"),
    "nullable-NA": lambda p: pd.DataFrame(spoilt(p, NAN)).astype("Float64"),
    "polars": lambda p: pl.DataFrame(p),
    "matrix": lambda p: scipy.sparse.csr_array(p).todense(),
    "sparse": lambda p: scipy.sparse.csr_array(p),
    "duplicate-columns": lambda p: pd.DataFrame(p, columns=["a"] * p.shape[1]),
}


def _object_with(p: np.ndarray, value: Any) -> np.ndarray:
    p = p.astype(object)
    if p.size:
        p[tuple(s // 2 for s in p.shape)] = value
    return p


def _rows(source: Source, *shape: int) -> np.ndarray:
    scale = source.one_of([0.05, 1.0, 30.0])
    flat = source.rng.dirichlet(np.full(shape[-1], scale), size=int(np.prod(shape[:-1])))
    if source.seldom():
        flat = np.eye(shape[-1])[flat.argmax(axis=1)]
    return flat.reshape(shape)


def good_proba(source: Source, n: int, c: int) -> Any:
    return source.build(STORED, _rows(source, n, c))


def proba(source: Source, n: int, c: int, one_in: int = 3) -> Any:
    makers = ODD | ODD_TABLES if source.seldom(one_in) else STORED
    return source.build(makers, _rows(source, n, c))


def members(source: Source, m: int, n: int, c: int, one_in: int = 3) -> Any:
    return source.build(ODD if source.seldom(one_in) else STORED, _rows(source, m, n, c))


def scores(source: Source, n: int, one_in: int = 3) -> Any:
    """One number a row."""
    makers = {k: v for k, v in ODD.items() if k not in {"one-less"}}
    stored = {k: v for k, v in STORED.items() if k not in {"fortran"}}
    return source.build(
        makers if source.seldom(one_in) else stored, source.rng.normal(size=n).round(2)
    )

"""Probabilities and scores, good and bad, in every form in which they may be stored."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse

from tests.fuzz.harness import Source
from tests.fuzz.values import HUGE, INF, NAN, readonly, spoilt

__all__ = ["good_proba", "members", "proba", "scores"]

#: How probabilities of any shape may be stored: all of these are taken.
STORED: dict[str, Callable[[np.ndarray], Any]] = {
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
#: Probabilities that are taken or refused, but never by accident.
ODD: dict[str, Callable[[np.ndarray], Any]] = {
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
ODD_TABLES: dict[str, Callable[[np.ndarray], Any]] = {
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

"""Tables and texts of every kind, good and odd."""

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


def _mixed(n: int, rng: np.random.Generator) -> list[list[Any]]:
    cells = [1, 2.5, "word", None, True, HUGE, NAN, np.float32(1.5), b"x", Decimal("1.5"), "",
             datetime.date(2020, 1, 2), pd.NA, pd.NaT, "\0", (1, 2), {"a": 1}, [1, [2]], 1j,
             np.arange(2), pd.Timestamp("2020-01-01"), Fraction(1, 3), "a" * 2000, -0.0, 1e-320]  # fmt: skip
    return [[cells[int(k)] for k in rng.integers(0, len(cells), 3)] for _ in range(n)]


#: maker(n, rng): three columns where nothing else is said.
TABLES: dict[str, Callable[[int, np.random.Generator], Any]] = {
    "floats": lambda n, rng: rng.normal(size=(n, 3)),
    "ints": lambda n, rng: rng.integers(-9, 9, (n, 3)),
    "bools": lambda n, rng: rng.integers(0, 2, (n, 3)).astype(bool),
    "float16": lambda n, rng: rng.normal(size=(n, 3)).astype(np.float16),
    "longdouble": lambda n, rng: rng.normal(size=(n, 3)).astype(np.longdouble),
    "nan": lambda n, rng: np.where(rng.random((n, 3)) < 0.3, NAN, 1.0),
    "inf": lambda n, rng: np.where(rng.random((n, 3)) < 0.3, INF, 1.0),
    "all-nan": lambda n, rng: np.full((n, 3), NAN),
    "huge": lambda n, rng: [[HUGE, -HUGE, 1] for _ in range(n)],
    "uint64": lambda n, rng: np.full((n, 3), 2**64 - 1, dtype=np.uint64),
    "lists": lambda n, rng: rng.normal(size=(n, 3)).tolist(),
    "tuples": lambda n, rng: tuple(map(tuple, rng.normal(size=(n, 3)).tolist())),
    "mixed": _mixed,
    "mixed-array": lambda n, rng: _as_objects(_mixed(n, rng)),
    "mixed-frame": lambda n, rng: pd.DataFrame(_as_objects(_mixed(n, rng)), columns=list("abc")),
    "strs": lambda n, rng: np.full((n, 3), "word"),
    "bytes": lambda n, rng: np.full((n, 3), b"word"),
    "surrogates": lambda n, rng: [["\ud800", 1, "b"]] * n,
    "string-dtype": lambda n, rng: np.full((n, 3), "w", dtype=np.dtypes.StringDType()),
    "datetimes": lambda n, rng: rng.integers(0, 999, (n, 3)).astype("M8[ns]"),
    "NaT": lambda n, rng: np.full((n, 3), "NaT", dtype="M8[D]"),
    "timedeltas": lambda n, rng: rng.integers(0, 999, (n, 3)).astype("m8[s]"),
    "complex": lambda n, rng: np.ones((n, 3)) * 1j,
    "structured": lambda n, rng: np.zeros((n, 3), dtype=[("a", int)]),
    "void": lambda n, rng: np.zeros((n, 3), dtype="V4"),
    "masked": lambda n, rng: np.ma.masked_less(rng.normal(size=(n, 3)), 0),
    "frame": lambda n, rng: pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc")),
    "frame-kinds": lambda n, rng: pd.DataFrame(
        {"a": range(n), "b": pd.Categorical(["x"] * n), "c": pd.date_range("2020", periods=n)}
    ),
    "frame-nullable": lambda n, rng: pd.DataFrame(
        {
            "a": pd.Series([1, pd.NA] * n, dtype="Int64")[:n],
            "b": pd.Series([True, pd.NA] * n, dtype="boolean")[:n],
            "c": pd.Series(["x", pd.NA] * n, dtype="string")[:n],
        }
    ),
    "frame-twice": lambda n, rng: pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "a", "b"]),
    "frame-numbers": lambda n, rng: pd.DataFrame(rng.normal(size=(n, 3))),
    "frame-mixed-names": lambda n, rng: pd.DataFrame(
        rng.normal(size=(n, 3)), columns=["a", 1, None]
    ),
    "frame-odd-names": lambda n, rng: pd.DataFrame(
        rng.normal(size=(n, 3)), columns=pd.Index(["", "{value}", "\ud800"], dtype=object)
    ),
    "frame-levels": lambda n, rng: pd.DataFrame(
        rng.normal(size=(n, 3)), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    ),
    "frame-sparse": lambda n, rng: pd.DataFrame(np.eye(n, 3)).astype(pd.SparseDtype(float, 0.0)),
    "frame-intervals": lambda n, rng: pd.DataFrame(
        {"a": pd.cut(np.arange(n), 3), "b": pd.period_range("2020", periods=n), "c": [1j] * n}
    ),
    "frame-zoned": lambda n, rng: pd.DataFrame(
        {"a": pd.date_range("2020", periods=n, tz="UTC"), "b": 1, "c": [()] * n}
    ),
    "polars": lambda n, rng: pl.DataFrame({"a": range(n), "b": ["x"] * n, "c": [None] * n}),
    "polars-kinds": lambda n, rng: pl.DataFrame(
        {"a": [[1, 2]] * n, "b": [{"k": 1}] * n, "c": [datetime.date(2020, 1, 1)] * n}
    ),
    "sparse": lambda n, rng: scipy.sparse.csr_array(np.eye(n, 3)),
    "two-columns": lambda n, rng: rng.normal(size=(n, 2)),
    "no-columns": lambda n, rng: np.empty((n, 0)),
    "one-column": lambda n, rng: rng.normal(size=(n, 1)),
    "no-rows": lambda n, rng: np.empty((0, 3)),
    "three-d": lambda n, rng: np.zeros((n, 3, 2)),
    "nested": lambda n, rng: [[[1], [2], [3]]] * n,
    "ragged": lambda n, rng: [[1, 2, 3]] * (n - 1) + [[1]],
    "rows-of-dicts": lambda n, rng: [{"a": 1, "b": 2, "c": 3}] * n,
    "str-row": lambda n, rng: [[1, 2, 3]] * (n - 1) + ["abc"],
    "none-row": lambda n, rng: [[1, 2, 3]] * (n - 1) + [None],
    "none": lambda n, rng: None,
    "scalar": lambda n, rng: 3,
    "dict": lambda n, rng: {"a": [1], "b": [2], "c": [3]},
    "fortran": lambda n, rng: np.asfortranarray(rng.normal(size=(n, 3))),
    "readonly": lambda n, rng: readonly(rng.normal(size=(n, 3))),
    "strided": lambda n, rng: rng.normal(size=(2 * n, 6))[::2, ::2],
    "big-endian": lambda n, rng: rng.normal(size=(n, 3)).astype(">f8"),
    "matrix": lambda n, rng: scipy.sparse.csr_array(np.eye(n, 3)).todense(),
}


def _as_objects(rows: list[list[Any]]) -> np.ndarray:
    table = np.empty((len(rows), 3), dtype=object)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            table[i, j] = cell
    return table


def tables(source: Source, n: int) -> Any:
    return TABLES[source.one_of(TABLES)](n, source.rng)


# -- texts ----------------------------------------------------------------------------------------

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

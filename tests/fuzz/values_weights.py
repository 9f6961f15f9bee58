"""Weights of rows, good and bad."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tests.fuzz.harness import Source
from tests.fuzz.values import HUGE, INF, NAN, readonly, spoilt

__all__ = ["weights"]

GOOD_WEIGHTS: dict[str, Callable[[np.ndarray], Any]] = {
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
ODD_WEIGHTS: dict[str, Callable[[np.ndarray], Any]] = {
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

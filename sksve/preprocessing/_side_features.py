"""Columns of a table: which are free text, and the others as numbers."""

import datetime
import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from sksve.preprocessing._cell import cell_text, is_free_text, is_missing
from sksve.preprocessing._table import in_fitted_order, object_table

# A level of fewer rows is grouped with others, if there are rows enough.
RARE = 5
# Standard deviations from the mean at which a number is cut.
FARTHEST = 4.0
# A number of more different values is also taken by rank, on a normal scale cut here, and bent by splines.
MANY_VALUES, FARTHEST_RANK, N_KNOTS = 10, 2.5, 4
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d+)?([eE][+-]?\d+)?")  # 02139 is a code
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
_EPOCH = datetime.datetime(1970, 1, 1)
_YEAR = 365.2425  # days


def column_kind(cells: Sequence[Any], *, categorical: bool = False) -> str:
    """What a column holds: "text", "number" (booleans too), "date" or "category".

    >>> column_kind([1, None, "2.5"]), column_kind(["2024-01-31"]), column_kind(["a", "b", 1])
    ('number', 'date', 'category')
    """
    present = [cell for cell in cells if not is_missing(cell)]
    if categorical:
        return "category"
    if all(_number(cell) is not None for cell in present):
        return "number"
    if all(_days(cell) is not None for cell in present):
        return "date"
    return "text" if is_free_text(present) else "category"


def column_kinds(X: Any, table: NDArray[np.object_]) -> list[str]:
    """Kind of each column; those of a categorical dtype in the frame `X` are categories."""
    return [
        column_kind(table[:, j].tolist(), categorical=_is_categorical(X, j))
        for j in range(table.shape[1])
    ]


def _is_categorical(X: Any, j: int) -> bool:
    dtypes = getattr(X, "dtypes", None)
    if dtypes is None:
        return False
    dtype = dtypes.iloc[j] if hasattr(dtypes, "iloc") else dtypes[j]
    return str(dtype).lower().startswith(("category", "categorical", "enum"))


class SideFeatures(TransformerMixin, BaseEstimator):
    """Numbers, booleans, dates and categories of a table as standardised or one-hot columns.

    Numbers (also strings that all read as such) are standardised and cut at 4 standard deviations, missing
    ones filled with the median and an indicator set; those of more than 10 different values, which are often
    skewed, come by rank and as splines of the rank as well; dates (also in ISO format) become days and the
    sine and cosine of year, week and day; anything else is one-hot, levels of fewer than 5 rows in one.
    `columns` are positions, and `kinds` says what each holds.
    """

    def __init__(self, columns: Sequence[int], kinds: Sequence[str]) -> None:
        self.columns = columns
        self.kinds = kinds

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn medians, scales and levels."""
        table = object_table(X, self)
        names = getattr(X, "columns", [f"x{j}" for j in range(table.shape[1])])
        return self.fit_named(table, [str(name) for name in names])

    def fit_named(self, table: NDArray[np.object_], names: Sequence[str]) -> Self:
        """Learn medians, scales and levels of a table whose columns have these names."""
        self.names_ = list(names)
        numbers, _, categories = self._split(table)
        self.numbers_ = self.ranks_ = self.levels_ = None
        many = [len(np.unique(v[np.isfinite(v)])) > MANY_VALUES for v in numbers.T]
        self.many_valued_ = np.flatnonzero(many)
        if numbers.shape[1]:
            imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
            self.numbers_ = make_pipeline(imputer, StandardScaler()).fit(numbers)
        if len(self.many_valued_):
            quantiles = QuantileTransformer(
                n_quantiles=min(100, len(table)), output_distribution="normal", subsample=None
            )
            self.ranks_ = make_pipeline(SimpleImputer(strategy="median"), quantiles)
            self.ranks_.fit(numbers[:, self.many_valued_])
        if categories.shape[1]:
            self.levels_ = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                min_frequency=max(1, min(RARE, len(table) // 40)),
                sparse_output=False,
            ).fit(categories)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Side features, shape (n_samples, n_features_out)."""
        check_is_fitted(self)
        table = object_table(in_fitted_order(X, self.names_), self)
        numbers, cycles, categories = self._split(table)
        parts = [cycles]
        if self.numbers_ is not None:
            # One cell far away must not outvote all others.
            parts.append(np.clip(self.numbers_.transform(numbers), -FARTHEST, FARTHEST))
        if self.ranks_ is not None:
            ranks = self.ranks_.transform(numbers[:, self.many_valued_])
            ranks = np.clip(ranks, -FARTHEST_RANK, FARTHEST_RANK)
            parts += [ranks, _bent(ranks)]
        if self.levels_ is not None:
            parts.append(self.levels_.transform(categories))
        return np.hstack(parts)

    def _split(
        self, table: NDArray[np.object_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.object_]]:
        """Numbers, missing as NaN; cycles of dates, missing as 0; categories, missing as the empty string."""
        n = len(table)
        numbers, cycles, categories = [np.empty((n, 0))], [np.empty((n, 0))], []
        for j, kind in zip(self.columns, self.kinds, strict=True):
            cells = table[:, j]
            if kind == "category":
                categories.append(["" if is_missing(c) else cell_text(c) for c in cells])
                continue
            read = _number if kind == "number" else _days
            found = [read(cell) for cell in cells]
            values = np.array([math.nan if v is None else v for v in found], dtype=np.float64)
            numbers.append(values[:, None])
            if kind == "date":
                cycles.append(_cycles(values))
        texts = np.array(categories, dtype=object).reshape(len(categories), n).T
        return np.hstack(numbers), np.hstack(cycles), texts


def _bent(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic B-splines of each column; they have no state but their knots."""
    knots = np.linspace(-FARTHEST_RANK, FARTHEST_RANK, N_KNOTS)[:, None].repeat(ranks.shape[1], 1)
    splines = SplineTransformer(knots=knots, include_bias=False, extrapolation="constant")
    bent: NDArray[np.float64] = splines.fit(knots).transform(ranks)
    return bent


def _number(cell: Any) -> float | None:
    """A finite number of a cell, or None."""
    if isinstance(cell, str):
        text = cell.strip()
        if not text or not _NUMBER.fullmatch(text):
            return None
    elif isinstance(cell, (datetime.timedelta, np.timedelta64)):
        cell = _seconds(cell)
    elif not isinstance(cell, (Real, np.bool_)) and type(cell).__name__ != "Decimal":
        return None
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else math.nan


def _seconds(cell: Any) -> float:
    if isinstance(cell, np.timedelta64):
        return float(cell / np.timedelta64(1, "s"))
    return float(cell.total_seconds())


def _date(cell: Any) -> datetime.datetime | None:
    """Date and time of a cell, in the zone it has, or None."""
    if isinstance(cell, str):
        if not _DATE.fullmatch(cell.strip()):
            return None
        try:
            cell = datetime.datetime.fromisoformat(cell.strip())
        except ValueError:
            return None
    elif isinstance(cell, np.datetime64):
        cell = cell.astype("datetime64[us]").item()
    if isinstance(cell, datetime.datetime):
        return None if is_missing(cell) else cell.replace(tzinfo=None)
    if isinstance(cell, datetime.date):
        return datetime.datetime(cell.year, cell.month, cell.day)
    return None


def _days(cell: Any) -> float | None:
    """Days since 1970, or None."""
    date = _date(cell)
    return None if date is None else (date - _EPOCH) / datetime.timedelta(1)


def _cycles(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sine and cosine of the time of year, of the week and of the day, each at two frequencies."""
    turns = np.column_stack([k * days / period for period in (_YEAR, 7.0, 1.0) for k in (1, 2)])
    return np.nan_to_num(np.hstack([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)]))

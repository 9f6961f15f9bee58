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
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from sksve.preprocessing._cell import cell_text, is_free_text, is_missing
from sksve.preprocessing._table import in_fitted_order, object_table

# A level of fewer rows is grouped with others, if there are rows enough.
RARE = 5
# Standard deviations from the mean at which a number is cut.
FARTHEST = 4.0
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
    if all(_date(cell) is not None for cell in present):
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
    ones filled with the median and an indicator set; dates (also in ISO format) become days and the sine and
    cosine of year, week and day; anything else is one-hot, levels of fewer than 5 rows in one column.
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
        numbers, categories = self._split(table)
        self.numbers_ = self.levels_ = None
        if numbers.shape[1]:
            imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
            self.numbers_ = make_pipeline(imputer, StandardScaler()).fit(numbers)
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
        numbers, categories = self._split(table)
        parts = [np.empty((len(numbers), 0))]
        if self.numbers_ is not None:
            # One cell far away must not outvote all others.
            parts.append(np.clip(self.numbers_.transform(numbers), -FARTHEST, FARTHEST))
        if self.levels_ is not None:
            parts.append(self.levels_.transform(categories))
        return np.hstack(parts)

    def _split(self, table: NDArray[np.object_]) -> tuple[np.ndarray, NDArray[np.object_]]:
        """Numbers, missing as NaN, and categories, missing as the empty string."""
        numbers, categories = [np.empty((len(table), 0))], [np.empty((len(table), 0), dtype=object)]
        for j, kind in zip(self.columns, self.kinds, strict=True):
            cells = table[:, j]
            if kind == "category":
                texts = ["" if is_missing(cell) else cell_text(cell) for cell in cells]
                categories.append(np.array(texts, dtype=object)[:, None])
            elif kind == "number":
                values = [math.nan if (v := _number(cell)) is None else v for cell in cells]
                numbers.append(np.array(values, dtype=np.float64)[:, None])
            else:
                numbers.append(_date_parts([_date(cell) for cell in cells]))
        return np.hstack(numbers), np.hstack(categories)


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


def _date_parts(dates: Sequence[datetime.datetime | None]) -> NDArray[np.float64]:
    """Days since 1970, and sine and cosine of the year, the week and the day, each at two frequencies."""
    days = np.array(
        [math.nan if d is None else (d - _EPOCH) / datetime.timedelta(1) for d in dates]
    )
    parts = [days]
    for period in (_YEAR, 7.0, 1.0):
        for k in (1, 2):
            angle = 2 * np.pi * k * days / period
            parts += [np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))]  # one indicator
    return np.column_stack(parts)

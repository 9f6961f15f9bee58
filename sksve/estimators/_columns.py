"""Columns of a table in fit: which go through the backbone as text, and which become side features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from sksve.preprocessing import TabularToText
from sksve.preprocessing._side_features import SideFeatures, column_kinds
from sksve.preprocessing._table import object_table, with_plain_cells
from sksve.training import is_auto


@dataclass(frozen=True)
class Columns:
    """What a fit has learned of a table's columns."""

    writer: Any  # rows -> texts; None: there is no text, and the backbone is not run
    side_features: Any = None  # fitted transformer: rows -> side features; None: there are none
    plan: str = ""  # what becomes of which column, for people
    advice: str = ""  # a warning


def learn_columns(
    X: Any, train: Any, serializer: Any, side_features: Any, *, owner: str
) -> Columns:
    """Tell the columns of X apart by the rows trained on, and fit what reads them.

    `train` are the targets, if there are: their rows and labels. `owner` is named in the advice.
    """
    rows = None if train is None else train.rows
    table = object_table(X, owner)
    table = table if rows is None else table[rows]
    kinds = column_kinds(X, table)
    texts = [j for j, kind in enumerate(kinds) if kind == "text"]
    others = [j for j, kind in enumerate(kinds) if kind != "text"]
    advice = ""
    if texts and "number" in kinds and isinstance(X, np.ndarray) and X.dtype == object:
        advice = (
            "X is an array of objects that mixes numbers with free text, as a ColumnTransformer makes it: "
            f"its columns have lost their names and types. Give {owner} the frame itself; with "
            "side_features='auto' text columns go through the backbone and the others become side features."
        )
    automatic = is_auto(side_features)
    if side_features is None or (automatic and serializer is not None):
        writer = TabularToText() if serializer is None else clone(serializer)
        return Columns(writer.fit(X), advice=advice)
    writer = None
    if serializer is not None:
        writer = clone(serializer).fit(X)
    elif texts:  # one alone is read as it would be without the other columns
        template = "{value}" if len(texts) == 1 else "{name}: {value}"
        writer = TabularToText(template, columns=texts, separator="\n").fit(X)
    else:
        advice = (
            "X has no column of free text (strings of at least 2.5 words, more than half of them, or 20 of "
            "them, different): the backbone is not run, and the members are logistic regressions on the "
            "columns. scikit-learn's LogisticRegression or HistGradientBoostingClassifier does the same "
            f"without sksve. If {owner} shall read each row as a text, set side_features=None."
        )
    names = [str(name) for name in getattr(X, "columns", [f"x{j}" for j in range(len(kinds))])]
    read = ", ".join(names[j] for j in texts) or "none"
    if not automatic:
        y = None if train is None else train.y if train.y.ndim == 1 else train.y.argmax(axis=1)
        chosen = X if rows is None else _safe_indexing(with_plain_cells(X), rows)
        fitted = clone(side_features).fit(chosen, y)
        plan = f"text: {read}; side features: {type(fitted).__name__}"
        return Columns(writer, fitted, plan, advice)
    plan = "; ".join([f"text: {read}", *_by_kind(names, kinds)])
    if not others:
        return Columns(writer, None, plan, advice)
    side = SideFeatures(others, [kinds[j] for j in others]).fit_named(table, names)
    return Columns(writer, side, plan, advice)


def _by_kind(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    return [
        f"{kind}: {', '.join(name for name, k in zip(names, kinds) if k == kind)}"
        for kind in ("number", "date", "category")
        if kind in kinds
    ]


def side_matrix(transformer: Any, X: Any, n_rows: int) -> np.ndarray:
    """Side features of X, or a sentence about a transformer that makes something else."""
    side = transformer.transform(X)
    side = side.toarray() if hasattr(side, "toarray") else np.asarray(side)
    try:
        numbers = side.astype(np.float64)
        good = side.ndim == 2 and len(side) == n_rows and bool(np.isfinite(numbers).all())
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"The 'side_features' transformer must turn {n_rows} rows into as many rows of finite numbers. "
            f"{type(transformer).__name__} made {side.dtype} of shape {side.shape}."
        )
    return numbers

"""Rows that are worth a human's look, and how a row is shown."""

from typing import Any, NamedTuple

import numpy as np

from sksve.metrics import predictive_entropy
from sksve.metrics._predict_uncertainty import row_names

__all__ = ["ReviewRow", "rows_to_review", "shown_row"]

LONGEST = 240  # characters of a row that are shown


class ReviewRow(NamedTuple):
    """A row, and why it is worth a look."""

    reason: str  # "confidently wrong" or "most uncertain"
    index: Any  # the row's name in the input's index, else its place
    label: Any
    predicted: Any
    confidence: float
    entropy: float  # nats
    row: str  # the input itself, shortened; empty if it was not given


def rows_to_review(
    proba: np.ndarray, codes: np.ndarray, labels: np.ndarray, X: Any, n_rows: int
) -> list[ReviewRow]:
    """Return the most confident errors, then the rows of largest entropy, worst first."""
    answer, confidence = proba.argmax(axis=1), proba.max(axis=1)
    entropy = predictive_entropy(proba[None])
    wrong = np.flatnonzero(answer != codes)
    errors = wrong[np.argsort(-confidence[wrong], kind="stable")][:n_rows]
    unsure = np.argsort(-entropy, kind="stable")[:n_rows]
    names = row_names(X)
    found = []
    for reason, rows in (("confidently wrong", errors), ("most uncertain", unsure)):
        for i in rows.tolist():
            found.append(
                ReviewRow(
                    reason,
                    i if names is None else names[i],
                    labels[codes[i]],
                    labels[answer[i]],
                    float(confidence[i]),
                    float(entropy[i]),
                    shown_row(X, i),
                )
            )
    return found


def shown_row(X: Any, i: int) -> str:
    """Row of an input as one line of text, shortened."""
    if X is None or hasattr(X, "tocsr"):  # a sparse row means nothing to a reader
        return ""
    if hasattr(X, "iloc"):
        row = X.iloc[i]
    elif hasattr(X, "row") and hasattr(X, "columns"):  # polars
        row = X.row(i, named=True)
    else:
        row = X[i]
    if hasattr(row, "items"):
        words = ", ".join(f"{name}: {_cell(value)}" for name, value in row.items())
    elif isinstance(row, (list, tuple, np.ndarray)):
        cells = np.asarray(row, dtype=object).ravel()[:60]
        words = ", ".join(_cell(value) for value in cells)
    else:
        words = str(row)
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1].rstrip() + "…"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)

"""The predicted class's probability, and whether it is right, in one pass over ``y_proba``."""

from typing import NamedTuple

import numpy as np

from sksve.metrics._inputs import ROUNDING, check_rows, settle, two_columns

__all__ = ["TopLabel", "reduce_rows", "top_label"]

CHUNK_ELEMENTS = 2**17  # a megabyte of float64: the passes over a chunk are served by the cache
NARROW = 32  # up to so many classes, column by column is faster than numpy's row-wise max


class TopLabel(NamedTuple):
    """One row per prediction."""

    confidence: np.ndarray  # (n,) float64
    correct: np.ndarray  # (n,) bool
    weight: np.ndarray | None  # (n,) float64


def top_label(y_true, y_proba, labels=None, sample_weight=None) -> TopLabel:
    """Check the input and reduce it to confidence and correctness of the predicted class.

    Equal probabilities count for the first column, as ``argmax`` has it.
    """
    codes, proba, weight, _ = settle(y_true, y_proba, labels, sample_weight)
    confidence, correct = reduce_rows(codes, proba)
    return TopLabel(confidence, correct, weight)


def reduce_rows(codes, proba):
    """Return confidence and correctness; chunk by chunk, so that no copy of ``proba`` is made."""
    n = len(proba)
    confidence, correct = np.empty(n), np.empty(n, dtype=bool)
    chunk = max(CHUNK_ELEMENTS // (2 if proba.ndim == 1 else proba.shape[1]), 1)
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        p = proba[rows].astype(np.float64, copy=False)
        if p.ndim == 1:
            p = two_columns(p, "y_proba")
        sums = np.einsum("ij->i", p)
        check_rows(p, sums, "y_proba", first_row=start)
        top = confidence[rows]
        _row_max(p, out=top)
        correct[rows] = _is_first_max(p, top, codes[rows])
        off = np.abs(sums - 1.0) > ROUNDING
        if off.any():
            top /= np.where(off, sums, 1.0)
    return confidence, correct


def _row_max(p, out):
    if p.shape[1] > NARROW:
        np.max(p, axis=1, out=out)
        return
    np.maximum(p[:, 0], p[:, 1], out=out)
    for column in range(2, p.shape[1]):
        np.maximum(out, p[:, column], out=out)


def _is_first_max(p, top, codes):
    """Whether column ``codes[i]`` is the first that attains row i's maximum."""
    hit = p[np.arange(len(p)), codes] == top
    # Two columns can both be the maximum only at a half or below.
    doubt = np.flatnonzero(hit & (top <= 0.501))
    if len(doubt):
        hit[doubt] = p[doubt].argmax(axis=1) == codes[doubt]
    return hit

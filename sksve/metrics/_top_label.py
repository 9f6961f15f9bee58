"""The predicted class's probability, and whether it is right, in one pass over ``y_proba``.

Rows go through in chunks that stay in a core's cache: ten million rows of ten classes take less
time than ``y_proba.max(axis=1)`` and ``y_proba.argmax(axis=1)`` alone, and need no copy.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sksve.metrics._inputs import ROUNDING, check_rows, settle, two_columns

__all__ = ["TopLabel", "each_block", "reduce_rows", "top_label"]

CHUNK_ELEMENTS = 2**18  # two megabytes of float64: enough work for a thread to be worth its switch
THREADED = 2**22  # numbers from which on an input is worth a second thread
BLOCK_ROWS = 2**19  # what a thread takes at a time; fixed, so that sums do not depend on threads
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
    """Return confidence and correctness of settled rows."""
    confidence, correct = np.empty(len(proba)), np.empty(len(proba), dtype=bool)

    def fill(chunks):
        for rows, conf, hit in chunks:
            confidence[rows], correct[rows] = conf, hit

    each_block(fill, codes, proba)
    return confidence, correct


def each_block(work, codes, proba):
    """Return ``work(chunks)`` of consecutive blocks of rows, in their order.

    Large input goes to as many threads as scikit-learn's own loops take (``OMP_NUM_THREADS`` is
    heard): numpy works on a chunk without holding the interpreter.
    """
    n = len(proba)
    if proba.size < THREADED or n <= BLOCK_ROWS:
        return [work(chunks_of(codes, proba, 0, n))]
    # Only here: both are loaded by scikit-learn anyway.
    from concurrent.futures import ThreadPoolExecutor

    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    blocks = pairwise([*range(0, n, BLOCK_ROWS), n])
    with ThreadPoolExecutor(_openmp_effective_n_threads()) as pool:
        return list(pool.map(lambda block: work(chunks_of(codes, proba, *block)), blocks))


def chunks_of(codes, proba, first, end) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield rows, confidence and correctness, chunk by chunk; a chunk is valid until the next."""
    c = 2 if proba.ndim == 1 else proba.shape[1]
    size = min(max(CHUNK_ELEMENTS // c, 1), end - first)
    space, ones, row_starts = np.empty((2, size)), np.ones(c), np.arange(0, size * c, c)
    for start in range(first, end, size):
        rows = slice(start, min(start + size, end))
        p = proba[rows].astype(np.float64, copy=False)
        if p.ndim == 1:
            p = two_columns(p, "y_proba")
        top, sums = space[:, : len(p)]
        # In this order: the first pass brings the chunk into the cache, and is the simplest.
        least = p.min()
        np.dot(p, ones, out=sums)
        span = max(sums.max() - 1.0, 1.0 - sums.min())  # NaN if any row holds NaN or infinity
        _row_max(p, out=top)
        hit = _is_first_max(p, top, codes[rows], row_starts[: len(p)])
        if not (least >= 0 and span <= ROUNDING):
            check_rows(p, sums, "y_proba", first_row=start)
            np.divide(top, sums, out=top, where=np.abs(sums - 1.0) > ROUNDING)
        yield rows, top, hit


def _row_max(p, out):
    """Maximum of every row, a column at a time: numpy's own is slow on short rows."""
    n, c = p.shape
    if c > NARROW:
        np.max(p, axis=1, out=out)
        return
    if c >= 4 and c % 2 == 0 and p.flags.c_contiguous:
        pairs = p.reshape(-1, 2)  # neighbours first, in one pass: half as many columns are left
        p = np.maximum(pairs[:, 0], pairs[:, 1]).reshape(n, -1)
    np.maximum(p[:, 0], p[:, 1], out=out)
    for column in range(2, p.shape[1]):
        np.maximum(out, p[:, column], out=out)


def _is_first_max(p, top, codes, row_starts):
    """Whether column ``codes[i]`` is the first that attains row i's maximum."""
    if p.flags.c_contiguous:
        hit = p.reshape(-1).take(row_starts + codes) == top
    else:
        hit = p[np.arange(len(p)), codes] == top
    # Two columns can both be the maximum only at a half or below.
    doubt = np.flatnonzero(hit & (top <= 0.501))
    if len(doubt):
        tied = np.equal(p.take(doubt, axis=0), top.take(doubt)[:, None])
        if np.count_nonzero(tied) > len(doubt):
            hit[doubt] = tied.argmax(axis=1) == codes[doubt]
    return hit

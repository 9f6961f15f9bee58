"""The predicted class's probability, and whether it is right, in one pass over ``y_proba``.

Rows go through in chunks that stay in a core's cache: ten million rows of ten classes take less
time than ``y_proba.max(axis=1)`` and ``y_proba.argmax(axis=1)`` alone, and need no copy.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sksve.metrics._inputs import ROUNDING, as_float64, check_rows, settle, two_columns

__all__ = ["TopLabel", "each_block", "reduce_rows", "top_label"]

# Numbers a core's cache holds beside its temporaries: what is read once stays there until done with.
PASS_ELEMENTS = 2**17
# Numbers per chunk: vectors of one number a row are worked through a chunk at a time, which keeps
# threads from waking each other after every few microseconds.
CHUNK_ELEMENTS = 2**19
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

    each_block(lambda: fill, codes, proba)
    return confidence, correct


def each_block(make_work, codes, proba):
    """Return ``work(chunks)`` of consecutive blocks of rows, in their order.

    Large input goes to as many threads as scikit-learn's own loops take (``OMP_NUM_THREADS`` is
    heard): numpy works on a chunk without holding the interpreter. Every thread makes a worker of
    its own, which may keep memory from block to block.
    """
    n, c = len(proba), 2 if proba.ndim == 1 else proba.shape[1]
    rows = min(max(CHUNK_ELEMENTS // c, 1), n)
    idle: list = []  # (memory, worker) of threads between two blocks

    def run(block):
        space, work = idle.pop() if idle else (_Space(rows, c), make_work())
        result = work(_chunks(codes, proba, block, space))
        idle.append((space, work))
        return result

    if proba.size < THREADED or n <= BLOCK_ROWS:
        return [run((0, n))]
    # Only here: both are loaded by scikit-learn anyway.
    from concurrent.futures import ThreadPoolExecutor

    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    with ThreadPoolExecutor(_openmp_effective_n_threads()) as pool:
        return list(pool.map(run, pairwise([*range(0, n, BLOCK_ROWS), n])))


def _chunks(codes, proba, block, space) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield rows, confidence and correctness, chunk by chunk; a chunk is valid until the next."""
    (first, end), size = block, len(space.sums)
    for start in range(first, end, size):
        rows = slice(start, min(start + size, end))
        least = space.reduce(proba[rows], codes[rows])
        n = rows.stop - start
        sums, top, hit = space.sums[:n], space.top[:n], space.hit[:n]
        span = max(sums.max() - 1.0, 1.0 - sums.min())  # NaN if any row holds NaN or infinity
        if not (least >= 0 and span <= ROUNDING):
            check_rows(_as_rows(proba[rows]), sums, "y_proba", first_row=start)
            np.divide(top, sums, out=top, where=np.abs(sums - 1.0) > ROUNDING)
        yield rows, top, hit


def _as_rows(p):
    p = as_float64(p)
    return two_columns(p, "y_proba") if p.ndim == 1 else p


class _Space:
    """Memory for one chunk, taken once: fresh memory costs more than the arithmetic."""

    def __init__(self, n, c):
        self.step = min(max(PASS_ELEMENTS // c, 1), n)
        self.sums, self.top, self.label, self.other = np.empty((4, n))
        self.hit, self.tied = np.empty((2, n), dtype=bool)
        self.at, self.partner = np.empty((2, n), dtype=np.int64)
        self.row_starts, self.ones = np.arange(0, n * c, c), np.ones(c)
        self.halves = np.empty(self.step * c // 2) if c % 2 == 0 and c <= NARROW else None

    def reduce(self, p, codes):
        """Fill sums, top and hit for the rows of `p`, return the smallest number."""
        n, least = len(p), np.inf
        for start in range(0, n, self.step):
            rows = slice(start, min(start + self.step, n))
            part = np.ascontiguousarray(_as_rows(p[rows]))
            # In this order: the first pass brings the rows into the cache, and is the simplest.
            least = np.minimum(least, part.min())  # keeps NaN
            with np.errstate(over="ignore", invalid="ignore"):  # check_rows says it in words
                np.dot(part, self.ones, out=self.sums[rows])
            self._label_and_other(part, codes[rows], rows)
        label, other, hit, tied = (a[:n] for a in (self.label, self.other, self.hit, self.tied))
        np.greater(label, other, out=hit)
        np.equal(label, other, out=tied)
        if tied.any():  # the first of equals is the prediction
            doubt = np.flatnonzero(tied)
            hit[doubt] = _as_rows(p[doubt]).argmax(axis=1) == codes[doubt]
        np.maximum(label, other, out=self.top[:n])
        return least

    def _label_and_other(self, p, codes, rows):
        """Probability of the true class, and the largest of the other classes."""
        n, c = p.shape
        at, flat, other = self.at[rows], p.reshape(-1), self.other[rows]
        np.add(self.row_starts[:n], codes, out=at)
        # at is within bounds; any mode but "raise" spares numpy a copy.
        flat.take(at, out=self.label[rows], mode="wrap")
        if self.halves is None:
            rest = p.copy()
            rest.reshape(-1)[at] = -np.inf
            _row_max(rest, out=other)
            return
        # The larger of two neighbours, in one pass: half as many columns are left. Where one of
        # them is the true class, the other stands alone.
        pairs, halves = p.reshape(-1, 2), self.halves[: n * c // 2]
        np.maximum(pairs[:, 0], pairs[:, 1], out=halves)
        partner = self.partner[rows]
        np.bitwise_xor(at, 1, out=partner)
        flat.take(partner, out=other, mode="wrap")
        partner >>= 1
        halves[partner] = other
        _row_max(halves.reshape(n, -1), out=other)


def _row_max(p, out):
    """Maximum of every row, a column at a time: numpy's own is slow on short rows."""
    c = p.shape[1]
    if c > NARROW:
        np.max(p, axis=1, out=out)
        return
    np.maximum(p[:, 0], p[:, min(1, c - 1)], out=out)
    for column in range(2, c):
        np.maximum(out, p[:, column], out=out)

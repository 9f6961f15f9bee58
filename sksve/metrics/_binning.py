"""Bins: edges, ties, confidence 1.0, empty bins and weights are decided here, once for all metrics.

Bins are right-closed, ``(edge[b], edge[b + 1]]``; the first also holds 0. So confidence 1.0 is in
the last bin, and equal confidences are always in one bin.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "Bins",
    "bin_adder",
    "bin_edges",
    "bin_finder",
    "bin_index",
    "fill_bins",
    "gap_adder",
    "quantile_edges",
    "uniform_edges",
]

# Rows at a time: what a chunk needs stays in a core's cache.
CHUNK = 16384
CELLS = 4096


class Bins(NamedTuple):
    """What the rows of each bin add up to. Weights count as repeated rows."""

    weight: np.ndarray  # (b,) number of rows
    confidence: np.ndarray  # (b,) sum of confidences
    hits: np.ndarray  # (b,) sum of correct rows

    @property
    def gap(self):
        """Sum of confidence minus correct, per bin."""
        return self.confidence - self.hits


def bin_edges(confidence, weight, n_bins, strategy):
    """Return ``n_bins + 1`` edges from 0 to 1, or fewer where quantiles coincide."""
    if strategy == "uniform":
        return uniform_edges(n_bins)
    return quantile_edges(confidence, weight, n_bins)


def uniform_edges(n_bins):
    """Return the edges of bins of equal width."""
    return np.linspace(0.0, 1.0, n_bins + 1)


def quantile_edges(confidence, weight, n_bins):
    """Return the edges of bins that hold equally many rows.

    Each inner edge is a value that occurs: the largest of its bin, so that ties stay together and
    the order of rows cannot matter. Where the rows cannot be shared out evenly the first bins get
    one more (as ``numpy.array_split``, which the published estimators use).
    """
    if weight is None:
        ordered = np.sort(confidence)
        inner = ordered[_last_row_of_bins(len(ordered), n_bins) - 1]
    else:
        order = np.argsort(confidence, kind="stable")
        mass = np.cumsum(weight[order])
        if (weight == np.rint(weight)).all():
            targets = _last_row_of_bins(int(mass[-1]), n_bins)
        else:
            # Not counts of rows, so there is no row to give to the first bins: equal mass.
            # The margin keeps a sum of weights that is rounded up from skipping a row.
            targets = mass[-1] * (np.arange(1, n_bins) / n_bins) * (1 - 1e-12)
        inner = confidence[order][np.searchsorted(mass, targets).clip(max=len(mass) - 1)]
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def _last_row_of_bins(n_rows, n_bins):
    """Return how many rows lie in the first 1, 2, ..., bins."""
    n_bins = min(n_bins, n_rows)
    each, more = divmod(n_rows, n_bins)
    k = np.arange(1, n_bins)
    return k * each + np.minimum(k, more)


def bin_index(values, edges):
    """Return the bin of each value."""
    index = np.searchsorted(edges, values, side="left")
    index -= 1
    # 0 itself lies left of the first bin; 1.0000000000000002 is a sum's rounding.
    return np.clip(index, 0, len(edges) - 2, out=index)


def bin_finder(edges, n_values):
    """Return a function that gives the bin of each value; for many values by a table.

    What it returns is valid until it is called again; threads need one each.
    """
    if n_values < CELLS:
        return lambda values: bin_index(values, edges)
    # value * 4096 is exact, 4096 being a power of two: cell t holds t/4096 <= value < (t+1)/4096.
    # Only where an edge lies in the cell is there anything to search.
    left = np.arange(CELLS + 1) / CELLS
    first = bin_index(left, edges)
    last = bin_index(np.nextafter(left + 1 / CELLS, 0.0), edges)
    table = np.where(first == last, first, -1)

    scaled, cells, found, unsure = (np.empty(0, dtype=t) for t in (float, np.int64, np.int64, bool))

    def find(values):
        nonlocal scaled, cells, found, unsure
        n = len(values)
        if n > len(scaled):  # memory is taken once: fresh memory costs more than the arithmetic
            scaled, cells, found, unsure = (
                np.empty(n, a.dtype) for a in (scaled, cells, found, unsure)
            )
        np.multiply(values, CELLS, out=scaled[:n])
        np.copyto(cells[:n], scaled[:n], casting="unsafe")
        # Cells are within bounds; any mode but "raise" spares numpy a copy.
        index = table.take(cells[:n], out=found[:n], mode="clip")
        np.less(index, 0, out=unsure[:n])
        if unsure[:n].any():
            search = np.flatnonzero(unsure[:n])
            index[search] = bin_index(values[search], edges)
        return index

    return find


def fill_bins(confidence, correct, weight, edges):
    """Add up weight, confidence and correctness in every bin."""
    n = len(confidence)
    slices = (slice(start, start + CHUNK) for start in range(0, n, CHUNK))
    chunks = ((rows, confidence[rows], correct[rows]) for rows in slices)
    return bin_adder(n, weight, edges)(chunks)


def gap_adder(n_rows, weight, edges):
    """Return a function that adds up only confidence minus correct, and the rows of all bins.

    That is enough for an l1 error. It takes chunks of rows, given as (slice, confidence, correct),
    and keeps its memory for the next call; threads need one each.
    """
    n_bins = len(edges) - 1
    find, space = bin_finder(edges, n_rows), np.empty(0)

    def add_up(chunks):
        nonlocal space
        gap, total = np.zeros(n_bins), 0.0
        for rows, conf, hit in chunks:
            space = space if len(conf) <= len(space) else np.empty(len(conf))
            residual = np.subtract(conf, hit, out=space[: len(conf)])
            if weight is not None:
                residual *= weight[rows]
            gap += np.bincount(find(conf), residual, minlength=n_bins)
            total += len(conf) if weight is None else weight[rows].sum()
        return gap, total

    return add_up


def bin_adder(n_rows, weight, edges):
    """As :func:`gap_adder`, for everything that :class:`Bins` holds."""
    n_bins = len(edges) - 1
    find = bin_finder(edges, n_rows)

    def add_up(chunks):
        counts, sums = np.zeros(2 * n_bins), np.zeros(2 * n_bins)
        for rows, conf, hit in chunks:
            # Even cells count the wrong rows of a bin, odd ones the right: two sums tell all three.
            cell = find(conf)
            cell *= 2
            cell += hit
            if weight is None:
                counts += np.bincount(cell, minlength=2 * n_bins)
                sums += np.bincount(cell, conf, minlength=2 * n_bins)
            else:
                w = weight[rows]
                counts += np.bincount(cell, w, minlength=2 * n_bins)
                sums += np.bincount(cell, w * conf, minlength=2 * n_bins)
        return Bins(counts[::2] + counts[1::2], sums[::2] + sums[1::2], counts[1::2])

    return add_up

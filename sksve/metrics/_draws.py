"""Random draws behind tests and intervals, reduced to what bins need.

A binned error depends on a resample only through the sums of its bins, so those sums are drawn.
"""

import numpy as np

from sksve.metrics._binning import bin_index

__all__ = ["bootstrap_sums", "count_weights", "null_gaps", "null_rows"]

EXACT_ROWS = 2**14  # up to so many rows, every row's label is drawn on its own
EXACT_CELL = 512  # up to so many rows, every row of a cell is drawn on its own
CELLS_PER_BIN = 64


def count_weights(weight):
    """Whether weights are whole numbers, so that they count rows."""
    return weight is not None and bool((weight == np.rint(weight)).all())


def bootstrap_sums(confidence, correct, edges, n_resamples, rng):
    """Draw bootstrap resamples of rows, and return their sums per bin: (gap, number of rows).

    How many rows of each cell (bin and correctness) a resample holds is drawn exactly. The sum of
    their confidences is drawn row by row in cells of up to 512 rows; in larger ones, where it is a
    sum of many draws from an interval as narrow as the bin, from the normal law of its mean and
    variance.

    Returns
    -------
    gap, weight : ndarrays of shape (n_resamples, n_bins)
        Sum of confidence minus correct, and number of rows.
    """
    n, n_bins = len(confidence), len(edges) - 1
    cell = 2 * bin_index(confidence, edges) + correct
    order = np.argsort(cell, kind="stable")
    counts = np.bincount(cell, minlength=2 * n_bins)
    sizes = rng.multinomial(n, counts / n, size=n_resamples)
    sums = np.zeros((n_resamples, 2 * n_bins))
    for k, members in enumerate(np.split(confidence[order], np.cumsum(counts)[:-1])):
        if len(members):
            sums[:, k] = _sums_of_draws(members, sizes[:, k], rng)
    hits = sizes[:, 1::2]
    gap = sums[:, ::2] + sums[:, 1::2] - hits
    return gap, sizes[:, ::2] + hits


def _sums_of_draws(values, sizes, rng):
    """Sum ``sizes[r]`` draws with replacement from `values`, for every r."""
    n = len(values)
    if n > EXACT_CELL:
        return rng.normal(sizes * values.mean(), np.sqrt(sizes) * values.std())
    ends = np.cumsum(sizes)
    drawn = np.concatenate([[0.0], np.cumsum(values[rng.integers(0, n, ends[-1])])])
    return drawn[ends] - drawn[ends - sizes]


def null_gaps(confidence, weight, edges, n_resamples, rng):
    """Draw labels as if the confidences were true, and return each bin's sum of the gaps.

    Up to 16384 rows each label is drawn on its own. Beyond, the hits of the rows within 1/64 of a
    bin's width are drawn from the binomial law of their mean confidence.

    Returns
    -------
    gap : ndarray of shape (n_resamples, n_bins)
        Sum of confidence minus correct.
    """
    n_bins = len(edges) - 1
    total = np.bincount(bin_index(confidence, edges), _times(weight, confidence), n_bins)
    repeats = np.ones(len(confidence)) if weight is None else weight
    whole = weight is None or count_weights(weight)
    if whole and repeats.sum() > EXACT_ROWS:
        confidence, repeats, scale = _cells(confidence, repeats, edges)
    elif whole:
        confidence = np.repeat(confidence, repeats.astype(np.int64))
        repeats, scale = np.ones(len(confidence)), 1.0
    else:  # one label a row, counted with its weight
        repeats, scale = np.ones(len(confidence)), repeats
    index = bin_index(confidence, edges)
    order = np.argsort(index, kind="stable")
    p, n = confidence[order].clip(0, 1), repeats[order].astype(np.int64)
    counts = np.bincount(index, minlength=n_bins)
    full = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[full]
    scale = np.broadcast_to(scale, len(p))[order]
    hits = np.zeros((n_resamples, n_bins))
    rows_at_once = max(2**20 // len(p), 1)
    for first in range(0, n_resamples, rows_at_once):
        rows = slice(first, min(first + rows_at_once, n_resamples))
        shape = (rows.stop - first, len(p))
        if (n == 1).all():
            drawn = rng.random(shape) < p
        else:
            # Cell by cell: numpy prepares a binomial law once for a run of equal parameters.
            drawn = rng.binomial(n[:, None], p[:, None], size=shape[::-1]).T
        hits[rows, full] = np.add.reduceat(drawn * scale, starts, axis=1)
    return total - hits


def _cells(confidence, repeats, edges):
    """Mean confidence and number of rows of narrow cells that divide the bins."""
    n_bins = len(edges) - 1
    index = bin_index(confidence, edges)
    width = np.diff(edges)[index]
    inside = ((confidence - edges[index]) / width * CELLS_PER_BIN).astype(np.int64)
    cell = index * CELLS_PER_BIN + inside.clip(0, CELLS_PER_BIN - 1)
    mass = np.bincount(cell, repeats, n_bins * CELLS_PER_BIN)
    sums = np.bincount(cell, repeats * confidence, n_bins * CELLS_PER_BIN)
    full = mass > 0
    return sums[full] / mass[full], mass[full], 1.0


def null_rows(proba, rng):
    """Draw one label a row as if the probabilities were true: codes."""
    u = rng.random((len(proba), 1))
    # The last column takes what rounding leaves.
    return (u > np.cumsum(proba[:, :-1], axis=1)).sum(axis=1)


def _times(weight, values):
    return values if weight is None else weight * values

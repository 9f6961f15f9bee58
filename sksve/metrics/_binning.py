"""Bins: edges, ties, confidence 1.0, empty bins and weights are decided here, once for all metrics.

Bins are right-closed, ``(edge[b], edge[b + 1]]``; the first also holds 0. So confidence 1.0 is in
the last bin, and equal confidences are always in one bin.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Bins", "bin_edges", "bin_index", "fill_bins", "quantile_edges", "uniform_edges"]

# Rows at a time: what a chunk needs stays in a core's cache.
CHUNK = 16384


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


def fill_bins(confidence, correct, weight, edges):
    """Add up weight, confidence and correctness in every bin."""
    n_bins = len(edges) - 1
    totals = np.zeros((3, n_bins))
    for start in range(0, len(confidence), CHUNK):
        rows = slice(start, start + CHUNK)
        conf, hit = confidence[rows], correct[rows]
        index = bin_index(conf, edges)
        if weight is None:
            totals[0] += np.bincount(index, minlength=n_bins)
            totals[1] += np.bincount(index, conf, minlength=n_bins)
            totals[2] += np.bincount(index, hit, minlength=n_bins)
        else:
            w = weight[rows]
            totals[0] += np.bincount(index, w, minlength=n_bins)
            totals[1] += np.bincount(index, w * conf, minlength=n_bins)
            totals[2] += np.bincount(index, w * hit, minlength=n_bins)
    return Bins(*totals)

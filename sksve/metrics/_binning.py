"""Bins: edges, ties, confidence 1.0, empty bins and weights are decided here, once for all metrics.

Bins are right-closed, ``(edge[b], edge[b + 1]]``; the first also holds 0. So confidence 1.0 is in
the last bin, and equal confidences are always in one bin.
"""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

CHUNK = 2**18  # rows
CONSTRAINTS = {
    "n_bins": [Interval(Integral, 1, None, closed="left")],
    "strategy": [StrOptions({"uniform", "quantile"})],
    "norm": [StrOptions({"l1", "l2", "max"})],
}


class Bins(NamedTuple):
    """What the rows of each bin add up to; a weight counts as that many rows."""

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
    """Return the edges of bins that hold equally many rows; ties stay in one bin."""
    # Each inner edge is the largest value of its bin. Where rows do not divide evenly, the first
    # bins get one more, as in numpy.array_split, which the published estimators use.
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
    sums = np.zeros((3, len(edges) - 1))
    for first in range(0, len(confidence), CHUNK):  # bounds the memory
        rows = slice(first, first + CHUNK)
        w = None if weight is None else weight[rows]
        index = bin_index(confidence[rows], edges)
        for total, values in zip(sums, (1.0, confidence[rows], correct[rows])):
            weighted = values if w is None else w * values
            total += np.bincount(index, np.broadcast_to(weighted, index.shape), len(total))
    return Bins(*sums)


def error_of_bins(bins, norm):
    """Calibration error from what the bins add up to; empty bins have no vote."""
    return float(pool_bins(bins.gap, bins.weight, norm))


def pool_bins(gap, weight, norm):
    """Combine bins (last axis): `gap` sums confidence minus correct, `weight` sums rows."""
    if norm == "l1":
        return np.abs(gap).sum(axis=-1) / weight.sum(axis=-1)
    mean = np.abs(gap) / np.where(weight > 0, weight, 1.0)
    if norm == "max":
        return mean.max(axis=-1)
    return np.sqrt((weight * mean**2).sum(axis=-1) / weight.sum(axis=-1))


def pool_classes(errors, norm):
    """Combine the classes' errors (last axis), each norm in its own way."""
    if norm == "max":
        return errors.max(axis=-1)
    if norm == "l2":
        return np.sqrt(np.mean(errors**2, axis=-1))
    return errors.mean(axis=-1)

"""Random draws for errors that have bins of their own in every class.

The classes share their rows, so rows are drawn, and only their sums are kept.
"""

import numpy as np

from sksve.metrics._binning import bin_index, uniform_edges
from sksve.metrics._draws import null_rows

__all__ = ["class_bootstrap_sums", "class_null_gaps"]

AT_ONCE = 2**21  # row counts held at a time


def class_bootstrap_sums(codes, proba, n_bins, n_resamples, rng):
    """Draw bootstrap resamples of rows, and return their sums per class and bin.

    Returns
    -------
    gap, weight : ndarrays of shape (n_resamples, n_classes, n_bins)
        Sum of probability minus class indicator, and number of rows.
    """
    from scipy.sparse import csr_array  # only here: keeps the import light

    n, c = proba.shape
    cell = _cells(proba, n_bins).ravel()
    residual = (proba - (codes[:, None] == np.arange(c))).ravel()
    row_ends = np.arange(0, n * c + 1, c)
    shape = (n, c * n_bins)
    gaps = csr_array((residual, cell, row_ends), shape=shape).T.tocsr()
    rows = csr_array((np.ones(n * c), cell, row_ends), shape=shape).T.tocsr()
    gap, weight = np.empty((2, n_resamples, c * n_bins))
    step = max(AT_ONCE // n, 1)
    for start in range(0, n_resamples, step):
        stop = min(start + step, n_resamples)
        counts = np.empty((n, stop - start))
        for column in range(stop - start):
            counts[:, column] = np.bincount(rng.integers(0, n, n), minlength=n)
        gap[start:stop] = (gaps @ counts).T
        weight[start:stop] = (rows @ counts).T
    return gap.reshape(-1, c, n_bins), weight.reshape(-1, c, n_bins)


def class_null_gaps(proba, n_bins, n_resamples, rng):
    """Draw labels as if the probabilities were true; sums per class and bin, as above."""
    n, c = proba.shape
    cell = _cells(proba, n_bins)
    total = np.bincount(cell.ravel(), proba.ravel(), c * n_bins)
    weight = np.bincount(cell.ravel(), minlength=c * n_bins)
    row = np.arange(n)
    gap = np.empty((n_resamples, c * n_bins))
    for r in range(n_resamples):
        gap[r] = total - np.bincount(cell[row, null_rows(proba, rng)], minlength=c * n_bins)
    return gap.reshape(-1, c, n_bins), weight.reshape(c, n_bins)


def _cells(proba, n_bins):
    """Bin of every probability, counted on through the classes."""
    return bin_index(proba, uniform_edges(n_bins)) + n_bins * np.arange(proba.shape[1])

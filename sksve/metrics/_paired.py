"""Metrics of several sets of predictions on the same resamples of the rows.

Differences between classifiers are far surer than their metrics are each: both meet the same hard
rows. So every set of predictions must be judged on the same resamples.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sksve.metrics._binning import bin_index, uniform_edges
from sksve.metrics._calibration_error import pool_bins, pool_classes
from sksve.metrics._inputs import Checked
from sksve.metrics._kinds import Kind
from sksve.metrics._top_label import reduce_rows

__all__ = ["CommonResamples"]

AT_ONCE = 2**21  # row counts held at a time


class CommonResamples:
    """Resamples of n rows, drawn anew from their seeds for every set of predictions.

    Parameters
    ----------
    n_rows : int
        Number of rows, drawn with replacement as often as there are rows.
    n_resamples : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the seeds; how many it gives depends on the two numbers alone.
    """

    def __init__(self, n_rows: int, n_resamples: int, rng: np.random.Generator) -> None:
        self.n_rows, self.n_resamples = n_rows, n_resamples
        self._step = max(AT_ONCE // n_rows, 1)
        self._seeds = rng.integers(2**63, size=-(-n_resamples // self._step))

    def counts(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield blocks of resamples: how often each holds each row, ``(n_block, n_rows)``."""
        n = self.n_rows
        for block, seed in enumerate(self._seeds):
            first = block * self._step
            size = min(self._step, self.n_resamples - first)
            rng = np.random.default_rng(seed)
            drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
            yield (
                slice(first, first + size),
                np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n),
            )

    def evaluate(
        self, kinds: Mapping[str, Kind], rows: Checked, top: Any = None
    ) -> dict[str, np.ndarray]:
        """Return each metric of unweighted `rows` on every resample, shape ``(n_resamples,)``."""
        confidence, correct = reduce_rows(rows.codes, rows.proba) if top is None else top
        # Most confident first, and so in every resample: the metrics have nothing left to sort.
        order = np.argsort(-confidence, kind="stable")
        ordered = confidence[order], correct[order]
        losses = {
            k: v.core(rows.codes, rows.proba) for k, v in kinds.items() if v.reads == "losses"
        }
        binned = {
            name: _BinSums(kind, rows, confidence, correct)
            for name, kind in kinds.items()
            if kind.options.get("strategy") == "uniform"
        }
        rest = {k: v for k, v in kinds.items() if k not in losses and k not in binned}
        found = {name: np.empty(self.n_resamples) for name in kinds}
        for block, counts in self.counts():
            as_numbers = counts.astype(np.float64)
            for name, loss in losses.items():
                found[name][block] = as_numbers @ loss / self.n_rows
            for name, sums in binned.items():
                found[name][block] = sums.pool(as_numbers.T)
            if rest:
                self._one_by_one(rest, ordered, counts[:, order], block.start, found)
        return found

    def _one_by_one(self, kinds, ordered, counts, first, found):
        place = np.arange(self.n_rows)
        for r, count in enumerate(counts):
            rows = np.repeat(place, count)
            confidence, correct = ordered[0][rows], ordered[1][rows]
            for name, kind in kinds.items():
                found[name][first + r] = kind.core(confidence, correct, None, **kind.options)


class _BinSums:
    """A uniform-bin error of any resample, by one product with the rows' shares in the bins."""

    def __init__(self, kind, rows, confidence, correct):
        from scipy.sparse import csr_array  # only here: keeps the import light

        self.norm, n_bins = kind.options["norm"], kind.options["n_bins"]
        if kind.reads == "top":
            p, residual = confidence[:, None], (confidence - correct)[:, None]
        else:
            p = rows.proba
            residual = p - (rows.codes[:, None] == np.arange(p.shape[1]))
        n, c = p.shape
        cell = bin_index(p, uniform_edges(n_bins)) + n_bins * np.arange(c)
        ends, shape = np.arange(0, n * c + 1, c), (n, c * n_bins)
        self.gaps = csr_array((residual.ravel(), cell.ravel(), ends), shape=shape).T.tocsr()
        self.rows = csr_array((np.ones(n * c), cell.ravel(), ends), shape=shape).T.tocsr()
        self.each = (-1, c, n_bins)

    def pool(self, counts):
        gap = (self.gaps @ counts).T.reshape(self.each)
        rows = (self.rows @ counts).T.reshape(self.each)
        return pool_classes(pool_bins(gap, rows, self.norm), self.norm)

"""The training rows' vectors, and how far a row is from them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy import ndarray
from scipy.stats import ks_2samp

#: Nearest rows that count, and most training rows that are kept: benchmarks/novelty.py.
NEIGHBORS, ROWS = 3, 5000
# Rows nearer than this (squared distance, in units of the longer one's squared length) are copies of each
# other: half precision and another batch change a vector by less, another word by far more.
SAME = 2e-6
# Scores that differ by less, relatively, are equal: another batch may round a vector to other halves.
TIE = 1e-4
# Entries of a block of distances: 32 MB in float64.
BLOCK = 2**22
LARGEST = 6e4  # of half precision


@dataclass(frozen=True, eq=False)
class NoveltyReference:
    """Distinct training rows in half precision, one array (n, d) per layer, and their own scores.

    The score of a row is the sum over layers of its mean distance to the `n_neighbors` nearest training
    rows, each in units of the standard deviation of that distance among the training rows. A copy of a
    training row is that row: like the training rows themselves it is measured from the others.
    """

    layers: tuple[ndarray, ...]
    cosine: bool  # 1 - cos of the angle between two rows; else their Euclidean distance
    n_neighbors: int
    max_rows: int
    seed: int
    spread: ndarray  # (n_layers,)
    scores: ndarray  # (n,) of the training rows, in rising order

    @classmethod
    def learn(
        cls, layers: Sequence[ndarray], *, cosine: bool, n_neighbors: int, max_rows: int, seed: int
    ) -> Self:
        """Take on rows of vectors; of more than `max_rows` a subset drawn by the seed and their content."""
        halves = [_half(layer, cosine) for layer in layers]
        return cls._of(halves, cosine, n_neighbors, max_rows, seed)

    @classmethod
    def _of(
        cls, halves: Sequence[ndarray], cosine: bool, n_neighbors: int, max_rows: int, seed: int
    ) -> Self:
        kept = _drawn(halves, max_rows, seed)
        halves = [half[kept] for half in halves]
        kept = ~_repeats(halves)
        halves = [half[kept] for half in halves]
        n = len(halves[0])
        distances = _distances(halves, halves, cosine, min(n_neighbors, max(n - 1, 1)))
        std, mean = distances.std(axis=0), distances.mean(axis=0)
        spread = np.where(std > 1e-6 * mean, std, np.where(mean > 0, mean, 1.0))
        scores = np.sort((distances / spread).sum(axis=1))
        return cls(tuple(halves), cosine, n_neighbors, max_rows, seed, spread, scores)

    def extended(self, layers: Sequence[ndarray]) -> Self:
        """A reference of these rows and more."""
        more = [_half(layer, self.cosine) for layer in layers]
        both = [np.concatenate(pair) for pair in zip(self.layers, more, strict=True)]
        return self._of(both, self.cosine, self.n_neighbors, self.max_rows, self.seed)

    def score(self, layers: Sequence[ndarray]) -> ndarray:
        """How far rows are from the training rows: larger where more foreign, no upper bound."""
        rows = [_half(layer, self.cosine) for layer in layers]
        n_neighbors = min(self.n_neighbors, max(len(self.scores) - 1, 1))
        distances = _distances(rows, self.layers, self.cosine, n_neighbors)
        return (distances / self.spread).sum(axis=1)

    def share_below(self, score: ndarray) -> ndarray:
        """Share of the training rows that are less far from the others than a row of this score is."""
        return np.searchsorted(self.scores, score * (1 - TIE), side="left") / len(self.scores)

    def novelty(self, layers: Sequence[ndarray]) -> ndarray:
        """Novelty in [0, 1] of rows."""
        return self.share_below(self.score(layers))

    def drift_test(self, score: ndarray) -> tuple[float, float]:
        """Two-sample Kolmogorov-Smirnov test of new scores against the training rows', one-sided."""
        result = ks_2samp(score, self.scores, alternative="less")
        return float(result.statistic), float(result.pvalue)

    def to_saved(self) -> dict[str, Any]:
        """Plain values and arrays."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_saved(cls, saved: Mapping[str, Any]) -> Self:
        """The way back; TypeError where something is not of its kind."""
        made = cls(**saved)
        good = isinstance(made.layers, tuple) and len(made.layers) > 0
        arrays = [*made.layers, made.spread, made.scores] if good else []
        good = good and all(isinstance(a, ndarray) and a.dtype.kind == "f" for a in arrays)
        good = good and all(np.isfinite(a).all() for a in arrays)
        n = len(made.scores) if good else 0
        good = good and n > 0 and all(a.ndim == 2 and len(a) == n for a in made.layers)
        good = good and made.spread.shape == (len(made.layers),) and bool((made.spread > 0).all())
        counts = (made.n_neighbors, made.max_rows, made.seed)
        if not good or type(made.cosine) is not bool or not all(type(c) is int for c in counts):
            raise TypeError("novelty")
        return made


def _half(layer: ndarray, cosine: bool) -> ndarray:
    """Vectors in half precision, of length 1 for angles."""
    rows = np.asarray(layer, dtype=np.float64)
    if cosine:
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(length > 0, length, 1.0)
    return np.clip(rows, -LARGEST, LARGEST).astype(np.float16)


def _drawn(halves: Sequence[ndarray], max_rows: int, seed: int) -> ndarray:
    """Places of at most `max_rows` rows, in order: a draw that neither their order nor later rows change."""
    n = len(halves[0])
    if n <= max_rows:
        return np.arange(n)
    rows = np.concatenate(halves, axis=1)
    salt = seed.to_bytes(16, "little")
    keys = [hashlib.blake2b(row.tobytes(), digest_size=8, key=salt).digest() for row in rows]
    distinct, first = np.unique(np.frombuffer(b"".join(keys), dtype=">u8"), return_index=True)
    return np.sort(first[: min(max_rows, len(distinct))])


def _repeats(halves: Sequence[ndarray]) -> ndarray:
    """Which rows are copies of an earlier one."""
    n = len(halves[0])
    found = np.zeros(n, dtype=bool)
    for start, squared in _blocks(halves, halves):
        same = _same(squared, halves, halves, start)
        place = np.arange(start, start + len(same))[:, None]
        found[start : start + len(same)] = (same & (np.arange(n) < place)).any(axis=1)
    return found


def _blocks(rows: Sequence[ndarray], layers: Sequence[ndarray]) -> Any:
    """Squared distances (n_layers, b, n) of a block of rows to all training rows, and where it starts."""
    n = len(layers[0])
    size = max(1, BLOCK // max(n, 1))
    wide = [layer.astype(np.float64) for layer in layers]
    lengths = [(v * v).sum(axis=1) for v in wide]
    for start in range(0, len(rows[0]), size):
        part = [r[start : start + size].astype(np.float64) for r in rows]
        squared = [
            np.maximum((u * u).sum(axis=1)[:, None] + long - 2 * (u @ v.T), 0.0)
            for u, v, long in zip(part, wide, lengths, strict=True)
        ]
        yield start, np.stack(squared)


def _same(
    squared: ndarray, rows: Sequence[ndarray], layers: Sequence[ndarray], start: int
) -> ndarray:
    """Which pairs (b, n) are copies of each other, in every layer."""
    same = np.ones(squared.shape[1:], dtype=bool)
    for each, r, v in zip(squared, rows, layers, strict=True):
        part = r[start : start + len(each)].astype(np.float64)
        u2, v2 = (part * part).sum(axis=1), (v.astype(np.float64) ** 2).sum(axis=1)
        same &= each <= SAME * np.maximum(u2[:, None], v2)
    return same


def _distances(rows: Sequence[ndarray], layers: Sequence[ndarray], cosine: bool, k: int) -> ndarray:
    """Mean distance (n_rows, n_layers) of rows to their k nearest training rows, copies left out."""
    out = np.zeros((len(rows[0]), len(layers)))
    for start, squared in _blocks(rows, layers):
        copies = _same(squared, rows, layers, start)
        for number, each in enumerate(squared):
            each[copies] = np.inf
            nearest = np.partition(each, k - 1, axis=1)[:, :k]
            there = np.isfinite(nearest)  # fewer where nearly all are copies; none: distance 0
            nearest = np.where(there, nearest / 2 if cosine else np.sqrt(nearest), 0.0)
            mean = nearest.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
            out[start : start + len(each), number] = mean
    return out

"""Which rows each member sees, step by step."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from sksve.training._data import MemberBatch, TokenDataset

__all__ = ["MemberBatches", "SharedBatches", "bucketed_epoch"]

# Batches sorted by length together: padding falls with it, and so does the mixing of lengths.
BUCKET = 32


def bucketed_epoch(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw one epoch of mini-batches of similar length.

    The rows are permuted, cut into buckets of ``32 * batch_size``, sorted by length inside each
    bucket (rows of equal length keep their random order) and cut into batches. The j-th batch of every
    member then has about the same length, so that stacking members wastes little.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,)
    batch_size : int
    rng : numpy.random.Generator
        Moved by one permutation.

    Returns
    -------
    list of ndarray
        Row numbers; every row occurs once. All batches but the last are full.
    """
    order = rng.permutation(len(lengths))
    size = BUCKET * batch_size
    batches: list[np.ndarray] = []
    for start in range(0, len(order), size):
        bucket = order[start : start + size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return batches


class MemberBatches:
    """Training batches: each pass is one epoch, each member draws from its own stream.

    Parameters
    ----------
    dataset : TokenDataset
    batch_size : int
        Rows per member and step.
    streams : sequence of numpy.random.Generator
        One per member. A single shared order (``member_batches="shared"``) has one stream and
        ``n_members`` copies of its rows.
    shared : numpy.random.Generator
        Draws the order of the batches, the same for all members, so that batches of similar length
        meet in one step.
    active : list of int
        Positions of the members still training; read at each step.
    n_members : int
    """

    def __init__(
        self,
        dataset: TokenDataset,
        batch_size: int,
        streams: Sequence[np.random.Generator],
        shared: np.random.Generator,
        active: list[int],
        n_members: int,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.streams = streams
        self.shared = shared
        self.active = active
        self.n_members = n_members

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[MemberBatch, Tensor]]:
        # Every stream moves in every epoch, also those of members that have stopped: a member's
        # batches must not depend on when others stop.
        epochs = [bucketed_epoch(self.dataset.lengths, self.batch_size, r) for r in self.streams]
        slots = self.shared.permutation(len(self))
        for slot in slots:
            active = list(self.active)
            rows = np.stack([epochs[k if len(epochs) > 1 else 0][slot] for k in active])
            everyone = len(active) == self.n_members
            yield self.dataset.collate(rows, None if everyone else tuple(active))


class SharedBatches:
    """Validation batches: every member sees the same rows, in the data set's order."""

    def __init__(
        self, dataset: TokenDataset, batch_size: int, active: list[int], n_members: int
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.active = active
        self.n_members = n_members

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[MemberBatch, Tensor]]:
        for start in range(0, len(self.dataset), self.batch_size):
            active = list(self.active)
            rows = np.arange(start, min(start + self.batch_size, len(self.dataset)))
            everyone = len(active) == self.n_members
            batch, y = self.dataset.collate(
                np.tile(rows, (len(active), 1)), None if everyone else tuple(active)
            )
            yield batch, y[0]

"""What the backbone gives as it was pretrained: output of the frozen blocks, and pooled vectors."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from sksve._forks import ForkSafeLock
from sksve.adapters import pretrained_layers
from sksve.backbones import eval_mode
from sksve.training._data import MemberBatch, MemberDataset

# Tokens a forward pass holds at once. Small enough for a laptop's cache hierarchy, large enough that
# Python is no cost; on an accelerator, large enough to fill it.
TOKENS_CPU, TOKENS_GPU = 1024, 65536
# Frozen features of a data set are kept in memory up to this size, and recomputed beyond it.
FEATURE_BYTES = 4 * 2**30


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to Euclidean length 1; a row of zeros stays as it is."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def token_batches(
    dataset: MemberDataset, budget: int, most_rows: int | None = None
) -> list[np.ndarray]:
    """Cut the rows, sorted by (length, tokens), into batches of at most `budget` padded tokens, or one row.

    Sorting by content as well makes a batch depend on the set of rows, not on their order. With `most_rows`
    a batch has so many rows instead, of whatever length.
    """
    lengths = dataset.lengths
    batches: list[np.ndarray] = []
    current: list[int] = []
    for row in dataset.sorted_rows():  # lengths rise, so the newest row is the longest
        n = len(current)
        if n and ((n + 1) * lengths[row] > budget if most_rows is None else n == most_rows):
            batches.append(np.array(current))
            current = []
        current.append(row)
    if current:
        batches.append(np.array(current))
    return batches


def token_budget(device: torch.device) -> int:
    return TOKENS_CPU if device.type == "cpu" else TOKENS_GPU


def _one_member(dataset: MemberDataset, rows: np.ndarray, device: torch.device) -> MemberBatch:
    batch, _ = dataset.collate(rows[None, :], None)
    return batch.to(device)


def with_features(
    split: Any,
    dataset: MemberDataset,
    rows: np.ndarray,
    device: torch.device,
    autocast: torch.dtype | None,
) -> MemberBatch:
    """Rows of one batch with the output of the frozen part."""
    batch = _one_member(dataset, rows, device)
    if batch.features is not None or not split.has_prefix:
        return batch
    with low_precision(device, autocast):
        features = split.features(batch.input_ids, batch.attention_mask)
    return replace(batch, features=features)


@contextmanager
def low_precision(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """Run the forward pass under autocast; None: in full precision.

    On a CPU, attention goes by its plain formula: the backward pass of the fused bfloat16 kernel is
    more than ten times slower there (torch 2.13).
    """
    if dtype is None:
        yield
        return
    plain = _plain_attention() if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype), plain:
        yield


class _PlainAttention:
    """Switch of the process, which the last thread to leave turns back, not the first."""

    def __init__(self) -> None:
        self.lock, self.users, self.stack = ForkSafeLock(), 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            if self.users == 0:
                self.stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    self.stack.close()


_plain_attention = _PlainAttention()


@torch.no_grad()
def compute_features(
    split: Any,
    dataset: MemberDataset,
    *,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
    most_rows: int | None = None,
) -> bool:
    """Run the frozen part of the backbone once over all rows and keep its output in the data set.

    False if no block is frozen, it has been done, or the output is larger than 4 GiB and is recomputed at
    every use. Batches are those of :func:`token_batches`.
    """
    if not split.has_prefix or dataset.has_features:
        return False
    device = torch.device(device)
    lengths = dataset.lengths if split.has_suffix else np.ones_like(dataset.lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    if int(starts[-1]) * split.plan.width * dataset.dtype.itemsize > FEATURE_BYTES:
        return False
    flat: Tensor | None = None
    for rows in token_batches(dataset, token_budget(device), most_rows):
        batch = _one_member(dataset, rows, device)
        with low_precision(device, autocast):
            out = split.features(batch.input_ids, batch.attention_mask)
        assert out is not None
        out = out.to(dataset.dtype)
        if flat is None:
            flat = torch.empty(int(starts[-1]), out.shape[-1], dtype=dataset.dtype)
        n = torch.from_numpy(lengths[rows])
        mask = torch.arange(out.shape[1]) < n[:, None]
        index = torch.from_numpy(starts[rows])[:, None] + torch.arange(out.shape[1])
        flat[index[mask]] = out.cpu()[mask]
    assert flat is not None
    dataset.set_features(flat, lengths)
    return True


class LayerVectors:
    """Pooled vectors of the backbone as it was pretrained, collected batch by batch from any split.

    The layers are the output of the frozen blocks, where the backbone is cut, and that of its last block.
    In the place of vectors, rows without anything to read have their side features.
    """

    def __init__(self, split: Any, n_rows: int) -> None:
        self.split = getattr(split, "split", split)  # of whole copies: the model beside them
        self._n_rows = n_rows
        self._layers: dict[str, np.ndarray] = {}

    @property
    def layers(self) -> list[np.ndarray]:
        """Arrays (n_rows, d), float64."""
        return list(self._layers.values())

    def take(self, batch: MemberBatch, rows: np.ndarray, autocast: torch.dtype | None) -> None:
        """Compute the vectors of a batch of rows, which has its features, if there is a frozen part."""
        split, features, mask = self.split, batch.features, batch.attention_mask
        if not split.has_suffix:
            assert features is not None
            self._put("last", rows, features[:, 0])  # pooled already
            return
        with low_precision(batch.input_ids.device, autocast):
            if features is not None and features.shape[-1]:  # none where the model cannot be cut
                self._put("cut", rows, split.pool(features, mask))
            hidden = split.suffix(features, batch.input_ids, mask)
            self._put("last", rows, split.pool(hidden, mask))

    def _put(self, name: str, rows: np.ndarray, vectors: Tensor) -> None:
        if name not in self._layers:
            self._layers[name] = np.empty((self._n_rows, vectors.shape[-1]))
        self._layers[name][rows] = vectors.double().cpu().numpy()


@torch.no_grad()
def layer_vectors(
    split: Any,
    dataset: MemberDataset,
    *,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
    most_rows: int | None = None,
    collected: LayerVectors | None = None,
) -> list[np.ndarray]:
    """What :class:`LayerVectors` (a new one, or `collected`) collects of all rows."""
    device, collected = torch.device(device), collected or LayerVectors(split, len(dataset))
    with eval_mode(split), pretrained_layers(split):
        for rows in token_batches(dataset, token_budget(device), most_rows):
            batch = with_features(split, dataset, rows, device, autocast)
            collected.take(batch, rows, autocast)
    return collected.layers


@torch.no_grad()
def frozen_vectors(
    split: Any,
    dataset: MemberDataset,
    *,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
    most_rows: int | None = None,
) -> np.ndarray:
    """Pooled vectors (n_samples, d), float64, of the backbone as it was pretrained: no layer is adapted.

    The output of the frozen blocks stays in the data set, for the training that follows.
    """
    how: dict[str, Any] = {"device": device, "autocast": autocast, "most_rows": most_rows}
    compute_features(split, dataset, **how)
    return layer_vectors(split, dataset, **how)[-1]

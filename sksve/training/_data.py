"""The members' data: rows with targets, weights and frozen features, and the batches made from them."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

# Batches sorted by length together: padding falls with it, and so does the mixing of lengths.
BUCKET = 32
# Images hashed at once.
PIXEL_ROWS = 64


@dataclass(frozen=True)
class MemberBatch:
    """Padded rows for some members, member axis outermost."""

    # (m * b, t) token ids padded on the right, (m * b, 2, t) these over token types, or
    # (m * b, c, h, w) pixel values
    input_ids: Tensor
    # (m * b, t); None: no row has padding. Of int32: the number of a token's window, from 1.
    attention_mask: Tensor | None
    features: Tensor | None  # (m * b, t, d) output of the frozen part, where computed beforehand
    weight: Tensor  # (m, b)
    members: tuple[int, ...] | None  # positions of the members these rows belong to; None: all
    n_tokens: int | None = None  # of a row in the model; None: as `input_ids` are long
    side: Tensor | None = None  # (m * b, s) side features

    def __len__(self) -> int:
        """Rows per member: what a skorch user calls the batch size."""
        return self.weight.shape[1]

    def of_members(self, chosen: slice, m: int) -> "MemberBatch":
        """Rows of the members at the positions `chosen`, without padding that only the others needed."""
        b = len(self)
        rows = slice(chosen.start * b, chosen.stop * b)
        mask, t = None, None
        if self.attention_mask is not None:
            t = int((self.attention_mask[rows] > 0).sum(dim=1).max())
            mask = self.attention_mask[rows, :t]
        return MemberBatch(
            self.input_ids[rows, ..., :t],
            mask,
            None if self.features is None else self.features[rows, :t],
            self.weight[chosen],
            (tuple(range(m)) if self.members is None else self.members)[chosen],
            self.n_tokens,
            None if self.side is None else self.side[rows],
        )

    @property
    def tokens_per_row(self) -> int:
        """Tokens of a row, padding included: what a step's size is measured by."""
        return self.input_ids.shape[-1] if self.n_tokens is None else self.n_tokens

    def token_counts(self) -> np.ndarray:
        """Tokens of each member's rows, and as many with the padding up to its longest: shape (2, m)."""
        m, b = self.weight.shape
        if self.attention_mask is None:
            return np.full((2, m), float(b * self.tokens_per_row))
        lengths = (self.attention_mask > 0).sum(dim=-1).reshape(m, b)
        return np.stack([lengths.sum(dim=1).numpy(), b * lengths.amax(dim=1).numpy()]).astype(float)

    def to(self, device: torch.device) -> "MemberBatch":
        """Return the batch with its tensors on `device`."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class MemberDataset(Dataset):
    """Rows with targets, weights and, once computed, the output of the backbone's frozen part.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,)
        Tokens of each row in the model.
    y : array of shape (n_samples,) or (n_samples, n_classes), optional
        Encoded targets, or rows of probabilities; zeros without it.
    sample_weight : array of shape (n_samples,), optional
        Ones without it.
    dtype : torch.dtype
        Of weights and features.
    """

    #: What a row's inputs take in a batch, where that is more than a few bytes a token.
    input_bytes = 0

    def __init__(
        self,
        lengths: np.ndarray,
        y: np.ndarray | None,
        sample_weight: np.ndarray | None,
        dtype: torch.dtype,
    ) -> None:
        n = len(lengths)
        self.lengths = lengths
        self.y = torch.zeros(n, dtype=torch.int64) if y is None else torch.as_tensor(y)
        if self.y.is_floating_point():
            self.y = self.y.to(dtype)
        weight = np.ones(n) if sample_weight is None else sample_weight
        self.weight = torch.as_tensor(np.asarray(weight, dtype=np.float64)).to(dtype)
        self.dtype = dtype
        self.features: Tensor | None = None
        self.side: Tensor | None = None  # (n, s) side features
        self.side_bytes = [b""] * n  # of each row
        self._feature_lengths = lengths
        self._feature_starts = _starts(lengths)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    @property
    def has_features(self) -> bool:
        """Whether the frozen part of the backbone has been computed."""
        return self.features is not None

    def set_features(self, flat: Tensor, lengths: np.ndarray) -> None:
        """Keep the output of the frozen part: rows end to end, of shape (sum(lengths), d).

        `lengths` are vectors per row: one per token, or 1 when they are already pooled.
        """
        self.features, self._feature_lengths = flat, lengths
        self._feature_starts = _starts(lengths)

    def set_side(self, side: np.ndarray, *, alone: bool) -> None:
        """Keep side features (n, s); `alone`: in the place of pooled vectors, for rows without a text."""
        values = torch.as_tensor(side).to(self.dtype)
        self.side_bytes = [row.tobytes() for row in values.numpy()]
        if alone:
            self.set_features(values, np.ones_like(self.lengths))
        else:
            self.side = values

    def collate(
        self, rows: np.ndarray, members: tuple[int, ...] | None
    ) -> tuple[MemberBatch, Tensor]:
        """Batch and targets, (m, b) or soft (m, b, n_classes), of the rows (m, b) of these members."""
        flat, index = rows.reshape(-1), torch.from_numpy(rows)
        features = None
        if self.features is not None:
            features = _gather(self.features, self._feature_starts, self._feature_lengths, flat)[0]
        inputs, mask = self._inputs(flat)
        n_tokens = None if mask is not None else int(self.lengths[0])
        side = None if self.side is None else self.side[flat]
        batch = MemberBatch(inputs, mask, features, self.weight[index], members, n_tokens, side)
        return batch, self.y[index]

    @abstractmethod
    def _inputs(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """What the model takes of some rows, and the mask of real tokens; None: there is no padding."""

    @abstractmethod
    def described(self, max_length: int) -> str:
        """What became of rows that are longer than `max_length`, or how large images are, for people."""

    @abstractmethod
    def content_key(self) -> str:
        """Hash of the rows' inputs, in order."""

    @abstractmethod
    def sorted_rows(self) -> list[int]:
        """Rows by length, in an order that depends on the set of rows, not on their order."""


class TokenDataset(MemberDataset):
    """Rows of token ids, none empty, and of token types where the model takes them; stored end to end.

    `windows` are the numbers of the tokens' windows, from 1, where a row is several windows end to end.
    """

    def __init__(
        self,
        token_ids: Sequence[Sequence[int]],
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        pad_token_id: int = 0,
        dtype: torch.dtype = torch.float32,
        token_types: Sequence[Sequence[int]] | None = None,
        windows: Sequence[Sequence[int]] | None = None,
    ) -> None:
        lengths = np.fromiter(map(len, token_ids), dtype=np.int64, count=len(token_ids))
        super().__init__(lengths, y, sample_weight, dtype)
        self.starts = _starts(lengths)
        self.flat_ids = _end_to_end(token_ids, lengths)
        self.flat_types = None if token_types is None else _end_to_end(token_types, lengths)
        self.flat_windows = None if windows is None else _end_to_end(windows, lengths)
        self.pad_token_id = pad_token_id

    def described(self, max_length: int) -> str:
        """Share of the rows that were cut, as far as it can be told."""
        if self.flat_windows is not None:
            return f" in windows of at most {max_length}"
        share = float((self.lengths >= max_length).mean())
        return f", {share:.1%} of the rows cut or exactly as long as max_length"

    def content_key(self) -> str:
        """Hash of the rows' tokens, in order."""
        digest = hashlib.sha256(self.lengths.tobytes() + self.flat_ids.numpy().tobytes())
        if self.flat_types is not None:
            digest.update(b"types" + self.flat_types.numpy().tobytes())
        if self.flat_windows is not None:
            digest.update(b"windows" + self.flat_windows.numpy().tobytes())
        digest.update(b"".join(self.side_bytes))
        return digest.hexdigest()

    def sorted_rows(self) -> list[int]:
        """Rows by (length, tokens, side features)."""
        starts, flat = self.starts.tolist(), self.flat_ids.numpy()
        rows = zip(starts, self.lengths, self.side_bytes)
        keys = [(int(n), flat[s : s + n].tobytes(), side) for s, n, side in rows]
        return sorted(range(len(keys)), key=keys.__getitem__)

    def _inputs(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        ids, mask = _gather(self.flat_ids, self.starts, self.lengths, rows)
        ids = torch.where(mask, ids, self.pad_token_id).long()
        if self.flat_types is not None:
            types, _ = _gather(self.flat_types, self.starts, self.lengths, rows)
            ids = torch.stack([ids, torch.where(mask, types, 0).long()], dim=1)
        if self.flat_windows is not None:
            numbers, _ = _gather(self.flat_windows, self.starts, self.lengths, rows)
            return ids, torch.where(mask, numbers, 0).int()
        return ids, mask.long()


class Pixels(Protocol):
    """What is needed of ``sksve.inputs.ImageRows``."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...
    def pixels(self, rows: np.ndarray, /) -> np.ndarray: ...


class ImageDataset(MemberDataset):
    """Rows of images, all of one size, so that no batch has padding; pixels are made batch by batch.

    Parameters
    ----------
    images : ImageRows
    n_tokens : int
        Tokens the model makes of an image.
    rows : ndarray of int, optional
        Which images; all without it.
    features_suffice : bool, default=False
        Whether a batch needs no pixels once the frozen part of the backbone has been computed.
    """

    def __init__(
        self,
        images: Pixels,
        n_tokens: int,
        rows: np.ndarray | None = None,
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        features_suffice: bool = False,
    ) -> None:
        self.images = images
        self.rows = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)
        super().__init__(np.full(len(self.rows), n_tokens), y, sample_weight, dtype)
        self.features_suffice = features_suffice
        self.input_bytes = int(np.prod(images.shape)) * dtype.itemsize

    def described(self, max_length: int) -> str:
        """Size of the images."""
        height, width = self.images.shape[-2:]
        return f" ({self.lengths[0]} an image of {height} x {width} pixels)"

    def content_key(self) -> str:
        """Hash of the rows' pixel values, in order."""
        digest = hashlib.sha256()
        for start in range(0, len(self.rows), PIXEL_ROWS):
            digest.update(self.images.pixels(self.rows[start : start + PIXEL_ROWS]).tobytes())
        return digest.hexdigest()

    def sorted_rows(self) -> list[int]:
        """Rows as they are: all are of one length, and no row sees another."""
        return list(range(len(self)))

    def _inputs(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        if self.features is not None and self.features_suffice:
            return torch.zeros(len(rows), 1, 1, 1, dtype=self.dtype), None  # nobody looks at them
        return torch.from_numpy(self.images.pixels(self.rows[rows])).to(self.dtype), None


def _starts(lengths: np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])[:-1])


def _end_to_end(rows: Sequence[Sequence[int]], lengths: np.ndarray) -> Tensor:
    flat = (i for row in rows for i in row)
    return torch.from_numpy(np.fromiter(flat, dtype=np.int32, count=int(lengths.sum())))


def _gather(
    flat: Tensor, starts: Tensor, lengths: np.ndarray, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Rows of a ragged array as (len(rows), longest, ...), and the mask of real entries.

    Beyond its end a row repeats its own last entry: finite, and masked wherever it could count.
    """
    length = torch.from_numpy(lengths[rows])
    position = torch.arange(int(length.max()))
    mask = position < length[:, None]
    index = starts[torch.from_numpy(rows)][:, None] + torch.minimum(position, length[:, None] - 1)
    # On rows as wide as features are this takes half of what `flat[index]` does.
    return flat.index_select(0, index.reshape(-1)).view(*index.shape, *flat.shape[1:]), mask


# -- which rows each member sees, step by step ----------------------------------------------------


def bucketed_epoch(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw one epoch of mini-batches of similar length: row numbers, each once.

    The rows are permuted, cut into buckets of ``32 * batch_size``, sorted by length inside each
    bucket (rows of equal length keep their random order) and cut into batches. The j-th batch of every
    member then has about the same length, so that stacking members wastes little.
    """
    order = rng.permutation(len(lengths))
    size = BUCKET * batch_size
    batches: list[np.ndarray] = []
    for start in range(0, len(order), size):
        bucket = order[start : start + size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return batches


class _Batches:
    """Batches of the members still training: `active` lists their positions, and is read at each step."""

    def __init__(
        self, dataset: MemberDataset, batch_size: int, active: list[int], n_members: int
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.active = active
        self.n_members = n_members

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return -(-len(self.dataset) // self.batch_size)

    def _collate(self, rows: np.ndarray, active: list[int]) -> tuple[MemberBatch, Tensor]:
        everyone = len(active) == self.n_members
        return self.dataset.collate(rows, None if everyone else tuple(active))


class MemberBatches(_Batches):
    """Training batches: each pass is one epoch, each member draws from its own stream.

    `streams` has one generator per member, or a single one that all share; `shared` draws the order of the
    batches, the same for all, so that batches of similar length meet in one step.
    """

    def __init__(
        self,
        dataset: MemberDataset,
        batch_size: int,
        streams: Sequence[np.random.Generator],
        shared: np.random.Generator,
        active: list[int],
        n_members: int,
    ) -> None:
        super().__init__(dataset, batch_size, active, n_members)
        self.streams = streams
        self.shared = shared

    def __iter__(self) -> Iterator[tuple[MemberBatch, Tensor]]:
        # Every stream moves in every epoch, also those of members that have stopped: a member's
        # batches must not depend on when others stop.
        epochs = [bucketed_epoch(self.dataset.lengths, self.batch_size, r) for r in self.streams]
        for slot in self.shared.permutation(len(self)):
            active = list(self.active)
            rows = np.stack([epochs[k if len(epochs) > 1 else 0][slot] for k in active])
            yield self._collate(rows, active)


class SharedBatches(_Batches):
    """Validation batches: every member sees the same rows, in the data set's order."""

    def __iter__(self) -> Iterator[tuple[MemberBatch, Tensor]]:
        for start in range(0, len(self.dataset), self.batch_size):
            active = list(self.active)
            rows = np.arange(start, min(start + self.batch_size, len(self.dataset)))
            batch, y = self._collate(np.tile(rows, (len(active), 1)), active)
            yield batch, y[0]

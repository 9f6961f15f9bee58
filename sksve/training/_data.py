"""Token sequences of unequal length, and the padded batches made from them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["MemberBatch", "TokenDataset"]


@dataclass(frozen=True)
class MemberBatch:
    """Padded rows for some members, member axis outermost.

    Attributes
    ----------
    input_ids : Tensor of shape (m * b, t), (m * b, 2, t) or (m * b, c, h, w)
        Token ids padded on the right; these over token types; or pixel values.
    attention_mask : Tensor of shape (m * b, t), or None
        None: no row has padding.
    features : Tensor of shape (m * b, t, d), or None
        Output of the frozen part of the backbone, where it was computed beforehand.
    weight : Tensor of shape (m, b)
        Sample weights.
    members : tuple of int, or None
        Positions of the members these rows belong to; None: all.
    n_tokens : int or None
        Tokens a row has in the model; None: as `input_ids` are long.
    """

    input_ids: Tensor
    attention_mask: Tensor | None
    features: Tensor | None
    weight: Tensor
    members: tuple[int, ...] | None
    n_tokens: int | None = None

    def __len__(self) -> int:
        """Rows per member: what a skorch user calls the batch size."""
        return self.weight.shape[1]

    def of_members(self, chosen: slice, m: int) -> "MemberBatch":
        """Rows of some of the m members, those at the positions `chosen` of the member axis.

        Padding that only the rows of the others needed is cut off.
        """
        b = len(self)
        rows = slice(chosen.start * b, chosen.stop * b)
        mask, t = None, None
        if self.attention_mask is not None:
            t = int(self.attention_mask[rows].sum(dim=1).max())
            mask = self.attention_mask[rows, :t]
        return MemberBatch(
            self.input_ids[rows, ..., :t],
            mask,
            None if self.features is None else self.features[rows, :t],
            self.weight[chosen],
            (tuple(range(m)) if self.members is None else self.members)[chosen],
            self.n_tokens,
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
        lengths = self.attention_mask.sum(dim=-1).reshape(m, b)
        return np.stack([lengths.sum(dim=1).numpy(), b * lengths.amax(dim=1).numpy()]).astype(float)

    def to(self, device: torch.device) -> "MemberBatch":
        """Return the batch with its tensors on `device`."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class TokenDataset(Dataset):
    """Rows of token ids with targets and weights, stored end to end.

    Parameters
    ----------
    token_ids : sequence of sequences of int
        One non-empty sequence per row.
    y : array of shape (n_samples,) or (n_samples, n_classes), optional
        Encoded targets, or rows of probabilities; zeros without it.
    sample_weight : array of shape (n_samples,), optional
        Ones without it.
    pad_token_id : int, default=0
    dtype : torch.dtype, default=torch.float32
        Of weights and features.
    token_types : sequence of sequences of int, optional
        Segment of each token, where the model is told.

    Attributes
    ----------
    input_bytes : int
        What a row's inputs take in a batch, where that is more than a few bytes a token.
    """

    input_bytes = 0

    def __init__(
        self,
        token_ids: Sequence[Sequence[int]],
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        pad_token_id: int = 0,
        dtype: torch.dtype = torch.float32,
        token_types: Sequence[Sequence[int]] | None = None,
    ) -> None:
        n = len(token_ids)
        self.lengths = np.fromiter((len(ids) for ids in token_ids), dtype=np.int64, count=n)
        flat = np.fromiter(
            (i for ids in token_ids for i in ids), dtype=np.int32, count=int(self.lengths.sum())
        )
        self.flat_ids = torch.from_numpy(flat)
        self.flat_types: Tensor | None = None
        if token_types is not None:
            each = (t for types in token_types for t in types)
            self.flat_types = torch.from_numpy(np.fromiter(each, dtype=np.int32, count=len(flat)))
        self.starts = torch.from_numpy(np.concatenate([[0], np.cumsum(self.lengths)])[:n])
        self._keep_targets(y, sample_weight, dtype)
        self.pad_token_id = pad_token_id

    def _keep_targets(
        self, y: np.ndarray | None, sample_weight: np.ndarray | None, dtype: torch.dtype
    ) -> None:
        n = len(self.lengths)
        self.y = torch.zeros(n, dtype=torch.int64) if y is None else torch.as_tensor(y)
        if self.y.is_floating_point():
            self.y = self.y.to(dtype)
        weight = np.ones(n) if sample_weight is None else sample_weight
        self.weight = torch.as_tensor(np.asarray(weight, dtype=np.float64)).to(dtype)
        self.dtype = dtype
        self._features: Tensor | None = None
        self._feature_lengths: np.ndarray | None = None
        self._feature_starts: Tensor | None = None

    def content_key(self) -> str | None:
        """Hash of the rows' tokens, in order; None if hashing costs more than it saves."""
        digest = hashlib.sha256(self.lengths.tobytes() + self.flat_ids.numpy().tobytes())
        if self.flat_types is not None:
            digest.update(b"types" + self.flat_types.numpy().tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """Return token ids and target of one row."""
        start = int(self.starts[row])
        return self.flat_ids[start : start + int(self.lengths[row])], self.y[row]

    @property
    def has_features(self) -> bool:
        """Whether the frozen part of the backbone has been computed."""
        return self._features is not None

    @property
    def features(self) -> Tensor | None:
        """What :meth:`set_features` keeps."""
        return self._features

    def set_features(self, flat: Tensor, lengths: np.ndarray) -> None:
        """Keep the output of the frozen part.

        Parameters
        ----------
        flat : Tensor of shape (sum(lengths), d)
            Rows end to end.
        lengths : ndarray of shape (n_samples,)
            Vectors per row: one per token, or 1 when they are already pooled.
        """
        self._features = flat
        self._feature_lengths = lengths
        self._feature_starts = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])[:-1])

    def sorted_rows(self) -> list[int]:
        """Rows by (length, tokens): an order that depends on the set of rows, not on their order."""
        starts, flat = self.starts.tolist(), self.flat_ids.numpy()
        keys = [(int(n), flat[s : s + n].tobytes()) for s, n in zip(starts, self.lengths)]
        return sorted(range(len(keys)), key=keys.__getitem__)

    def collate(
        self, rows: np.ndarray, members: tuple[int, ...] | None
    ) -> tuple[MemberBatch, Tensor]:
        """Pad rows into one batch.

        Parameters
        ----------
        rows : ndarray of shape (m, b)
            Row numbers of each member.
        members : tuple of int or None
            Which members.

        Returns
        -------
        batch : MemberBatch
        y : Tensor of shape (m, b), or (m, b, n_classes) for soft targets
        """
        flat = rows.reshape(-1)
        ids, mask = _gather(self.flat_ids, self.starts, self.lengths, flat)
        ids = torch.where(mask, ids, self.pad_token_id).long()
        if self.flat_types is not None:
            types, _ = _gather(self.flat_types, self.starts, self.lengths, flat)
            ids = torch.stack([ids, torch.where(mask, types, 0).long()], dim=1)
        index = torch.from_numpy(rows)
        features = self._features_of(flat)
        batch = MemberBatch(ids, mask.long(), features, self.weight[index], members)
        return batch, self.y[index]

    def _features_of(self, rows: np.ndarray) -> Tensor | None:
        if self._features is None:
            return None
        assert self._feature_starts is not None
        assert self._feature_lengths is not None
        return _gather(self._features, self._feature_starts, self._feature_lengths, rows)[0]


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

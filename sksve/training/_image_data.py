"""Images with targets and weights: pixel values are made when a batch asks for them."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sksve.training._data import MemberBatch, TokenDataset

__all__ = ["ImageDataset"]


class Pixels(Protocol):
    """What is needed of ``sksve.inputs.ImageRows``."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...
    def pixels(self, rows: np.ndarray, /) -> np.ndarray: ...
    def forget(self) -> None: ...


class ImageDataset(TokenDataset):
    """Rows of images, all of one size, so that no batch has padding.

    Parameters
    ----------
    images : ImageRows
        May be shared by data sets.
    n_tokens : int
        Tokens the model makes of an image.
    rows : ndarray of int, optional
        Which images; all without it.
    y, sample_weight, dtype
        As in :class:`TokenDataset`.
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
        self.lengths = np.full(len(self.rows), n_tokens, dtype=np.int64)
        self.features_suffice = features_suffice
        self.input_bytes = int(np.prod(images.shape)) * dtype.itemsize
        self._keep_targets(y, sample_weight, dtype)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """Return pixel values and target of one row."""
        return self._pixels(np.array([row]))[0], self.y[row]

    def content_key(self) -> str | None:
        return None

    def set_features(self, flat: Tensor, lengths: np.ndarray) -> None:
        super().set_features(flat, lengths)
        if self.features_suffice:
            self.images.forget()

    def sorted_rows(self) -> list[int]:
        """Rows as they are: all are of one length, and no row sees another."""
        return list(range(len(self)))

    def collate(
        self, rows: np.ndarray, members: tuple[int, ...] | None
    ) -> tuple[MemberBatch, Tensor]:
        """Bring rows of shape (m, b) into one batch; see :meth:`TokenDataset.collate`."""
        flat = rows.reshape(-1)
        features = self._features_of(flat)
        if features is not None and self.features_suffice:
            pixels = torch.zeros(len(flat), 1, 1, 1, dtype=self.dtype)  # nobody looks at them
        else:
            pixels = self._pixels(flat)
        index = torch.from_numpy(rows)
        n_tokens = int(self.lengths[0])
        batch = MemberBatch(pixels, None, features, self.weight[index], members, n_tokens)
        return batch, self.y[index]

    def _pixels(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.images.pixels(self.rows[rows])).to(self.dtype)

"""From rows of one kind (texts, pairs of texts, images) to the data sets that training takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sksve.backbones import count_image_tokens, entry_replaces_inputs
from sksve.inputs import ImageRows, tokenize, tokenize_pairs
from sksve.training import ImageDataset, TokenDataset

__all__ = ["EncodedRows", "encode_rows"]

# Resized images are kept between epochs up to this size; beyond it they are made anew. The data set lets
# go of them as soon as the frozen part's output makes them needless.
KEEP_BYTES = 2**30


@dataclass(frozen=True)
class EncodedRows:
    """Rows as the backbone's processor gave them, to be cut into data sets.

    Attributes
    ----------
    ids, types : list of list of int, or None
        Token ids, and token types where the tokenizer knows them.
    images : ImageRows or None
    """

    ids: list[list[int]] | None
    types: list[list[int]] | None
    images: ImageRows | None

    def dataset(
        self,
        model: Any,
        blocks: str,
        rows: np.ndarray | None = None,
        y: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        *,
        pad_token_id: int,
        dtype: torch.dtype,
    ) -> TokenDataset:
        """Make a data set of some rows.

        Parameters
        ----------
        model : nn.Module
            The backbone's model, adapted or not.
        blocks : str
            Dotted name of its transformer blocks.
        rows : ndarray of int, optional
            Which; all without it.
        y, weight : ndarray, optional
            One entry for each of these rows.
        pad_token_id, dtype
            As in ``TokenDataset``.
        """
        if self.images is not None:
            return ImageDataset(
                self.images,
                count_image_tokens(model, blocks, self.images.shape),
                rows,
                y,
                weight,
                dtype=dtype,
                features_suffice=entry_replaces_inputs(model),
            )
        assert self.ids is not None
        chosen = range(len(self.ids)) if rows is None else rows
        return TokenDataset(
            [self.ids[row] for row in chosen],
            y,
            weight,
            pad_token_id=pad_token_id,
            dtype=dtype,
            token_types=None if self.types is None else [self.types[row] for row in chosen],
        )


def encode_rows(
    kind: str, rows: Sequence[Any], processor: Any, max_length: int, model: Any, *, keep: bool
) -> EncodedRows:
    """Tokenise texts or pairs of texts, or make images ready to be processed.

    Parameters
    ----------
    kind : str
        As in ``Samples``.
    rows : sequence of str, of (str, str), or of images
    processor : tokenizer or image processor
    max_length : int
        For texts.
    model : nn.Module
        The backbone's model.
    keep : bool
        Whether images are asked for again and again, so that keeping them resized pays.
    """
    if kind == "image":
        channels = getattr(model.config, "num_channels", 3)
        keep_bytes = KEEP_BYTES if keep else 0
        images = ImageRows(rows, processor, n_channels=channels, keep_bytes=keep_bytes)
        return EncodedRows(None, None, images)
    if kind == "text_pair":
        ids, types = tokenize_pairs(processor, rows, max_length)
        return EncodedRows(ids, types, None)
    return EncodedRows(tokenize(processor, rows, max_length), None, None)

"""Rows of images: batches hold the pixels of the right rows, and none once features suffice."""

import numpy as np
import pytest
import torch

from sksve.training import ImageDataset
from sksve.training._inference import token_batches


class Numbered:
    """Image k is filled with the number k."""

    shape = (3, 2, 2)
    forgotten = False

    def __len__(self):
        return 10

    def pixels(self, rows):
        return np.tile(np.asarray(rows, dtype=np.float32)[:, None, None, None], (1, *self.shape))

    def forget(self):
        self.forgotten = True


def dataset(**options):
    rows = np.array([7, 2, 5, 0])
    return ImageDataset(
        Numbered(), 5, rows, np.array([0, 1, 2, 3]), np.array([1.0, 2.0, 0.5, 0.5]), **options
    )


def test_collate__gives_pixels_targets_and_weights_of_the_same_rows():
    data = dataset(dtype=torch.float64)
    assert len(data) == 4
    batch, y = data.collate(np.array([[3, 0], [1, 1]]), (0, 2))
    assert batch.input_ids.dtype == torch.float64
    assert batch.input_ids.shape == (4, 3, 2, 2)
    assert batch.input_ids[:, 0, 0, 0].tolist() == [0, 7, 2, 2]
    assert y.tolist() == [[3, 0], [1, 1]]
    assert batch.weight.tolist() == [[0.5, 1.0], [2.0, 2.0]]
    assert (batch.attention_mask, batch.members, batch.tokens_per_row) == (None, (0, 2), 5)
    part = batch.of_members(slice(1, 2), 2)
    assert part.input_ids[:, 0, 0, 0].tolist() == [2, 2]
    assert (part.attention_mask, part.members, part.tokens_per_row) == (None, (2,), 5)
    assert data[1][0].unique().tolist() == [2.0]
    assert data.input_bytes == 12 * 8


@pytest.mark.parametrize("suffice", [True, False])
def test_features__take_the_place_of_pixels_where_they_suffice(suffice):
    data = dataset(features_suffice=suffice)
    flat = torch.arange(4 * 5 * 2, dtype=torch.float32).reshape(20, 2)
    data.set_features(flat, data.lengths)
    batch, _ = data.collate(np.array([[2, 0]]), None)
    torch.testing.assert_close(batch.features, flat.reshape(4, 5, 2)[[2, 0]])
    assert data.images.forgotten == suffice
    assert batch.input_ids.shape == ((2, 1, 1, 1) if suffice else (2, 3, 2, 2))
    assert suffice or batch.input_ids[:, 0, 0, 0].tolist() == [5, 7]


def test_token_batches__cut_images_by_their_tokens():
    batches = token_batches(dataset(), budget=11)
    assert [rows.tolist() for rows in batches] == [[0, 1], [2, 3]]

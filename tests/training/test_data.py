"""Data sets, batches and streams: members independent, lengths together, every row once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sksve.training import ImageDataset, TokenDataset
from tests.private import (
    BUCKET,
    MemberBatches,
    SharedBatches,
    bucketed_epoch,
    frozen,
    member_streams,
    shared_streams,
)


def make_dataset(n=50, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    ids = [rng.integers(1, 90, size=rng.integers(1, 12)).tolist() for _ in range(n)]
    return TokenDataset(ids, rng.integers(3, size=n), rng.uniform(size=n), **kwargs), ids


def make_batches(dataset, members, *, active=None, batch_size=8, seed=7):
    order, _ = shared_streams(seed)
    streams = [member_streams(seed, k).batches for k in members]
    active = list(range(len(members))) if active is None else active
    return MemberBatches(dataset, batch_size, streams, order, active, len(members))


@given(st.integers(1, 300), st.integers(1, 9), st.integers(0, 50))
def test_bucketed_epoch__holds_every_row_once(n, batch_size, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, size=n)
    batches = bucketed_epoch(lengths, batch_size, rng)
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert all(len(b) == batch_size for b in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size


def test_bucketed_epoch__saves_padding():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, size=2 * BUCKET * 8)
    padded = sum(len(b) * lengths[b].max() for b in bucketed_epoch(lengths, 8, rng))
    plain = rng.permutation(len(lengths)).reshape(-1, 8)
    assert padded < 0.75 * sum(8 * lengths[b].max() for b in plain)


def test_collate__pads_each_row_on_the_right():
    dataset, ids = make_dataset(pad_token_id=99)
    rows = np.array([[3, 0], [7, 7]])
    batch, y = dataset.collate(rows, (1, 4))
    assert batch.members == (1, 4)
    assert len(batch) == 2
    for position, row in enumerate(rows.reshape(-1)):
        n = len(ids[row])
        assert batch.input_ids[position, :n].tolist() == ids[row]
        assert (batch.input_ids[position, n:] == 99).all()
        assert batch.attention_mask[position].sum() == n
        assert (batch.attention_mask[position, :n] == 1).all()
    assert torch.equal(y, dataset.y[torch.from_numpy(rows)])
    assert torch.equal(batch.weight, dataset.weight[torch.from_numpy(rows)])


def test_collate__features_follow_their_rows():
    dataset, _ = make_dataset(dtype=torch.float64)
    flat = torch.arange(dataset.lengths.sum() * 2, dtype=torch.float64).reshape(-1, 2)
    dataset.set_features(flat, dataset.lengths)
    batch, _ = dataset.collate(np.array([[5, 9, 2]]), None)
    starts = np.concatenate([[0], np.cumsum(dataset.lengths)])
    for position, row in enumerate((5, 9, 2)):
        n = dataset.lengths[row]
        got = batch.features[position]
        assert torch.equal(got[:n], flat[starts[row] : starts[row] + n])
        assert torch.isfinite(got).all()


def rows_of(dataset, batches, epochs=2):
    """Token ids seen by each member, epoch by epoch."""
    seen = []
    for _ in range(epochs):
        for batch, y in batches:
            m, b = y.shape
            ids = batch.input_ids.reshape(m, b, -1)
            mask = batch.attention_mask.reshape(m, b, -1).bool()
            seen.append(
                [[tuple(ids[k, r][mask[k, r]].tolist()) for r in range(b)] for k in range(m)]
            )
    return seen


def test_member_batches__member_does_not_depend_on_the_others():
    dataset, _ = make_dataset()
    alone = rows_of(dataset, make_batches(dataset, [2]))
    together = rows_of(dataset, make_batches(dataset, [0, 1, 2]))
    assert [step[0] for step in alone] == [step[2] for step in together]
    assert together[0][0] != together[0][1]


def test_member_batches__member_does_not_depend_on_who_has_stopped():
    dataset, _ = make_dataset()
    active = [0, 1, 2]
    batches = make_batches(dataset, [0, 1, 2], active=active)
    first = rows_of(dataset, batches, epochs=1)
    active.remove(1)
    second = rows_of(dataset, batches, epochs=1)
    whole = rows_of(dataset, make_batches(dataset, [0, 1, 2]), epochs=2)
    assert first == whole[: len(first)]
    assert second == [[step[0], step[2]] for step in whole[len(first) :]]


def test_member_batches__stopped_members_are_named():
    dataset, _ = make_dataset()
    batch, y = next(iter(make_batches(dataset, [0, 1, 2], active=[0, 2])))
    assert batch.members == (0, 2)
    assert y.shape[0] == 2
    assert next(iter(make_batches(dataset, [0, 1])))[0].members is None


def test_member_batches__each_member_sees_every_row_once_per_epoch():
    dataset, ids = make_dataset()
    seen = rows_of(dataset, make_batches(dataset, [0, 1]), epochs=1)
    for k in (0, 1):
        assert sorted(t for step in seen for t in step[k]) == sorted(map(tuple, ids))
    assert len(seen) == len(make_batches(dataset, [0, 1]))


def test_shared_batches__show_every_member_the_same_rows_in_order():
    dataset, ids = make_dataset(n=10)
    seen, targets = [], []
    for batch, y in SharedBatches(dataset, 4, [0, 1], 2):
        half = batch.input_ids.shape[0] // 2
        assert torch.equal(batch.input_ids[:half], batch.input_ids[half:])
        mask = batch.attention_mask[:half].bool()
        seen += [row[m].tolist() for row, m in zip(batch.input_ids[:half], mask)]
        targets += y.tolist()
    assert seen == ids
    assert targets == dataset.y.tolist()


def test_streams__are_functions_of_seed_and_member():
    a, b = member_streams(3, 1), member_streams(3, 1)
    assert a.adapter.initial_seed() == b.adapter.initial_seed()
    assert a.batches.integers(2**32) == b.batches.integers(2**32)
    drawn = {
        (name, getattr(member_streams(seed, k), name).initial_seed())
        for seed in (0, 1, 2)
        for k in (0, 1, 2)
        for name in ("adapter", "head")
    }
    assert len({value for _, value in drawn}) == 18


def test_streams__member_zero_is_not_the_shared_one():
    # SeedSequence pads with zeros: [seed] and [seed, 0] alone would be the same.
    order, rows = (s.integers(2**62) for s in shared_streams(5))
    zero = member_streams(5, 0).batches.integers(2**62)
    assert len({order, rows, zero}) == 3


@pytest.mark.parametrize("budget", [1, 20, 10_000])
def test_token_batches__keep_to_the_budget_and_hold_every_row(budget):
    dataset, _ = make_dataset()
    batches = frozen.token_batches(dataset, budget)
    assert sorted(np.concatenate(batches)) == list(range(len(dataset)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * dataset.lengths[rows].max() <= budget


def test_token_batches__depend_on_the_set_of_rows():
    dataset, ids = make_dataset()
    order = np.random.default_rng(1).permutation(len(ids))
    shuffled = TokenDataset([ids[i] for i in order])

    def contents(data, texts):
        return [[tuple(texts[r]) for r in rows] for rows in frozen.token_batches(data, 40)]

    assert contents(dataset, ids) == contents(shuffled, [ids[i] for i in order])


# -- images: batches hold the pixels of the right rows, and none once features suffice -------------


class Numbered:
    """Image k is filled with the number k."""

    shape = (3, 2, 2)

    def __len__(self):
        return 10

    def pixels(self, rows):
        return np.tile(np.asarray(rows, dtype=np.float32)[:, None, None, None], (1, *self.shape))


def images(**options):
    rows = np.array([7, 2, 5, 0])
    return ImageDataset(
        Numbered(), 5, rows, np.array([0, 1, 2, 3]), np.array([1.0, 2.0, 0.5, 0.5]), **options
    )


def test_images__collate__gives_pixels_targets_and_weights_of_the_same_rows():
    data = images(dtype=torch.float64)
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
    assert data.input_bytes == 12 * 8


@pytest.mark.parametrize("suffice", [True, False])
def test_images__features_take_the_place_of_pixels_where_they_suffice(suffice):
    data = images(features_suffice=suffice)
    flat = torch.arange(4 * 5 * 2, dtype=torch.float32).reshape(20, 2)
    data.set_features(flat, data.lengths)
    batch, _ = data.collate(np.array([[2, 0]]), None)
    torch.testing.assert_close(batch.features, flat.reshape(4, 5, 2)[[2, 0]])
    assert batch.input_ids.shape == ((2, 1, 1, 1) if suffice else (2, 3, 2, 2))
    assert suffice or batch.input_ids[:, 0, 0, 0].tolist() == [5, 7]


def test_images__are_cut_into_batches_by_their_tokens():
    batches = frozen.token_batches(images(), budget=11)
    assert [rows.tolist() for rows in batches] == [[0, 1], [2, 3]]


def test_content_key__is_a_function_of_the_rows_inputs():
    words = [[1, 2], [3]]
    assert TokenDataset(words).content_key() == TokenDataset(words, np.arange(2)).content_key()
    others = [TokenDataset([[1], [2, 3]]), TokenDataset(words, token_types=[[0, 1], [0]]), images()]
    keys = {d.content_key() for d in (TokenDataset(words), TokenDataset(words[::-1]), *others)}
    assert len(keys) == 5
    moved = ImageDataset(Numbered(), 5, np.array([7, 2, 0, 5]))
    assert moved.content_key() != images().content_key()
    assert images(dtype=torch.float64).content_key() == images().content_key()

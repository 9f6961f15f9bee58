"""A checkpoint's file is whole or not used, and the one before it stays until the new one is whole."""

import errno

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sksve import IntegrityError
from sksve.training._checkpoint_files import (
    CheckpointFiles,
    Snapshot,
    check_writable,
    checkpoints_in,
    clear_checkpoints,
    pack,
    stem_of,
    unpack,
)


def snapshot(epoch=1, step=2):
    tensors = {
        "member.0": torch.linspace(0, 1, 6).reshape(2, 3),
        "optimizer.0.step": torch.tensor(3.0),
        "wait": torch.tensor([2, 0]),
        "empty": torch.zeros(0, 4, dtype=torch.float64),
    }
    return Snapshot({"epoch": epoch, "step": step, "big": 2**127, "x": 0.1}, tensors)


def same(a, b):
    return (
        a.state == b.state
        and a.tensors.keys() == b.tensors.keys()
        and all(
            torch.equal(t, b.tensors[k]) and t.dtype == b.tensors[k].dtype
            for k, t in a.tensors.items()
        )
    )


def test__pack__comes_back_exactly():
    back = unpack(pack(snapshot()))
    assert same(back, snapshot())
    assert back.position == (1, 2)
    assert not same(back, snapshot(step=3))


DATA = pack(snapshot())


def test__one_bit__anywhere_is_seen_or_changes_nothing(tally):
    # Every bit of the file: header, JSON, tensors, checksum, padding.
    seen = 0
    for place in range(len(DATA)):
        for bit in (1, 16, 128):
            wrong = bytearray(DATA)
            wrong[place] ^= bit
            try:
                back = unpack(bytes(wrong))
            except IntegrityError:
                seen += 1
            else:
                assert same(back, snapshot())  # a space in the header's padding
    tally("damaged checkpoint files", seen)
    assert seen > 0.95 * 3 * len(DATA)


def test__truncated__anywhere_is_seen(tally):
    for end in range(len(DATA)):
        with pytest.raises(IntegrityError, match="is damaged"):
            unpack(DATA[:end])
    tally("damaged checkpoint files", len(DATA))


@given(st.binary(max_size=300))
def test__other_bytes__are_refused(data):
    with pytest.raises(IntegrityError, match="is damaged"):
        unpack(data)


def test__files__keep_two_generations_and_load_the_newer(tmp_path):
    files = CheckpointFiles(tmp_path, stem_of((0, 1)))
    assert files.load() is None
    for step in (1, 2, 3):
        files.save(snapshot(step=step))
        assert CheckpointFiles(tmp_path, "members-0-1").load().position == (1, step)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["members-0-1.0.safetensors", "members-0-1.1.safetensors"]
    positions = {found.position for _, found in checkpoints_in(tmp_path)}
    assert positions == {(1, 2), (1, 3)}
    # The end of an epoch is later than any step in it.
    again = CheckpointFiles(tmp_path, "members-0-1")
    again.load()
    again.save(snapshot(epoch=2, step=0))
    assert CheckpointFiles(tmp_path, "members-0-1").load().position == (2, 0)


def test__damaged_newest__falls_back_and_is_the_one_replaced(tmp_path):
    files = CheckpointFiles(tmp_path, "members-0-1")
    files.save(snapshot(step=1))
    files.save(snapshot(step=2))
    newest = files.path(1)
    newest.write_bytes(newest.read_bytes()[:-3])
    again = CheckpointFiles(tmp_path, "members-0-1")
    with pytest.warns(UserWarning, match=r"1\.safetensors is damaged.*epoch 2, step 1"):
        assert again.load().position == (1, 1)
    again.save(snapshot(step=3))
    third = CheckpointFiles(tmp_path, "members-0-1")
    assert third.load().position == (1, 3)
    third.path(0).write_bytes(b"")
    third.path(1).write_bytes(b"")
    with pytest.warns(UserWarning, match="training starts anew") as caught:
        assert third.load() is None
    assert len(caught) == 2


@pytest.mark.parametrize("moment", ["write", "fsync", "rename"])
def test__full_disk__leaves_both_generations(moment, tmp_path, monkeypatch):
    files = CheckpointFiles(tmp_path, "members-0-1")
    files.save(snapshot(step=1))
    files.save(snapshot(step=2))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    where = {"write": "write_file", "fsync": "os.fsync", "rename": "os.replace"}[moment]
    with monkeypatch.context() as broken:
        broken.setattr(f"sksve.persistence._files.{where}", full)
        with pytest.raises(OSError, match="No space"):
            files.save(snapshot(step=3))
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(found.position for _, found in checkpoints_in(tmp_path)) == [(1, 1), (1, 2)]
    files.save(snapshot(step=4))
    assert sorted(found.position for _, found in checkpoints_in(tmp_path)) == [(1, 2), (1, 4)]


def test__clear__removes_checkpoints_only(tmp_path):
    CheckpointFiles(tmp_path, "members-0-1").save(snapshot())
    CheckpointFiles(tmp_path, stem_of((3,), attempt=2)).save(snapshot())
    others = ["members-0-1.safetensors", "mine.0.safetensors", "members-0-1.2.safetensors"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    clear_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
    clear_checkpoints(tmp_path / "nowhere")


def test__check_writable__makes_the_folder_or_says_why_not(tmp_path, monkeypatch):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"checkpoint_dir='.*file' cannot be written to"):
        check_writable(tmp_path / "file")
    with pytest.raises(NotADirectoryError, match="checkpoint_dir=None"):
        check_writable(tmp_path / "file" / "below")

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("sksve.training._checkpoint_files.replace_file", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied\), so training was not begun"):
        check_writable(tmp_path)


def test__tensors__have_memory_of_their_own():
    back = unpack(pack(snapshot()))
    assert all(t.data_ptr() % 16 == 0 for t in back.tensors.values() if t.numel())
    np.testing.assert_array_equal(back.tensors["member.0"].numpy(), snapshot().tensors["member.0"])

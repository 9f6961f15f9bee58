"""Where decompositions are kept, and which weights are hashed once."""

import os
import threading
from pathlib import Path

import platformdirs
import pytest
import torch
from safetensors.torch import save_file

from sksve.adapters import SVDCache, decompose, mark_frozen
from tests.private import cache_folder, svd_module


def test_location__is_the_one_cache_folder_on_every_platform(monkeypatch):
    monkeypatch.delenv("SKSVE_CACHE", raising=False)

    def on_windows(name, appauthor=None):
        return Path("Local") / ("" if appauthor is False else name) / name / "Cache"

    monkeypatch.setattr(platformdirs, "user_cache_path", on_windows)
    assert SVDCache().location() == cache_folder() / "svd" == Path("Local/sksve/Cache/svd")


def test_weight_key__only_of_frozen_memory_is_remembered():
    weight_key = svd_module.weight_key
    weight = torch.arange(12.0).reshape(3, 4)
    before = weight_key(weight)
    weight.data.mul_(2)
    assert weight_key(weight) != before
    frozen = torch.arange(12.0).reshape(3, 4)
    mark_frozen(frozen)
    parts = [frozen, frozen.T, frozen[1:], torch.nn.Parameter(frozen)]
    keys = [weight_key(part) for part in parts]
    assert keys == [weight_key(part.clone()) for part in parts]
    assert len(set(keys)) == 3
    frozen.mul_(2)  # which nobody does: that shows where the keys come from
    assert [weight_key(part) for part in parts] == keys


def test_cache__the_key_is_of_bytes_shape_and_dtype():
    a = torch.arange(6.0).reshape(2, 3)
    cache = SVDCache(use_disk=False)
    for weight in (
        a,
        a.reshape(3, 2),
        a.double(),
        a + 1,
        a.bfloat16(),
        a.clone(),
        a.T.contiguous().T,
    ):
        cache.get(weight)
    assert len(cache) == 5


@pytest.fixture
def counted(monkeypatch):
    """Count how often a decomposition is really made."""
    calls, svd = [], torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda *a, **k: calls.append(1) or svd(*a, **k))
    return calls


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))


def test_cache__memory_then_disk_then_fresh(tmp_path, counted):
    weight = torch.randn(5, 4)
    first = SVDCache(folder=tmp_path, min_disk_size=1)
    fresh = first.get(weight)
    assert equal(first.get(weight), fresh)
    assert len(counted) == 1
    second = SVDCache(folder=tmp_path, min_disk_size=1)  # another process
    assert equal(second.get(weight), fresh)
    assert len(counted) == 1
    assert equal(fresh, decompose(weight))


@pytest.mark.parametrize("how", ["in place", "another tensor", "data"])
def test_cache__a_changed_weight_is_another_matrix(how):
    cache = SVDCache(use_disk=False)
    weight = torch.eye(300)
    cache.get(weight)
    changed = {"in place": weight, "another tensor": weight.detach()[:], "data": weight.data}
    changed[how].mul_(2)
    assert cache.get(weight)[1].unique().tolist() == [2.0]


@pytest.mark.parametrize("damage", ["truncate", "garbage", "wrong_shape", "missing_key"])
def test_cache__unreadable_entry_is_made_again(tmp_path, counted, damage):
    weight = torch.randn(5, 4)
    expected = decompose(weight)
    SVDCache(folder=tmp_path, min_disk_size=1).get(weight)
    (path,) = tmp_path.glob("*.safetensors")
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "garbage":
        path.write_bytes(b"not a safetensors file")
    elif damage == "wrong_shape":
        save_file(dict(zip(("U", "S", "Vh"), decompose(torch.eye(2)))), path)
    else:
        save_file({"U": torch.eye(2)}, path)
    counted.clear()
    for _ in range(2):  # written anew at the first
        assert equal(SVDCache(folder=tmp_path, min_disk_size=1).get(weight), expected)
    assert len(counted) == 1


def test_cache__memory_limit_drops_the_least_recently_used(tmp_path, counted):
    a, b, c = (torch.full((4, 4), float(v)) + torch.eye(4) for v in (1, 2, 3))
    size = sum(t.nbytes for t in decompose(a))
    cache = SVDCache(memory_bytes=2 * size, use_disk=False)
    counted.clear()
    for weight in (a, b, a, c, a):
        cache.get(weight)
    assert len(counted) == 3
    cache.get(b)
    assert len(counted) == 4
    assert len(cache) == 2


def test_cache__disk_limit_drops_the_oldest(tmp_path):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    cache = SVDCache(folder=tmp_path, min_disk_size=1)
    cache.get(a)
    (first,) = tmp_path.glob("*.safetensors")
    os.utime(first, (1, 1))
    cache.disk_bytes = int(first.stat().st_size * 1.5)
    cache.get(b)
    (left,) = tmp_path.glob("*.safetensors")
    assert left != first


def test_cache__can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path))
    weight = torch.randn(4, 4)
    SVDCache(use_disk=False, min_disk_size=1).get(weight)
    monkeypatch.setenv("SKSVE_SVD_CACHE", "off")
    SVDCache(min_disk_size=1).get(weight)
    assert list(tmp_path.rglob("*")) == []
    monkeypatch.setenv("SKSVE_SVD_CACHE", "on")
    SVDCache(min_disk_size=1).get(weight)
    assert len(list((tmp_path / "svd").glob("*.safetensors"))) == 1


def test_cache__folder_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    weight = torch.randn(4, 4)
    assert equal(SVDCache(folder=blocked, min_disk_size=1).get(weight), decompose(weight))


def test_cache__threads_share_it(tmp_path):
    cache = SVDCache(memory_bytes=2000, folder=tmp_path, min_disk_size=1)
    weights = [torch.randn(4, 4) for _ in range(6)]
    wrong = []

    def work():
        wrong.extend(1 for _ in range(5) for w in weights if not equal(cache.get(w), decompose(w)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []

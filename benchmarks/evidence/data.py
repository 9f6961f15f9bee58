"""The data sets of the evidence: rows to train on, to tune on and to be judged on.

The published training part is the pool that training and validation rows are drawn from, other ones for
each seed; test rows are the first ones of the published test part, or those after the first so many
(`Skip`), and the same for every seed. Where a set has no test part, its last rows (in the loader's shuffled
order) are the test part.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from benchmarks.common import datasets

__all__ = ["DATASETS", "Skip", "Task", "load_task"]

#: Rows of each class, at least, among those trained on: a class never seen has no probability.
AT_LEAST = 2


@dataclass(frozen=True)
class Rows:
    """Rows to be judged on, with labels, or without where they are foreign."""

    X: Any
    y: np.ndarray | None = None


@dataclass(frozen=True)
class Skip:
    """How many of the first rows to leave out, since they were judged on before; "foreign": also shifted."""

    test: int = 0
    foreign: int = 0


@dataclass(frozen=True)
class Pools:
    """What a data set consists of, before rows are drawn."""

    train: Rows
    test: Rows
    n_classes: int
    shifted: dict[str, Rows] = field(default_factory=dict)
    foreign: dict[str, Rows] = field(default_factory=dict)
    human_proba: np.ndarray | None = None  # of the test rows
    vision: bool = False


@dataclass(frozen=True)
class Task:
    """One drawing: what a run trains on and is judged on."""

    train: Rows
    validation: Rows
    test: Rows
    n_classes: int
    shifted: dict[str, Rows]
    foreign: dict[str, Rows]
    human_proba: np.ndarray | None
    vision: bool


def _movie_reviews():
    # Defaults were tuned on rows before 8,000: those after are test rows.
    movies = datasets.fetch_movie_reviews()
    amazon, tweets = datasets.fetch_amazon_reviews(), datasets.fetch_tweets()
    return Pools(
        Rows(movies.data[:8000], movies.target[:8000]),
        Rows(movies.data[8000:], movies.target[8000:]),
        2,
        shifted={
            # Their rows 2,000 to 2,599 chose the defaults of that time.
            "amazon": Rows(amazon.data[:2000], amazon.target[:2000]),
            "tweets": Rows(tweets.data[:2000], tweets.target[:2000]),
        },
        foreign={"newsgroups": Rows(datasets.fetch_newsgroups(subset="test").data)},
        human_proba=movies.human_proba[8000:],
    )


def _newsgroups():
    train, test = datasets.fetch_newsgroups(), datasets.fetch_newsgroups(subset="test")
    foreign = {"movie_reviews": Rows(datasets.fetch_movie_reviews().data[8000:])}
    return Pools(Rows(train.data, train.target), Rows(test.data, test.target), 20, {}, foreign)


def _reuters():
    train, test = datasets.fetch_reuters_r8(), datasets.fetch_reuters_r8(subset="test")
    more = datasets.fetch_reuters_r52(subset="test")
    known = set(test.target_names)
    others = [more.target_names[code] not in known for code in more.target]
    foreign = {"rarer_topics": Rows(more.data[np.array(others)])}
    return Pools(Rows(train.data, train.target), Rows(test.data, test.target), 8, {}, foreign)


def _fine_foods():
    train, test = datasets.fetch_fine_foods(), datasets.fetch_fine_foods(subset="test")
    foreign = {"newsgroups": Rows(datasets.fetch_newsgroups(subset="test").data)}
    return Pools(Rows(train.data, train.target), Rows(test.data, test.target), 2, {}, foreign)


def _fashion_mnist():
    train, test = datasets.fetch_fashion_mnist(), datasets.fetch_fashion_mnist(subset="test")
    foreign = {"mnist": Rows(datasets.fetch_mnist_sample().data)}
    pools = Rows(train.data, train.target), Rows(test.data, test.target)
    return Pools(*pools, 10, {}, foreign, vision=True)


def _credit():
    table = datasets.fetch_credit()
    cut = 3000
    return Pools(
        Rows(table.data[:cut], table.target[:cut]), Rows(table.data[cut:], table.target[cut:]), 2
    )


# -- new data: looked at by no search for a kind of SVE (benchmarks/evidence_new_data.toml) -----------------


def _others_reviews(loader):
    """Rows that neither chose defaults (2,000 to 2,599) nor were shifted ones."""
    texts, cut = loader(), -500
    return Pools(
        Rows(texts.data[2600:cut], texts.target[2600:cut]),
        Rows(texts.data[cut:], texts.target[cut:]),
        2,
        foreign={"newsgroups": Rows(datasets.fetch_newsgroups(subset="test").data)},
    )


def _amazon_reviews():
    return _others_reviews(datasets.fetch_amazon_reviews)


def _tweets():
    return _others_reviews(datasets.fetch_tweets)


def _digits():
    digits, cut = datasets.fetch_mnist_sample(), -500
    return Pools(
        Rows(digits.data[:cut], digits.target[:cut]),
        Rows(digits.data[cut:], digits.target[cut:]),
        10,
        foreign={"fashion_mnist": Rows(datasets.fetch_fashion_mnist(subset="test").data)},
        vision=True,
    )


DATASETS = {
    "movie_reviews": _movie_reviews,
    "newsgroups": _newsgroups,
    "reuters_r8": _reuters,
    "fine_foods": _fine_foods,
    "fashion_mnist": _fashion_mnist,
    "credit": _credit,
    "amazon_reviews": _amazon_reviews,
    "tweets": _tweets,
    "digits": _digits,
}


@cache
def _pools(name: str) -> Pools:
    return DATASETS[name]()


def draw(y: np.ndarray, n_rows: int, n_validation: int, seed: int):
    """Draw training and validation rows without overlap, some of each class among the former.

    With the same seed, fewer training rows are the first of more.
    """
    if n_rows + n_validation > len(y):
        raise ValueError(f"{n_rows} + {n_validation} rows asked for, there are {len(y)}.")
    order = np.random.default_rng([20261122, seed]).permutation(len(y))
    held_out, order = order[:n_validation], order[n_validation:]
    codes = y[order]
    first = np.concatenate([np.flatnonzero(codes == c)[:AT_LEAST] for c in np.unique(codes)])
    first = np.sort(first)
    order = np.concatenate([order[first], np.delete(order, first)])
    return order[:n_rows], held_out


def load_task(
    name: str,
    *,
    rows: int | None,
    seed: int,
    n_validation: int,
    n_test: int | None,
    n_foreign: int | None,
    skip: Skip = Skip(),
) -> Task:
    """Draw the rows of one run; None: all that there are."""
    pools = _pools(name)
    test, foreign = _after(skip.test, n_test), _after(skip.foreign, n_foreign)
    y = pools.train.y
    assert y is not None
    train, held_out = draw(y, len(y) - n_validation if rows is None else rows, n_validation, seed)
    return Task(
        _take(pools.train, train),
        _take(pools.train, held_out),
        _take(pools.test, test),
        pools.n_classes,
        {name: _take(part, foreign) for name, part in pools.shifted.items()},
        {name: _take(part, foreign) for name, part in pools.foreign.items()},
        None if pools.human_proba is None else pools.human_proba[test],
        pools.vision,
    )


def _after(start: int, n: int | None) -> slice:
    return slice(start, None if n is None else start + n)


def _take(rows: Rows, which: Any) -> Rows:
    X = rows.X.iloc[which] if hasattr(rows.X, "iloc") else rows.X[which]
    return Rows(X, None if rows.y is None else rows.y[which])

"""The real archive: counts, alignment, determinism. Skipped when the registry is unreachable."""

import numpy as np
import pytest

from sksve.datasets import fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets

LOADERS = [fetch_movie_reviews, fetch_amazon_reviews, fetch_tweets]


@pytest.mark.parametrize(
    ("fetch", "n_texts", "n_positive", "n_intense"),
    [
        (fetch_movie_reviews, 10_605, 5_242, 10_072),
        (fetch_amazon_reviews, 3_708, 2_128, 2_985),
        (fetch_tweets, 4_005, 2_799, 3_237),
    ],
)
def test_fetch__counts(fetched, fetch, n_texts, n_positive, n_intense):
    bunch = fetched(fetch)
    assert bunch.data.shape == (n_texts,)
    assert bunch.target.sum() == n_positive
    assert len(set(bunch.ids)) == n_texts
    assert fetch(min_intensity=0.5).data.shape == (n_intense,)
    assert f"{n_texts:,} ({n_positive:,} positive" in bunch.DESCR


@pytest.mark.parametrize(
    ("fetch", "fewest", "most"),
    [(fetch_movie_reviews, 15, 29), (fetch_amazon_reviews, 20, 20), (fetch_tweets, 20, 99)],
)
def test_fetch__human_ratings(fetched, fetch, fewest, most):
    bunch = fetched(fetch)
    np.testing.assert_allclose(bunch.human_proba.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    assert bunch.human_proba.min() >= 0
    assert (bunch.n_ratings.min(), bunch.n_ratings.max()) == (fewest, most)
    assert np.abs(bunch.ratings_mean).max() <= 4
    np.testing.assert_array_equal(bunch.target, bunch.ratings_mean > 0)
    agree = np.mean(bunch.human_proba.argmax(axis=1) == bunch.target)
    assert agree > 0.98, "the majority of people and the mean rating are nearly always of one mind"


@pytest.mark.parametrize(
    ("fetch", "key", "start", "mean"),
    [
        (fetch_movie_reviews, "2", "The gorgeously elaborate continuation", 3.533333333),
        (fetch_amazon_reviews, "1_1", "troubleshooting ad-2500", -0.9),
        (fetch_tweets, "1", "Somehow I was blessed", 2.726315789),
    ],
)
def test_fetch__text_and_rating_belong_together(fetched, fetch, key, start, mean):
    bunch = fetched(fetch)
    (row,) = np.flatnonzero(bunch.ids == key)
    assert bunch.data[row].startswith(start)
    assert bunch.ratings_mean[row] == pytest.approx(mean, abs=1e-8)


def test_fetch_tweets__ratings_out_of_step_are_dropped(fetched):
    kept = set(fetched(fetch_tweets).ids)
    assert "1" in kept
    assert not {"2", "7", "9"} & kept
    assert len({str(i) for i in range(1, 4201)} - kept) == 195


def test_fetch_amazon_reviews__groups_are_the_reviews(fetched):
    bunch = fetched(fetch_amazon_reviews)
    assert len(set(bunch.groups)) == 300
    assert (bunch.groups.min(), bunch.groups.max()) == (1, 309)
    assert [f"{g}_" for g in bunch.groups] == [key[: key.index("_") + 1] for key in bunch.ids]


def test_fetch_movie_reviews__same_rows_twice(fetched):
    first, second = fetched(fetch_movie_reviews), fetch_movie_reviews()
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(first.human_proba, second.human_proba)


def test_fetch_movie_reviews__shuffle_mixes_what_the_file_keeps_apart(fetched):
    fetched(fetch_movie_reviews)
    changes = [
        np.count_nonzero(np.diff(fetch_movie_reviews(**params).target))
        for params in ({"shuffle": False}, {}, {"random_state": 1})
    ]
    assert changes[0] < 1_000, "sorted by class for long stretches"
    assert min(changes[1:]) > 5_000, "near n/2, as for a fair coin"
    assert changes[1] != changes[2]


@pytest.mark.parametrize("random_state", [0, None])
def test_fetch__leaves_numpys_global_state_alone(fetched, random_state):
    fetched(fetch_tweets)
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fetch_tweets(random_state=random_state)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_fetch__random_state_none_gives_another_order(fetched):
    fetched(fetch_tweets)
    orders = [fetch_tweets(random_state=None).ids for _ in range(2)]
    assert not np.array_equal(*orders)
    assert set(orders[0]) == set(orders[1])

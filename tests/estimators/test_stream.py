"""predict_proba_iter: the same probabilities, piece by piece, and no more rows than asked for."""

from collections import deque

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.exceptions import NotFittedError

from sksve.backbones import make_tiny_backbone


def joined(clf, X, **kwargs):
    return np.concatenate(list(clf.predict_proba_iter(X, **kwargs)))


@pytest.mark.parametrize("chunk_size", [1, 3, 1024])
def test__predict_proba_iter__equals_predict_proba(fitted, texts, chunk_size):
    expected = fitted.predict_proba(texts)
    for rows in (list(texts), iter(texts), deque(texts), pd.Series(texts), np.array(texts)):
        got = joined(fitted, rows, chunk_size=chunk_size)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("piece", "chunk_size", "pieces", "read"),
    [("a good film", 5, [5], 5), (pd.Series(["a good film"] * 4), 2, [2, 2, 2], 2)],
    ids=["rows", "chunks"],
)
def test__predict_proba_iter__reads_no_further_than_needed(piece, chunk_size, pieces, read, fitted):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield piece

    stream = fitted.predict_proba_iter(endless(), chunk_size=chunk_size)
    assert taken == []
    assert [len(next(stream)) for _ in pieces] == pieces
    assert len(taken) == read


def test__predict_proba_iter__memory_mapped_table(make, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    clf = make(max_epochs=1, side_features=None).fit(X, np.arange(20) % 2)
    mapped = np.memmap(tmp_path / "x", mode="w+", dtype=X.dtype, shape=X.shape)
    mapped[:] = X
    expected = clf.predict_proba(X)
    np.testing.assert_allclose(joined(clf, mapped, chunk_size=6), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(joined(clf, iter(X), chunk_size=6), expected, rtol=0, atol=1e-5)


def test__predict_proba_iter__faults_are_named(make, fitted, texts):
    with pytest.raises(NotFittedError):
        make().predict_proba_iter(texts)
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="chunk_size"):
            fitted.predict_proba_iter(texts, chunk_size=bad)
    with pytest.raises(ValueError, match="str"):
        fitted.predict_proba_iter("one text")
    with pytest.raises(ValueError, match="Got dict instead"):
        fitted.predict_proba_iter({"text": texts})
    for bad in (None, 3, np.array(3), len):
        with pytest.raises(TypeError, match=f"X must hold rows.*Got {type(bad).__name__}"):
            fitted.predict_proba_iter(bad)
    with pytest.raises(ValueError, match="row 1 is None"):
        joined(fitted, iter([pa.array(["good", None])]))


def test__predict_proba_iter__record_batches_of_texts(fitted, texts, tmp_path):
    table = pa.table({"text": texts, "stars": range(len(texts))})
    pq.write_table(table, tmp_path / "texts.parquet", row_group_size=5)
    expected = fitted.predict_proba(texts)

    def batches():
        return pq.ParquetFile(tmp_path / "texts.parquet").iter_batches(5, columns=["text"])

    got = list(fitted.predict_proba_iter(batches(), chunk_size=3))
    # 12 rows in record batches of 5, cut into pieces of 3: no piece has rows of two batches.
    assert [len(p) for p in got] == [3, 2, 3, 2, 2]
    np.testing.assert_allclose(np.concatenate(got), expected, rtol=0, atol=1e-12)
    arrays = (batch["text"] for batch in batches())
    text_only = table.select(["text"])
    for chunks in (arrays, text_only, table["text"], iter([text_only])):
        np.testing.assert_allclose(joined(fitted, chunks), expected, rtol=0, atol=1e-12)


def test__predict_proba_iter__chunks_of_a_table_with_missing_cells(make, tmp_path):
    frame = pd.DataFrame(
        {
            "age": [31, 45, 22, 67, 38, 51, 29],
            "job": ["cook", "nurse", None, "cook", "smith", "", "x"],
        }
    )
    clf = make(max_epochs=1, side_features=None).fit(frame, [0, 1, 0, 1, 1, 0, 1])
    expected = clf.predict_proba(frame)
    # A null among the ages makes a chunk's column float: the texts must not change by that.
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t.parquet")
    file = pq.ParquetFile(tmp_path / "t.parquet")
    for chunks in (
        file.iter_batches(3),
        (frame.iloc[i : i + 2] for i in range(0, 7, 2)),
        polars.from_pandas(frame).iter_slices(3),
        iter([frame.iloc[:0], frame]),
    ):
        got = joined(clf, chunks, chunk_size=4)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test__predict_proba_iter__chunks_that_are_lists_and_arrays(make, fitted, texts):
    expected = fitted.predict_proba(texts)
    parts = [texts[:5], [], texts[5:]]
    for chunks in (parts, iter(parts), map(tuple, parts), (np.array(p) for p in parts if p)):
        got = list(fitted.predict_proba_iter(chunks, chunk_size=4))
        assert [len(p) for p in got] == [4, 1, 4, 3]
        np.testing.assert_allclose(np.concatenate(got), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="one bare str"):
        joined(fitted, [texts[:5], texts[5]])
    X = np.random.default_rng(0).normal(size=(12, 3))
    clf = make(max_epochs=1, side_features=None).fit(X, [0, 1] * 6)
    got = joined(clf, iter([X[:5], X[5:]]), chunk_size=4)
    np.testing.assert_allclose(got, clf.predict_proba(X), rtol=0, atol=1e-12)


def test__predict_proba_iter__chunks_of_images(make):
    images = np.random.default_rng(0).integers(0, 256, size=(6, 14, 14, 3), dtype=np.uint8)
    clf = make(make_tiny_backbone("vit"), max_epochs=1).fit(images, [0, 1] * 3)
    expected = clf.predict_proba(images)
    for chunks in (
        iter([images[:4], images[4:]]),
        [list(images[:4]), list(images[4:])],
        iter(images),
    ):
        np.testing.assert_allclose(joined(clf, chunks, chunk_size=3), expected, rtol=0, atol=1e-12)


def test__predict_proba_iter__a_stream_without_rows_gives_nothing(fitted):
    empty = pa.table({"text": pa.array([], pa.string())}).to_batches()
    for nothing in (iter([]), iter(empty), [], iter([pa.array([], pa.string())])):
        assert list(fitted.predict_proba_iter(nothing)) == []

"""predict_proba_iter: the same probabilities, piece by piece, and no more rows than asked for."""

from collections import deque

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError


def joined(clf, X, **kwargs):
    return np.concatenate(list(clf.predict_proba_iter(X, **kwargs)))


@pytest.mark.parametrize("chunk_size", [1, 3, 1024])
def test__predict_proba_iter__equals_predict_proba(make, texts, labels, chunk_size):
    clf = make(max_epochs=1).fit(texts, labels)
    expected = clf.predict_proba(texts)
    for rows in (list(texts), iter(texts), deque(texts), pd.Series(texts), np.array(texts)):
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
    with pytest.raises(ValueError, match="Got dict instead"):
        clf.predict_proba_iter({"text": texts})


# -- chunks: Parquet, pandas, polars -------------------------------------------------------------


@pytest.fixture(scope="module")
def on_texts(make, texts, labels):
    return make(max_epochs=1).fit(texts, labels)


def test__predict_proba_iter__record_batches_of_texts(on_texts, texts, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"text": texts, "stars": range(len(texts))})
    pq.write_table(table, tmp_path / "texts.parquet", row_group_size=5)
    expected = on_texts.predict_proba(texts)

    def batches():
        return pq.ParquetFile(tmp_path / "texts.parquet").iter_batches(5, columns=["text"])

    got = list(on_texts.predict_proba_iter(batches(), chunk_size=3))
    # 12 rows in record batches of 5, cut into pieces of 3: no piece has rows of two batches.
    assert [len(p) for p in got] == [3, 2, 3, 2, 2]
    np.testing.assert_allclose(np.concatenate(got), expected, rtol=0, atol=1e-12)
    arrays = (batch["text"] for batch in batches())
    text_only = table.select(["text"])
    for chunks in (arrays, text_only, table["text"], iter([text_only])):
        np.testing.assert_allclose(joined(on_texts, chunks), expected, rtol=0, atol=1e-12)


def test__predict_proba_iter__chunks_of_a_table_with_missing_cells(make, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    polars = pytest.importorskip("polars")
    frame = pd.DataFrame(
        {
            "age": [31, 45, 22, 67, 38, 51, 29],
            "job": ["cook", "nurse", None, "cook", "smith", "", "x"],
        }
    )
    clf = make(max_epochs=1).fit(frame, [0, 1, 0, 1, 1, 0, 1])
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


def test__predict_proba_iter__a_stream_without_rows_gives_nothing(on_texts):
    pa = pytest.importorskip("pyarrow")
    empty = pa.table({"text": pa.array([], pa.string())}).to_batches()
    for nothing in (iter([]), iter(empty), [], iter([pa.array([], pa.string())])):
        assert list(on_texts.predict_proba_iter(nothing)) == []


def test__predict_proba_iter__a_missing_text_of_a_chunk_is_named(on_texts):
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="1"):
        joined(on_texts, iter([pa.array(["good", None])]))


def test__predict_proba_iter__reads_chunks_as_far_as_needed(on_texts):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield pd.Series(["a good film"] * 4)

    stream = on_texts.predict_proba_iter(endless(), chunk_size=2)
    assert taken == []
    assert [len(next(stream)) for _ in range(3)] == [2, 2, 2]
    assert len(taken) == 2

"""Recipes of docs/scale.md, word for word: a Parquet file by pieces, and partitions on a Dask cluster."""

import gc
import re
from pathlib import Path

import numpy as np
import pytest

from tests.making import save_tiny
from tests.private import formulas

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DOCS = Path(__file__).parent.parent.parent / "docs" / "scale.md"


def recipe(word):
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), flags=re.S | re.M)
    (found,) = [block for block in blocks if word in block]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch, make, texts, labels):
    """A folder with a saved model and a file of reviews in several row groups, one of them empty."""
    save_tiny(tmp_path / "backbone")
    clf = make(str(tmp_path / "backbone"), max_epochs=1).fit(texts, labels)
    clf.save_pretrained(tmp_path / "model")
    table = pa.table({"text": texts * 5, "stars": range(60)})
    pq.write_table(table, tmp_path / "reviews.parquet", row_group_size=8)
    monkeypatch.chdir(tmp_path)
    return clf.predict_proba(texts * 5)


def test_parquet__in_and_out_by_pieces(folder):
    exec(compile(recipe("ParquetWriter"), "docs/scale.md", "exec"), {})
    got = pq.read_table("proba.parquet")
    assert got.column_names == ["neg", "pos"]
    np.testing.assert_allclose(got.to_pandas().to_numpy(), folder, rtol=0, atol=1e-12)


def modules_held():
    return sum(type(o) is formulas.EnsembleModule for o in gc.get_objects())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_dask__the_model_is_on_no_worker_twice(folder, texts):
    distributed = pytest.importorskip("distributed")
    dd = pytest.importorskip("dask.dataframe")
    import dask.array as da
    import dask.bag as db

    settings = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
    }
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster):
        address = cluster.scheduler_address
        code = recipe("map_partitions(score, model, meta").replace("scheduler:8786", address)
        code = code.replace('"reviews.parquet"', '"reviews.parquet", split_row_groups=True')
        names = {"__name__": "recipe"}
        exec(compile(code, "docs/scale.md", "exec"), names)
        client, model = names["client"], names["model"]
        got = dd.read_parquet("proba").compute()
        np.testing.assert_allclose(got.to_numpy(), folder, rtol=0, atol=1e-12)
        assert names["reviews"].npartitions == 8
        held = client.run(modules_held)
        # Eight partitions, one model a worker; Dask drops a copy that nobody needs any more.
        assert max(held.values()) == 1, "the model went to a worker more than once"

        def score(rows, clf):
            return clf.predict_proba(list(rows))

        bag = db.from_sequence(texts * 5, npartitions=6).map_partitions(
            lambda p, clf: list(score(p, clf)), model
        )
        np.testing.assert_allclose(np.stack(bag.compute()), folder, rtol=0, atol=1e-12)
        array = da.from_array(np.array(texts * 5, dtype=object), chunks=10)
        blocks = array.map_blocks(
            score, clf=model, dtype=float, new_axis=1, chunks=(array.chunks[0], (2,))
        )
        np.testing.assert_allclose(blocks.compute(), folder, rtol=0, atol=1e-12)
        client.close()

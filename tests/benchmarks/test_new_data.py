"""New data: a config that is like another, rows nobody looked at, and their part of the page."""

import numpy as np
from sklearn.utils import Bunch

from tests.benchmarks.conftest import BENCHMARKS, REAL


def test_read_config__takes_the_rest_from_the_file_it_is_like(script, tmp_path):
    (tmp_path / "a.toml").write_text('results = "a"\nmembers = 5\n[rows]\ntest = 3\nmore = 4\n')
    (tmp_path / "b.toml").write_text('like = "a.toml"\nresults = "b"\n[rows]\ntest = 1\n')
    (tmp_path / "c.toml").write_text('like = "b.toml"\nmembers = 2\n')
    found = script("_grid").read_config(tmp_path / "c.toml")
    assert found == {"results": "b", "members": 2, "rows": {"test": 1}}


def test_real_config__is_the_grids_but_for_data_and_stages(script):
    config = script("_grid").read_config(BENCHMARKS / "evidence_new_data.toml")
    same = ("members", "backbones", "rows", "shared", "tuning", "methods")
    assert {k: config[k] for k in same} == {k: REAL[k] for k in same}
    assert set(config["datasets"]) <= set(script("_evidence_data").DATASETS)
    assert not set(config["datasets"]) & set(REAL["datasets"])
    for stage in config["stages"]:
        assert set(stage["datasets"]) <= set(config["datasets"])
        assert set(stage["methods"]) <= set(config["methods"])


def test_rows__are_none_of_those_judged_before(script, monkeypatch):
    data = script("_evidence_data")
    texts = Bunch(
        data=np.array([f"text {k}" for k in range(3700)]),
        target=np.arange(3700) % 2,
        human_proba=np.ones((3700, 2)),
    )
    for name in ("amazon_reviews", "tweets", "movie_reviews"):
        monkeypatch.setattr(data.datasets, f"fetch_{name}", lambda: texts)
    far = Bunch(data=np.array(["far"]), target=np.array([0]))
    monkeypatch.setattr(data.datasets, "fetch_newsgroups", lambda subset="train": far)
    before = {*data._movie_reviews().shifted["amazon"].X, *texts.data[2000:2600]}
    for name in ("amazon_reviews", "tweets"):
        pools = data.DATASETS[name]()
        train, test = set(pools.train.X), set(pools.test.X)
        assert len(train) == 600
        assert len(test) == 500
        assert not train & test
        assert not (train | test) & before
        assert list(pools.test.y) == [int(text.split()[1]) % 2 for text in pools.test.X]


def test_section__has_the_bars_and_every_data_set(script, fabricate):
    section = script("_new_data_page").new_data_section
    folder = fabricate({"sve_subspaces": 0.5, "deep": 0.2}, datasets=("tweets", "digits"))
    cells = [("tweets", "deep", 200, 0), ("tweets", "deep", 200, 9)]
    lines = section(script("_evidence_table").load_runs(folder), 200, cells)
    text = "\n".join(lines)
    assert "| deep ensemble | 0 (9) |" in text
    assert "| NLL | tweets | MNIST digits |" in text
    nll = next(line for line in lines if line.startswith("| NLL | at or below"))
    assert "**2 of 2; -" in nll
    assert "SVE, random subspaces (6 runs)" in text
    assert "time of fit" not in text
    times = {"One": {"sve_subspaces": {"tweets": 0.2, "digits": 0.5}}}
    timed = section(script("_evidence_table").load_runs(folder), 200, cells, times)
    bar = next(line for line in timed if line.startswith("| time of fit, in turns"))
    assert bar.endswith("| 0.35 (One) |")  # more than a third: not bold
    assert "| SVE, random subspaces | 0.20 | 0.50 | 0.35 |" in timed


def test_section__is_left_out_without_runs(script):
    assert script("_new_data_page").new_data_section({}, 200, []) == []

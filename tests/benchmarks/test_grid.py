"""The grid on a tiny backbone: every method, going on, sharing; and the real configs."""

import os

import numpy as np
import pytest
from sklearn.utils import Bunch

from benchmarks.common.estimators import make_estimator
from benchmarks.evidence import data
from benchmarks.evidence import grid as grids
from benchmarks.evidence.grid import planned, read_config, work_off
from benchmarks.evidence.tuning import best_of, search
from sksve.backbones import make_tiny_backbone
from sksve.metrics import negative_log_likelihood
from tests.benchmarks.conftest import REAL, finish


def read(grid, method, seed=0):
    return grid.table.rows()[f"toy/{method}-n24-seed{seed}"]


def trials_of(grid, method):
    return grid.tuning.table.rows()[grid.tuning.name("toy", method)]


@pytest.mark.parametrize(
    "methods",
    [["sve", "sve_single"], pytest.param(list(REAL["methods"]), marks=pytest.mark.slow)],
    ids=["two", "all"],
)
def test_grid__runs_a_cell_of_each_method(evidence, methods):
    if "laplace" in methods:
        pytest.importorskip("laplace")
    grid = evidence(methods)
    said = finish(grid.jobs())
    assert not any("FAILED" in line for line in said)
    for method in methods:
        run = read(grid, method)
        scores, cost = run["scores"], run["cost"]
        assert run["method"] == method
        assert run["chosen"] in grid.config["methods"][method]["trials"]
        assert set(scores["shifted"]) == {"other"}
        assert 0 <= scores["test"]["before"]["accuracy"] <= 1
        assert scores["human"]["before"]["total_variation"] <= 1
        ensemble = REAL["methods"][method].get("members", False)
        drawn = ensemble or method in ("mc_dropout", "laplace")
        assert (scores["diversity"] is not None) == drawn
        assert (scores["foreign"]["far"]["mutual_information"] is not None) == drawn
        heads = cost["trainable"] - cost["trainable_without_heads"]
        members = 2 if ensemble else 1
        assert heads == members * 2 * (make_tiny_backbone()[0].config.hidden_size + 1)
    # One set of trials for all that train the same.
    tuned = {name for name in grid.table.rows() if "tuning-" in name}
    first = {REAL["methods"][m].get("tuned_as", m) for m in methods}
    finals = {m for m in methods if "finals" in REAL["methods"][m]}
    assert tuned == {f"toy/tuning-{m}-n16" for m in first | finals}


@pytest.mark.slow
def test_grid__goes_on_where_it_was(evidence):
    grid = evidence(["probe"], seeds=(0, 1))
    jobs = grid.jobs()
    names = [f"toy/{n}" for n in ("tuning-probe-n16", "probe-n24-seed0", "probe-n24-seed1")]
    assert [job.name for job in jobs] == names
    finish(jobs)
    made = grid.table.rows()
    lines = grid.table.path.read_text().splitlines(keepends=True)
    grid.table.path.write_text("".join(x for x in lines if f'"{names[1]}"' not in x))
    assert [line.split(":")[0] for line in finish(grid.jobs())] == [names[1]]
    for name in (names[0], names[2]):
        assert grid.table.rows()[name] == made[name]


def test_grid__the_jobs_of_another_living_process_are_left_to_it(evidence, monkeypatch):
    grid = evidence(["probe"])
    tuning, run = grid.jobs()
    tuning.lock.parent.mkdir(parents=True)
    tuning.lock.write_text(str(os.getppid()))
    monkeypatch.setattr(grids.time, "sleep", lambda s: tuning.lock.write_text("999999999"))
    # Waits once; then the other one has died without having done it, and its lock counts no more.
    finish([tuning, run])
    assert not list(grid.results.rglob("*/*.lock"))


def test_grid__a_late_job_is_not_begun_and_a_failing_one_does_not_stop_the_others(
    evidence, monkeypatch
):
    grid = evidence(["probe"], seeds=(0, 1))
    assert not work_off(grid.jobs(), seconds=0.5, say=str)
    assert not grid.table.rows()
    run = grid.run

    def fails_once(*args):
        if args[3] == 0:
            raise RuntimeError("on purpose")
        run(*args)

    monkeypatch.setattr(grid, "run", fails_once)
    said = []
    assert not work_off(grid.jobs(), seconds=None, say=said.append)
    assert [line.startswith("FAILED") for line in said] == [False, True, False]
    assert "on purpose" in said[1]


@pytest.mark.slow
def test_run__first_member_of_the_deep_ensemble_is_a_fine_tuned_model(evidence):
    grid = evidence(["deep", "fine_tuned"])
    grid.config["methods"]["deep"]["finals"] = {"trials": 1, "members": 2}  # what one member chose
    finish(grid.jobs())
    deep, alone = read(grid, "deep"), read(grid, "fine_tuned")
    assert deep["tuning"] == "toy/tuning-deep-n16"
    assert alone["tuning"] == "toy/tuning-fine_tuned-n16"
    assert "first member" in alone["derived"]
    assert 2 * alone["cost"]["trainable"] == deep["cost"]["trainable"]
    task = grid.task("toy", 24, 0)
    settings = {"batch_size": 8, "max_epochs": 1, "max_length": 16, "random_state": 0}
    settings |= {"backbone": make_tiny_backbone(), **alone["chosen"]}
    clf = make_estimator("FineTunedClassifier", **settings)
    proba = clf.fit(task.train.X, task.train.y).predict_proba(task.test.X)
    nll = negative_log_likelihood(task.test.y, proba)
    np.testing.assert_allclose(alone["scores"]["test"]["before"]["nll"], nll, rtol=1e-5)


def test_search__later_trials_change_the_best_of_earlier_ones():
    nll = {1: 0.5, 2: 0.3, 3: 0.4}
    made = []

    def trial_of(settings):
        made.append(settings)
        return {"settings": settings, "nll": nll[settings["a"]] + abs(settings.get("b", 0) - 7)}

    trials = search([[{"a": 1}, {"a": 2}, {"a": 3}], [{"b": 5}, {"b": 6}]], trial_of)
    assert made == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 2, "b": 5}, {"a": 2, "b": 6}]
    assert best_of(trials) == [{"a": 2, "b": 6}]
    assert best_of(trials, 2) == [{"a": 2, "b": 6}, {"a": 2, "b": 5}]
    assert search([[{"a": 1}], []], trial_of) == [{"settings": {"a": 1}, "nll": 7.5}]
    # From a start: changes, some of them factors; the start itself is not changed.
    start = {"a": 1, "b": 4.0}
    made.clear()
    rounds = [[{}, {"times": {"b": 1.5}}], [{"a": 2, "times": {"b": 1.5}}]]
    search(rounds, trial_of, start)
    assert made == [start, {"a": 1, "b": 6.0}, {"a": 2, "b": 9.0}]
    assert start == {"a": 1, "b": 4.0}


@pytest.mark.slow
def test_grid__a_changed_config_makes_what_it_lacks_and_no_more(evidence, monkeypatch):
    grid = evidence(["probe"])
    finish(grid.jobs())
    first = trials_of(grid, "probe")
    probe = grid.config["methods"]["probe"]
    fits, build = [], grid.classifier
    monkeypatch.setattr(grid, "classifier", lambda *args: fits.append(args[2]) or build(*args))

    # One trial is another: it is made, the other one kept; a setting that is worse changes no run.
    worse = {"Cs": [0.01]}
    lost = next(t for t in probe["trials"] if t != first["chosen"])
    probe["trials"] = [worse if t == lost else t for t in probe["trials"]]
    assert [line.split(":")[0] for line in finish(grid.jobs())] == ["toy/tuning-probe-n16"]
    assert fits == [worse] * 2  # on two drawings
    second = trials_of(grid, "probe")
    assert [t for t in second["trials"] if t["settings"] != worse] == [
        t for t in first["trials"] if t["settings"] != lost
    ]

    # Only the worse one is left: runs that had the better one are made again.
    probe["trials"] = [worse, worse]
    finish(grid.jobs())
    assert read(grid, "probe")["chosen"] == worse


# -- rows and drawings -------------------------------------------------------------------------------


def test_load_task__skips_the_first_rows(evidence):
    evidence([])  # puts "toy" among the data sets

    def task(n_test, n_foreign, **skip):
        counts = {"n_validation": 20, "n_test": n_test, "n_foreign": n_foreign}
        return data.load_task("toy", rows=24, seed=0, skip=data.Skip(**skip), **counts)

    whole, part = task(None, None), task(5, 3, test=4, foreign=6)
    assert list(part.test.X) == list(whole.test.X)[4:9]
    np.testing.assert_array_equal(part.test.y, whole.test.y[4:9])
    np.testing.assert_array_equal(part.human_proba, whole.human_proba[4:9])
    assert list(part.foreign["far"].X) == list(whole.foreign["far"].X)[6:9]
    assert list(part.shifted["other"].X) == list(whole.shifted["other"].X)[6:9]
    assert list(task(None, None, test=4).test.X) == list(whole.test.X)[4:]
    assert list(part.train.X) == list(whole.train.X)
    assert list(part.validation.X) == list(whole.validation.X)


def test_new_data__are_none_of_the_rows_judged_before(monkeypatch):
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
        assert (len(train), len(test)) == (600, 500)
        assert not train & test
        assert not (train | test) & before
        assert list(pools.test.y) == [int(text.split()[1]) % 2 for text in pools.test.X]


# -- the real configs --------------------------------------------------------------------------------


def test_read_config__takes_the_rest_from_the_file_it_is_like(tmp_path):
    (tmp_path / "a.toml").write_text('results = "a"\nmembers = 5\n[rows]\ntest = 3\nmore = 4\n')
    (tmp_path / "b.toml").write_text('like = "a.toml"\nresults = "b"\n[rows]\ntest = 1\n')
    (tmp_path / "c.toml").write_text('like = "b.toml"\nmembers = 2\n')
    found = read_config(tmp_path / "c.toml")
    assert found == {"results": "b", "members": 2, "rows": {"test": 1}}


@pytest.mark.parametrize("name", [path.stem for path in grids.CONFIGS.glob("*.toml")])
def test_real_config__stages_know_their_methods_and_data_and_trials_are_as_many(name):
    config = read_config(name)
    methods = config["methods"]
    if name != "3000_rows":
        # One empty trial: the method chooses by itself.
        tuned = [spec for spec in methods.values() if spec.get("trials", [{}]) != [{}]]
        counts = {tuple(len(spec.get(k, [])) for k in ("trials", "then", "last")) for spec in tuned}
        assert len(counts) == 1
    for method, spec in methods.items():
        assert "trials" in methods[spec.get("tuned_as", method)]
    for dataset, method, _, _ in planned(config):
        assert dataset in config["datasets"]
        assert method in methods
    assert set(config["datasets"]) <= set(data.DATASETS)


@pytest.mark.parametrize(("name", "like"), [("unseen", "grid"), ("unseen_more_rows", "more_rows")])
def test_real_config__of_the_clean_check_chooses_nothing_and_repeats_no_row(name, like):
    config, grid = read_config(name), read_config(like)
    assert config["tuned_in"] == grid["results"] != config["results"]
    for part in ("test", "foreign"):
        assert config["rows"]["skip"][part] >= grid["rows"][part]
    (stage,) = config["stages"]
    seen = {s for stage in grid["stages"] for s in stage["seeds"]} | {*grid["tuning"]["seeds"]}
    assert not seen & set(stage["seeds"])
    assert stage["rows"] == grid["tuning"]["rows"]
    assert set(stage["datasets"]) == set(REAL["datasets"])
    other = read_config("unseen")
    assert config["rows"] == other["rows"]
    assert stage == other["stages"][0] | {"rows": stage["rows"]}

"""The grid of benchmarks/evidence.py on a tiny backbone: every method, going on, sharing."""

import json
import os

import numpy as np
import pytest

from sksve.backbones import make_tiny_backbone
from sksve.baselines import FineTunedClassifier
from sksve.metrics import negative_log_likelihood
from tests.benchmarks.conftest import BENCHMARKS, REAL


def read(grid, method, seed=0):
    return json.loads(grid.run_path("toy", method, 24, seed).read_text())


@pytest.mark.parametrize(
    "methods",
    [
        ["sve", "sve_single"],
        pytest.param(list(REAL["methods"]), marks=pytest.mark.slow),
    ],
    ids=["two", "all"],
)
def test_grid__runs_a_cell_of_each_method(evidence, script, methods):
    if "laplace" in methods:
        pytest.importorskip("laplace")
    grid = evidence(methods)
    said = []
    assert script("_grid").work_off(grid.jobs(), seconds=None, say=said.append)
    assert not any("FAILED" in line for line in said)
    assert all(job.done for job in grid.jobs())
    for method in methods:
        run = read(grid, method)
        scores = run["scores"]
        assert run["method"] == method
        assert run["chosen"] in [{"head_lr": 1e-2}, {"head_lr": 1e-3}]
        assert set(run["scores"]["shifted"]) == {"other"}
        assert 0 <= scores["test"]["before"]["accuracy"] <= 1
        assert scores["human"]["before"]["total_variation"] <= 1
        ensemble = REAL["methods"][method].get("members", False)
        drawn = ensemble or method in ("mc_dropout", "laplace")
        assert (scores["diversity"] is not None) == drawn
        assert (scores["foreign"]["far"]["mutual_information"] is not None) == drawn
        cost = run["cost"]
        members = 2 if ensemble else 1
        heads = cost["trainable"] - cost["trainable_without_heads"]
        assert heads == members * 2 * (make_tiny_backbone()[0].config.hidden_size + 1)
    # One set of trials for all that train the same.
    tuned = sorted(path.name for path in (grid.results / "toy").glob("tuning-*"))
    assert not {"tuning-laplace-n16.json", "tuning-sve_single-n16.json"} & set(tuned)
    first = {REAL["methods"][m].get("tuned_as", m) for m in methods}
    finals = {m for m in methods if "finals" in REAL["methods"][m]}
    assert tuned == sorted(f"tuning-{m}-n16.json" for m in first | finals)


def test_grid__goes_on_where_it_was(evidence, script):
    work_off = script("_grid").work_off
    grid = evidence(["probe"], seeds=(0, 1))
    jobs = grid.jobs()
    assert [job.path.stem for job in jobs] == [
        "tuning-probe-n16", "probe-n24-seed0", "probe-n24-seed1",
    ]  # fmt: skip
    assert work_off(jobs, seconds=None, say=str)
    assert all(job.done for job in grid.jobs())
    made = {job.path: job.path.stat().st_mtime_ns for job in jobs}
    jobs[1].path.unlink()
    said = []
    assert work_off(grid.jobs(), seconds=None, say=said.append)
    assert len(said) == 1
    assert "probe-n24-seed0" in said[0]
    unlike = [path for path, when in made.items() if path.stat().st_mtime_ns != when]
    assert unlike == [jobs[1].path]


def test_grid__no_job_is_begun_that_outlasts_the_limit(evidence, script):
    grid = evidence(["probe"])
    assert not script("_grid").work_off(grid.jobs(), seconds=0.5, say=str)
    assert not list(grid.results.rglob("*.json"))


def test_grid__the_jobs_of_another_living_process_are_left_to_it(evidence, script, monkeypatch):
    module = script("_grid")
    monkeypatch.setattr(module.time, "sleep", lambda s: lock.write_text("999999999"))
    grid = evidence(["probe"])
    tuning, run = grid.jobs()
    lock = tuning.path.with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    lock.write_text(str(os.getppid()))
    # Waits once; then the other one has died without having done it, and its lock counts no more.
    assert module.work_off([tuning, run], seconds=None, say=str)
    assert not list(grid.results.rglob("*.lock"))


def test_grid__a_failing_job_does_not_stop_the_others(evidence, script, monkeypatch):
    grid = evidence(["probe"], seeds=(0, 1))
    run = grid.run

    def fails_once(*args):
        if args[3] == 0:
            raise RuntimeError("on purpose")
        run(*args)

    monkeypatch.setattr(grid, "run", fails_once)
    said = []
    assert not script("_grid").work_off(grid.jobs(), seconds=None, say=said.append)
    assert [line.startswith("FAILED") for line in said] == [False, True, False]
    assert "on purpose" in said[1]


def test_run__first_member_of_the_deep_ensemble_is_a_fine_tuned_model(evidence, script):
    grid = evidence(["deep", "fine_tuned"])
    grid.config["methods"]["deep"]["finals"] = {"trials": 1, "members": 2}  # what one member chose
    assert script("_grid").work_off(grid.jobs(), seconds=None, say=str)
    deep, alone = read(grid, "deep"), read(grid, "fine_tuned")
    assert deep["tuning"] == "toy/tuning-deep-n16.json"
    assert alone["tuning"] == "toy/tuning-fine_tuned-n16.json"
    assert "first member" in alone["derived"]
    assert 2 * alone["cost"]["trainable"] == deep["cost"]["trainable"]
    task = grid.task("toy", 24, 0)
    clf = FineTunedClassifier(
        make_tiny_backbone(),
        batch_size=8,
        max_epochs=1,
        max_length=16,
        random_state=0,
        **alone["chosen"],
    )
    proba = clf.fit(task.train.X, task.train.y).predict_proba(task.test.X)
    nll = negative_log_likelihood(task.test.y, proba)
    np.testing.assert_allclose(alone["scores"]["test"]["before"]["nll"], nll, rtol=1e-5)


def test_finals__several_members_may_choose_what_one_did_not(evidence, script, monkeypatch):
    work_off = script("_grid").work_off
    grid = evidence(["deep", "fine_tuned"])
    methods = grid.config["methods"]
    methods["fine_tuned"]["trials"] = [{"head_lr": rate} for rate in (1e-4, 1e-3, 1e-2)]
    methods["deep"]["finals"] = {"trials": 2, "members": 2}
    asked = []

    def trial(dataset, method, settings):  # one member: the highest rate; two: the lowest
        asked.append((method, settings["head_lr"], grid.tuning.members(method)))
        return {
            "settings": settings,
            "nll": settings["head_lr"] * (-1 if method == "fine_tuned" else 1),
        }

    monkeypatch.setattr(grid, "_try", trial)
    assert work_off(grid.jobs(), seconds=None, say=str)
    assert asked == [("fine_tuned", r, 1) for r in (1e-4, 1e-3, 1e-2)] + [
        ("deep", r, 2) for r in (1e-2, 1e-3)  # the best two of them again
    ]  # fmt: skip
    deep, alone = read(grid, "deep"), read(grid, "fine_tuned")
    assert (deep["chosen"], alone["chosen"]) == ({"head_lr": 1e-3}, {"head_lr": 1e-2})
    assert "derived" not in alone  # a run of its own
    assert 2 * alone["cost"]["trainable"] == deep["cost"]["trainable"]
    assert all(job.done for job in grid.jobs())

    # Another best trial of one member: it is tried with two, the rest stays.
    asked.clear()
    methods["fine_tuned"]["last"] = [{"head_lr": 3e-2}]
    assert not all(job.done for job in grid.jobs())
    assert work_off(grid.jobs(), seconds=None, say=str)
    assert asked == [("fine_tuned", 3e-2, 1), ("deep", 3e-2, 2)]
    assert read(grid, "deep")["chosen"] == {"head_lr": 1e-2}
    assert read(grid, "fine_tuned")["chosen"] == {"head_lr": 3e-2}


@pytest.mark.parametrize("vision", [True, False])
def test_rounds__images_may_have_a_trial_of_their_own(vision, evidence):
    grid = evidence(["probe"])
    grid.config["datasets"]["toy"]["vision"] = vision
    grid.config["methods"]["probe"]["then"] = [
        {"lr": 1e-2, "adapt_blocks": 1, "vision": {"lr": 1e-3}},
        {"lr": 1e-4},
    ]
    own = {"lr": 1e-3} if vision else {"lr": 1e-2, "adapt_blocks": 1}
    assert grid.tuning.rounds("toy", "probe")[1] == [own, {"lr": 1e-4}]


def test_tuning__keeps_the_setting_with_the_lowest_nll(evidence, script):
    grid = evidence(["probe"])
    assert script("_grid").work_off(grid.jobs()[:1], seconds=None, say=str)
    found = json.loads(grid.tuning.path("toy", "probe").read_text())
    assert len(found["trials"]) == 2
    best = min(found["trials"], key=lambda t: t["nll"])
    assert found["chosen"] == best["settings"]
    assert len({t["nll"] for t in found["trials"]}) == 2
    for trial in found["trials"]:  # two drawings, each with rows of its own
        assert trial["nll"] == pytest.approx(np.mean(trial["nll_by_drawing"]))
        assert len(set(trial["nll_by_drawing"])) == 2


def test_search__later_trials_change_the_best_of_earlier_ones(script):
    module = script("_trials")
    nll = {1: 0.5, 2: 0.3, 3: 0.4}
    made = []

    def trial_of(settings):
        made.append(settings)
        return {"settings": settings, "nll": nll[settings["a"]] + abs(settings.get("b", 0) - 7)}

    trials = module.search([[{"a": 1}, {"a": 2}, {"a": 3}], [{"b": 5}, {"b": 6}]], trial_of)
    assert made == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 2, "b": 5}, {"a": 2, "b": 6}]
    assert module.best_of(trials) == [{"a": 2, "b": 6}]
    assert module.best_of(trials, 2) == [{"a": 2, "b": 6}, {"a": 2, "b": 5}]
    assert module.search([[{"a": 1}], []], trial_of) == [{"settings": {"a": 1}, "nll": 7.5}]
    # From a start: changes, some of them factors; the start itself is not changed.
    start = {"a": 1, "b": 4.0}
    made.clear()
    rounds = [[{}, {"times": {"b": 1.5}}], [{"a": 2, "times": {"b": 1.5}}]]
    module.search(rounds, trial_of, start)
    assert made == [start, {"a": 1, "b": 6.0}, {"a": 2, "b": 9.0}]
    assert start == {"a": 1, "b": 4.0}


def test_start__is_what_fewer_rows_chose(evidence, script, monkeypatch):
    work_off = script("_grid").work_off
    few = evidence(["deep", "fine_tuned"])
    few.config["methods"]["deep"].pop("finals")
    more = evidence(["deep", "fine_tuned"])
    more.config["tuning"] = {"rows": 20, "seeds": [0], "start_rows": 16}
    more.config["methods"]["fine_tuned"] = {
        "class": "FineTunedClassifier", "tuned_as": "deep", "first_member_of": "deep",
    }  # fmt: skip
    del more.config["methods"]["deep"]["tuned_as"], more.config["methods"]["deep"]["finals"]
    more.config["methods"]["deep"] |= {
        "starts_as": ["deep", "fine_tuned"], "trials": [{}, {"times": {"head_lr": 0.5}}],
    }  # fmt: skip
    said = []
    assert not work_off(more.jobs(), seconds=None, say=said.append)
    assert "Make the trials with 16 rows first" in said[0]

    assert work_off(few.jobs()[:1], seconds=None, say=str)
    chosen = few.tuning.chosen("toy", "fine_tuned")["head_lr"]
    assert work_off(more.jobs(), seconds=None, say=str)
    assert all(job.done for job in more.jobs())
    found = json.loads((more.results / "toy" / "tuning-deep-n20.json").read_text())
    assert [t["settings"]["head_lr"] for t in found["trials"]] == [chosen, chosen / 2]
    for method in ("deep", "fine_tuned"):
        run = read(more, method)
        assert run["tuning"] == "toy/tuning-deep-n20.json"
        assert run["chosen"] == found["chosen"]
    assert "derived" in read(more, "fine_tuned")

    # The method's own choice counts first; trials that begin elsewhere are no longer current.
    own = few.results / "toy" / "tuning-deep-n16.json"
    own.write_text(json.dumps({"chosen": {"head_lr": 0.1}}))
    assert not more.jobs()[0].done


def test_grid__a_changed_config_makes_what_it_lacks_and_no_more(evidence, script, monkeypatch):
    work_off = script("_grid").work_off
    grid = evidence(["probe"])
    assert work_off(grid.jobs(), seconds=None, say=str)
    first = json.loads(grid.tuning.path("toy", "probe").read_text())
    probe = grid.config["methods"]["probe"]
    fits, build = [], grid.classifier
    monkeypatch.setattr(grid, "classifier", lambda *args: fits.append(args[2]) or build(*args))

    # One trial is another: it is made, the other one kept; a setting that is worse changes no run.
    worse = {"head_lr": 1e-9}
    lost = next(t for t in probe["trials"] if t != first["chosen"])
    probe["trials"] = [worse if t == lost else t for t in probe["trials"]]
    said = []
    assert work_off(grid.jobs(), seconds=None, say=said.append)
    assert fits == [worse] * 2  # on two drawings
    assert [line.split(":")[0] for line in said] == ["toy/tuning-probe-n16"]
    second = json.loads(grid.tuning.path("toy", "probe").read_text())
    assert [t for t in second["trials"] if t["settings"] != worse] == [
        t for t in first["trials"] if t["settings"] != lost
    ]

    # Only the worse one is left: runs that had the better one are made again.
    probe["trials"] = [worse, worse]
    assert not all(job.done for job in grid.jobs())
    assert work_off(grid.jobs(), seconds=None, say=str)
    assert read(grid, "probe")["chosen"] == worse

    # A later round, a setting of the method itself, the number of a trial's members, or other drawings:
    # what depends on it, anew.
    probe["then"] = [{"weight_decay": 0.1}]
    fits.clear()
    assert work_off(grid.jobs(), seconds=None, say=str)
    assert fits[:2] == [{**worse, "weight_decay": 0.1}] * 2
    # And the last round: of the best of both.
    best = json.loads(grid.tuning.path("toy", "probe").read_text())["chosen"]
    probe["last"] = [{"max_epochs": 2}]
    fits.clear()
    assert work_off(grid.jobs(), seconds=None, say=str)
    assert fits[:2] == [{**best, "max_epochs": 2}] * 2
    del probe["then"], probe["last"]
    tuning = grid.config["tuning"]
    for part, change in (
        (probe, {"settings": {"pooling": "cls"}}),
        (probe, {"trial_members": 2}),
        (tuning, {"seeds": [3, 4]}),
    ):
        fits.clear()
        part |= change
        assert not any(job.done for job in grid.jobs()[:1])
        assert work_off(grid.jobs(), seconds=None, say=str)
        assert all(job.done for job in grid.jobs())
        assert fits[:2] == [worse, worse]


@pytest.mark.parametrize("same", [True, False], ids=["same_choice", "another"])
def test_grid__other_trials_take_a_run_over_if_they_chose_its_settings(same, evidence, script):
    work_off = script("_grid").work_off
    grid = evidence(["deep", "fine_tuned"])
    del grid.config["methods"]["deep"]["finals"]
    grid.config["datasets"]["twin"] = grid.config["datasets"]["toy"]
    script("_evidence_data").DATASETS["twin"] = script("_evidence_data").DATASETS["toy"]
    grid.config["tuning"]["stand_in"] = {"toy": "twin"}
    grid.config["stages"][0]["datasets"] = ["toy"]
    assert work_off(grid.jobs(), seconds=None, say=str)
    before = {name: read(grid, name) for name in ("deep", "fine_tuned")}
    assert before["deep"]["tuning"] == "twin/tuning-fine_tuned-n16.json"

    # From now on the data set has trials of its own.
    del grid.config["tuning"]["stand_in"]
    chosen = before["deep"]["chosen"]
    others = [t for t in grid.config["methods"]["fine_tuned"]["trials"] if (t == chosen) == same]
    grid.config["methods"]["fine_tuned"]["trials"] = others
    assert not any(job.done for job in grid.jobs())
    assert work_off(grid.jobs(), seconds=None, say=str)
    assert all(job.done for job in grid.jobs())
    for name, old in before.items():
        new = read(grid, name)
        assert new["tuning"] == "toy/tuning-fine_tuned-n16.json"
        assert (new | {"tuning": old["tuning"]} == old) == same


def test_grid__a_run_older_than_a_parameter_had_its_default(evidence, script):
    work_off = script("_grid").work_off
    grid = evidence(["probe"])
    assert work_off(grid.jobs(), seconds=None, say=str)
    method = grid.config["methods"]["probe"]
    path = grid.run_path("toy", "probe", 24, 0)
    run = json.loads(path.read_text())
    default = run["parameters"].pop("warmup")
    path.write_text(json.dumps(run))
    for asked, current in ((default, True), (default / 2, False)):
        method["settings"] = {"warmup": asked}
        assert grid._has_settings(run, "toy", "probe") == current


def test_real_config__methods_have_as_many_trials_and_stages_know_them():
    methods = REAL["methods"]
    tuned = [spec for spec in methods.values() if "trials" in spec]
    assert len({tuple(len(spec[k]) for k in ("trials", "then", "last")) for spec in tuned}) == 1
    for name, spec in methods.items():
        assert "trials" in methods[spec.get("tuned_as", name)]
    for stage in REAL["stages"]:
        assert set(stage["methods"]) <= set(methods)


def test_real_config__with_more_rows_is_the_grids_but_for_trials(script):
    config = script("_grid").read_config(BENCHMARKS / "evidence_more_rows.toml")
    same = ("members", "backbones", "rows", "shared", "datasets")
    assert {k: config[k] for k in same} == {k: REAL[k] for k in same}
    methods = config["methods"]
    about_trials = {"trials", "then", "last", "finals", "tuned_as", "starts_as", "text_settings"}
    for name, spec in methods.items():
        of_texts = REAL["methods"][name].get("text_settings", {})  # each trial says its own
        for trial in spec.get("trials", []) if of_texts else []:
            assert of_texts.keys() <= trial.keys()
            assert not of_texts.keys() & trial["vision"].keys()
        assert {k: v for k, v in spec.items() if k not in about_trials} == {
            k: v for k, v in REAL["methods"][name].items() if k not in about_trials
        }
    tuned = [spec for spec in methods.values() if "trials" in spec]
    assert (
        len({tuple(len(spec.get(k, [])) for k in ("trials", "then", "last")) for spec in tuned})
        == 1
    )
    assert config["tuning"]["start_rows"] == REAL["tuning"]["rows"]
    for stage in config["stages"]:
        assert set(stage["methods"]) <= set(methods)

"""The clean check: the grid's settings on drawings and test rows that no list of trials has seen."""

import json

import numpy as np
import pytest

from tests.benchmarks.conftest import BENCHMARKS, REAL

CONFIGS = {
    "evidence_unseen.toml": "evidence.toml",
    "evidence_unseen_more_rows.toml": "evidence_more_rows.toml",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_real_config__chooses_nothing_and_repeats_no_row(script, name):
    read = script("_grid").read_config
    config, grid = read(BENCHMARKS / name), read(BENCHMARKS / CONFIGS[name])
    same = ("members", "backbones", "shared", "tuning", "methods", "datasets")
    assert {k: config[k] for k in same} == {k: grid[k] for k in same}
    assert config["results"] != grid["results"]
    assert config["tuned_in"] == grid["results"]
    for part in ("test", "foreign"):
        assert config["rows"]["skip"][part] >= grid["rows"][part]
    seeds = {seed for stage in grid["stages"] for seed in stage["seeds"]}
    (stage,) = config["stages"]
    assert not seeds & set(stage["seeds"])
    assert not set(grid["tuning"]["seeds"]) & set(stage["seeds"])
    assert stage["rows"] == grid["tuning"]["rows"]
    assert set(stage["datasets"]) == set(REAL["datasets"])


def test_real_configs__are_of_the_same_rows_drawings_and_methods(script):
    read = script("_grid").read_config
    few, more = (read(BENCHMARKS / name) for name in CONFIGS)
    for key in ("results", "tuned_in", "rows"):
        assert few[key] == more[key]
    (few_stage,), (more_stage,) = few["stages"], more["stages"]
    assert few_stage == more_stage | {"rows": few_stage["rows"]}


def test_load_task__skips_the_first_rows(script, evidence):
    evidence([])  # puts "toy" among the data sets
    data = script("_evidence_data")

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


def test_grid__has_what_another_grids_trials_chose(script, evidence):
    work_off = script("_grid").work_off
    grid = evidence(["probe"])
    assert work_off(grid.jobs(), seconds=None, say=str)
    config = grid.config | {"results": "unseen", "tuned_in": "made"}
    config["rows"] = config["rows"] | {"test": 5, "skip": {"test": 4, "foreign": 2}}
    config["stages"] = [config["stages"][0] | {"seeds": [3]}]
    unseen = script("evidence").Evidence(config, grid.results.parent)
    made = {p: p.read_bytes() for p in grid.results.rglob("*.json")}
    said = []
    assert work_off(unseen.jobs(), seconds=None, say=said.append)
    assert len(said) == 1  # a run, no trials
    run = json.loads(unseen.run_path("toy", "probe", 24, 3).read_text())
    seen = json.loads(grid.run_path("toy", "probe", 24, 0).read_text())
    assert (run["tuning"], run["chosen"]) == (seen["tuning"], seen["chosen"])
    assert run["cost"]["saved_bytes"]  # its first seed is 3
    assert len(script("_evidence_score").unpack_rows(run["scores"]["rows"]["before"])["nll"]) == 5
    assert made == {p: p.read_bytes() for p in grid.results.rglob("*.json")}


@pytest.fixture
def two_sizes(fabricate, tables):
    folder = fabricate({"sve_subspaces": 0.5, "deep": 0.2})
    runs = dict(tables.load_runs(folder))
    for (dataset, method, _, seed), run in list(runs.items()):
        if dataset == "credit":
            runs[dataset, method, 1000, seed] = {**run, "rows": 1000}
    return runs


def test_section__judges_both_sizes_together_and_each(script, two_sizes):
    page = script("_unseen_page")
    cells = [(*key[:3], seed) for key in two_sizes for seed in (key[3], 9)]
    times = {
        200: {"One": {"sve_subspaces": {"credit": 0.2}}},
        1000: {"One": {"sve_subspaces": {"credit": 0.5}}},
    }
    lines = page.unseen_section(two_sizes, cells, times)
    assert lines[0] == "## The clean check"
    assert f"**{len(two_sizes)} of the" in "\n".join(lines)  # seeds 9 are missing, and named
    of_time = [line for line in lines if line.startswith("| time of fit, in turns")]
    assert [line.split(" | ")[-1] for line in of_time] == [
        "0.35 (One) |", "**0.20 (One)** |", "0.50 (One) |",
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("### ")] == [
        "### Of these, 200 training rows", "### Of these, 1000 training rows",
    ]  # fmt: skip
    rows = [line for line in lines if line.startswith("| training rows")]
    assert rows[0] == "| training rows | 200 | 200 | 200, 1,000 |  |"
    assert rows[2] == "| training rows | 1,000 |  |"
    summary = page.unseen_summary(two_sizes, times)
    assert summary == lines[lines.index(summary[0]) :][: len(summary)]


def test_section__says_what_its_own_runs_took(script, two_sizes, tables):
    """Shares of the deep ensemble's CPU time, beside those measured in turns, and intervals."""
    lines = script("_unseen_page").unseen_section(two_sizes, list(two_sizes), {})
    both = (200, 1000)
    shares = tables.cells_of(two_sizes, "sve_subspaces", both, "fit_ratio")
    of_credit = [v for (dataset, _), v in shares.items() if dataset == "credit"]
    assert len(of_credit) > 2
    told = [line for line in lines if "(CPU time of these runs)" in line]
    assert [line.split(" | ")[3] for line in told[:1]] == [f"{np.mean(of_credit):.3f}"]
    assert told[0].endswith(f" {tables.mean_over_datasets(shares):.3f} |")
    c = tables.compare(two_sizes, "sve_subspaces", "deep", both, "nll")
    (row,) = [line for line in lines if line.startswith("| deep ensemble | NLL |")]
    assert f"| {c.difference:+.3f} | {c.low:+.3f} to {c.high:+.3f} |" in row


def test_section__says_what_whole_fits_took_and_judges_by_turns(script, two_sizes):
    page = script("_unseen_page")
    turns, whole = (
        {rows: {"One": {"sve_subspaces": {"credit": share}}} for rows in (200, 1000)}
        for share in (0.2, 0.4)
    )
    lines = page.unseen_section(two_sizes, list(two_sizes), turns, whole)
    told = [line for line in lines if "(One, whole fits)" in line]
    assert [line.split(" | ")[-1] for line in told] == ["0.400 |"] * 3
    assert not any("whole" in line for line in page.unseen_summary(two_sizes, turns))


def test_section__one_size_is_told_once(script, fabricate, tables):
    runs = tables.load_runs(fabricate({"sve_subspaces": 0.5, "deep": 0.2}))
    lines = script("_unseen_page").unseen_section(runs, list(runs), {})
    assert sum(line.startswith("| NLL | at or below") for line in lines) == 1
    assert not any(line.startswith("### ") for line in lines)


def test_section__is_left_out_without_both_methods(script, fabricate, tables):
    page = script("_unseen_page")
    runs = tables.load_runs(fabricate({"deep": 0.2}))
    assert page.unseen_section(runs, list(runs), {}) == []
    assert page.unseen_section({}, [], {}) == []


def test_load_runs__goes_by_the_trials_of_the_grid(script, fabricate, tables, tmp_path):
    folder = fabricate({"deep": 0.2}, datasets=("credit",))
    tuned = tmp_path / "grid"
    (tuned / "credit").mkdir(parents=True)
    (tuned / "credit" / "tuning.json").write_text(json.dumps({"chosen": {"lr": 1}}))
    for path, chosen in zip(
        sorted(folder.glob("credit/*.json")), ({"lr": 1}, {"lr": 2}, {"lr": 1})
    ):
        run = {**json.loads(path.read_text()), "tuning": "credit/tuning.json", "chosen": chosen}
        path.write_text(json.dumps(run))
    assert [key[3] for key in tables.load_runs(folder, tuned=tuned)] == [0, 2]

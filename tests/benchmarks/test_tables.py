"""The report of made-up runs says who wins, who loses, and what is missing."""

import copy

import numpy as np
import pytest
from scipy.stats import wilcoxon

from benchmarks.common.results import Table
from benchmarks.evidence import page, tables
from benchmarks.evidence.tables import bars, compare, load_runs
from sksve.metrics import expected_calibration_error


def test_compare__wins_ties_and_losses(fabricate):
    runs = load_runs(fabricate({"sve": 0.5, "deep": 0.2, "lora": 0.5, "probe": 1.0}))
    for metric in ("nll", "accuracy"):
        against = {
            rival: compare(runs, "sve", rival, 200, metric) for rival in ("deep", "lora", "probe")
        }
        assert [c.verdict for c in against.values()] == ["win", "tie", "loss"]
        assert against["deep"].count("win") == 3
        assert against["lora"].count("tie") == 3
        assert against["probe"].count("loss") == 3
        assert against["deep"].at_or_better == against["lora"].at_or_better == 3
        assert against["probe"].at_or_better == 0
        assert against["lora"].p_value == 1.0
    better = against["deep"]
    gaps = [
        tables.value_of(runs[d, "sve", 200, s], "accuracy")
        - tables.value_of(runs[d, "deep", 200, s], "accuracy")
        for d in ("movie_reviews", "newsgroups", "credit")
        for s in range(3)
    ]
    assert better.n_cells == 9
    assert better.difference == pytest.approx(np.mean(gaps))
    assert better.p_value == pytest.approx(wilcoxon(gaps).pvalue)
    assert better.low < better.difference < better.high


def test_compare__only_cells_that_both_have(fabricate):
    without = ["credit/deep-n200-seed1"]
    runs = load_runs(fabricate({"sve": 0.5, "deep": 0.2}, without=without))
    found = compare(runs, "sve", "deep", 200, "nll")
    assert found.n_cells == 8
    assert compare(runs, "sve", "laplace", 200, "nll") is None
    assert compare(runs, "sve", "deep", 1000, "nll") is None


def test_compare__one_seed_of_a_data_set_gives_no_interval_and_no_result(fabricate):
    without = [f"credit/deep-n200-seed{seed}" for seed in (1, 2)]
    runs = load_runs(fabricate({"sve": 0.5, "deep": 0.2}, without=without))
    found = compare(runs, "sve", "deep", 200, "nll")
    assert found.n_cells == 7
    assert np.isnan([found.low, found.high]).all()
    assert found.verdict == "-"
    assert found.count("win") == 3  # by the test rows of each
    lines = page.differences(runs, 200)
    row = next(line for line in lines if line.startswith("| deep ensemble | NLL |")).split(" | ")
    assert row[3] == row[6] == "-"


def test_ece__equals_that_of_the_library(rng):
    p = rng.uniform(size=200)
    p[:3] = [0.0, 1.0, 0.8]
    y = rng.integers(0, 2, 200)
    proba = np.stack([1 - p, p], axis=1)
    rows = {"confidence": proba.max(axis=1), "correct": (proba.argmax(axis=1) == y).astype(float)}
    counts = np.stack([np.ones(200), np.bincount(rng.integers(0, 200, 200), minlength=200)])
    got = tables._ece(rows, counts)
    again = np.repeat(np.arange(200), counts[1].astype(int))
    want = [expected_calibration_error(y[i], proba[i]) for i in (slice(None), again)]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_bars__met_and_missed(fabricate):
    runs = load_runs(fabricate({"sve": 0.5, "deep": 0.2}))
    found = {bar.name: bar for bar in bars(runs, 200)}
    assert found["NLL"].met
    assert found["accuracy"].met
    assert "time of fit, in turns" not in found  # not measured
    times = {"One": {"sve": {"credit": 0.2, "newsgroups": 0.3}}, "Other": {"lora": {"credit": 0.9}}}
    timed = {bar.name: bar for bar in bars(runs, 200, times=times)}
    assert timed["time of fit, in turns"].met
    assert timed["time of fit, in turns"].measured == "0.25 (One)"
    times["Other"]["sve"] = {"credit": 0.34}  # a target is met on every CPU or not at all
    timed = {bar.name: bar for bar in bars(runs, 200, times=times)}
    assert not timed["time of fit, in turns"].met
    assert timed["time of fit, in turns"].measured == "0.25 (One), 0.34 (Other)"
    assert found["trainable parameters, heads aside"].measured == "0.50 %"
    assert not found["saved size"].met  # 1000 of 40,000 bytes
    worse = load_runs(fabricate({"sve": 0.2, "deep": 0.5}, trainable_without_heads=200))
    found = {bar.name: bar for bar in bars(worse, 200)}
    met = [found[name].met for name in ("NLL", "accuracy", "trainable parameters, heads aside")]
    assert met == [False, False, False]


def test_load__seconds_are_relative_to_the_deep_ensemble_of_the_same_cell(fabricate):
    made = fabricate({"sve": 0.5, "deep": 0.2}, datasets=("credit",), seeds=(0, 1))
    slow = copy.deepcopy(made.get("credit/deep-n200-seed1"))
    slow["cost"]["fit"]["cpu_seconds"] *= 2  # a busy hour
    made.put("credit/deep-n200-seed1", slow)
    runs = load_runs(made)
    found = {seed: runs["credit", "sve", 200, seed]["relative"] for seed in (0, 1)}
    assert found == {0: {"fit": 0.25, "predict_test": 1.0}, 1: {"fit": 0.125, "predict_test": 1.0}}


@pytest.mark.parametrize("own_trials", [True, False], ids=["of the grid", "of another grid"])
def test_load__a_run_with_settings_no_longer_chosen_is_left_out(own_trials, fabricate, tmp_path):
    made = fabricate({"sve": 0.5, "deep": 0.2}, datasets=("credit",), seeds=(0, 1))
    tuned = made if own_trials else Table(tmp_path / "other.jsonl")
    tuned.put("credit/tuning-sve-n200", {"chosen": {"lr": 0.1}})
    for seed, lr in ((0, 0.1), (1, 0.2)):
        name = f"credit/sve-n200-seed{seed}"
        more = {"chosen": {"lr": lr}, "tuning": "credit/tuning-sve-n200"}
        made.put(name, made.get(name) | more)
    found = {(method, seed) for _, method, _, seed in load_runs(made, tuned=tuned)}
    assert found == {("sve", 0), ("deep", 0), ("deep", 1)}


# -- all sizes, new data, the clean check, trials -----------------------------------------------------


def with_more_rows(runs, rows, datasets, loss):
    """The same runs again with more rows on some data sets, the method's NLL so much above the rival's."""
    more = dict(runs)
    for (dataset, method, _, seed), run in runs.items():
        if dataset in datasets:
            again = copy.deepcopy(run)
            again["rows"] = rows
            if method == "sve_subspaces":
                rival = runs[dataset, "deep", 200, seed]["scores"]["test"]["before"]["nll"]
                again["scores"]["test"]["before"]["nll"] = rival + loss
            more[dataset, method, rows, seed] = again
    return more


@pytest.fixture
def both(fabricate):
    runs = load_runs(fabricate({"sve_subspaces": 0.5, "deep": 0.2}))
    return with_more_rows(runs, 1000, ("newsgroups", "credit"), 0.01)


def test_compare__of_several_sizes_is_the_mean_of_each_data_sets_sizes(both):
    alone = {n: compare(both, "sve_subspaces", "deep", n, "nll") for n in (200, 1000)}
    together = compare(both, "sve_subspaces", "deep", (200, 1000), "nll")
    assert set(alone[1000].datasets) == {"newsgroups", "credit"}
    for dataset, (gap, low, high) in together.datasets.items():
        gaps = [c.datasets[dataset][0] for c in alone.values() if dataset in c.datasets]
        assert gap == pytest.approx(np.mean(gaps), rel=1e-12)
        assert low <= high
    assert together.difference == pytest.approx(
        np.mean([gap for gap, _, _ in together.datasets.values()]), rel=1e-12
    )
    assert together.n_cells == 9 + 6
    assert together.low < together.difference < together.high
    one = compare(both, "sve_subspaces", "deep", (200,), "nll")
    assert one == alone[200]

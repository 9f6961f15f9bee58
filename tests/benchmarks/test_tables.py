"""The report of made-up runs says who wins, who loses, and what is missing."""

import copy

import numpy as np
import pytest
from scipy.stats import wilcoxon

from benchmarks.common.results import Table
from benchmarks.evidence import page, report, tables
from benchmarks.evidence.fit_times import mean_times
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


def test_verdict__what_rounding_leaves_is_no_win():
    assert tables.verdict("accuracy", 1e-17, 1e-18, 2e-17) == "tie"
    assert tables.verdict("accuracy", 0.01, 0.005, 0.015) == "win"
    assert tables.verdict("nll", 0.01, 0.005, 0.015) == "loss"


def test_means__data_sets_count_alike_however_many_seeds():
    cells = {("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 6.0}
    assert tables.mean_over_datasets(cells) == 4.0


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


def test_bars__kept_and_broken(fabricate):
    runs = load_runs(fabricate({"sve": 0.5, "deep": 0.2}))
    found = {bar.name: bar for bar in bars(runs, 200)}
    assert found["NLL"].kept
    assert found["accuracy"].kept
    assert "time of fit, in turns" not in found  # not measured
    times = {"One": {"sve": {"credit": 0.2, "newsgroups": 0.3}}, "Other": {"lora": {"credit": 0.9}}}
    timed = {bar.name: bar for bar in bars(runs, 200, times=times)}
    assert timed["time of fit, in turns"].kept
    assert timed["time of fit, in turns"].measured == "0.25 (One)"
    times["Other"]["sve"] = {"credit": 0.34}  # a promise holds on every CPU or not at all
    timed = {bar.name: bar for bar in bars(runs, 200, times=times)}
    assert not timed["time of fit, in turns"].kept
    assert timed["time of fit, in turns"].measured == "0.25 (One), 0.34 (Other)"
    assert found["trainable parameters, heads aside"].measured == "0.50 %"
    assert not found["saved size"].kept  # 1000 of 40,000 bytes
    worse = load_runs(fabricate({"sve": 0.2, "deep": 0.5}, trainable_without_heads=200))
    found = {bar.name: bar for bar in bars(worse, 200)}
    kept = [found[name].kept for name in ("NLL", "accuracy", "trainable parameters, heads aside")]
    assert kept == [False, False, False]


def test_summary__goals_count_the_data_sets_of_the_method_with_the_most(fabricate):
    fabricate({"sve": 0.5, "deep": 0.2})
    folder = fabricate({"sve_core": 0.5}, datasets=("movie_reviews",))
    runs = load_runs(folder)
    for methods in (["sve", "sve_core"], ["sve_core", "sve"]):
        lines = page.summary(runs, 200, methods)
        nll = next(line for line in lines if line.startswith("| NLL |"))
        assert "on 2 of 3 data sets" in nll  # two thirds of three, where the core has one
        assert "**1 of 1; " in nll


def between(text, start, end):
    return text.partition(start)[2].partition(end)[0]


def grid_of(methods, datasets=("movie_reviews", "newsgroups", "credit"), seeds=(0, 1, 2)):
    return [(d, m, 200, seed) for d in datasets for m in methods for seed in seeds]


def test_page__says_wins_and_losses_alike(fabricate):
    runs = load_runs(fabricate({"sve": 0.5, "deep": 0.2, "probe": 1.0}))
    text = report.page(runs, grid_of(["sve", "deep", "probe"]), "made")
    pairs = between(text, "### Paired differences", "### By data set")
    lines = [line for line in pairs.splitlines() if "| NLL |" in line]
    assert [line.split(" | ")[6:] for line in lines] == [
        ["win", "3 / 0 / 0 |"], ["loss", "0 / 0 / 3 |"],
    ]  # fmt: skip
    assert lines[0].startswith("| deep ensemble | NLL | -")
    assert lines[1].startswith("| linear probe | NLL | +")
    assert "**not kept**" in between(text, "### Promises", "### Means")
    assert "All 27 runs of the grid are done." in text


def test_page__says_what_is_missing_and_averages_what_is_common(fabricate):
    skills = {"sve": 0.5, "deep": 0.2, "probe": 1.0}
    without = [
        "newsgroups/deep-n200-seed1", "credit/probe-n200-seed0", "credit/probe-n200-seed2",
    ]  # fmt: skip
    runs = load_runs(fabricate(skills, without=without))
    text = report.page(runs, grid_of([*skills, "laplace"]), "made")
    done = between(text, "## How far", "## 200")
    assert "**24 of the 36 runs of the grid are done.**" in done
    assert "| SVE | 0 1 2 | 0 1 2 | 0 1 2 |" in done
    assert "| deep ensemble | 0 1 2 | 0 2 (1) | 0 1 2 |" in done
    assert "| linear probe | 0 1 2 | 0 1 2 | 1 (0, 2) |" in done
    assert "| last-layer Laplace | (0, 1, 2) | (0, 1, 2) | (0, 1, 2) |" in done
    # SVE and the deep ensemble where both are; the probe, which lacks some of that, in a table of its own.
    first, second = between(text, "### Means", "### Paired").split("Over movie reviews")[1:]
    assert first.startswith(", credit as text (seeds 0, 1, 2); 20 Newsgroups (seeds 0, 2):")
    assert second.startswith(
        " (seeds 0, 1, 2); 20 Newsgroups (seeds 0, 2); credit as text (seed 1):"
    )
    assert "linear probe" not in first
    both = [
        np.mean([runs[d, "sve", 200, s]["scores"]["test"]["before"]["nll"] for s in seeds])
        for d, seeds in (
            ("movie_reviews", (0, 1, 2)),
            ("newsgroups", (0, 2)),
            ("credit", (0, 1, 2)),
        )
    ]
    row = next(line for line in first.splitlines() if line.startswith("| SVE |"))
    assert row.split(" | ")[2] == f"{np.mean(both):.3f}"
    # A mean over fewer seeds than another method's says so.
    per_set = between(text, "| NLL | movie reviews", "| NLL, scaled")
    assert [line.count(" (1)") for line in per_set.splitlines() if "probe" in line] == [1]
    assert [line.count(" (2)") for line in per_set.splitlines() if "deep" in line] == [1]


@pytest.mark.parametrize(
    "left",
    [
        [],
        ["movie_reviews/sve-n200-seed0", "movie_reviews/deep-n200-seed1"],
        ["movie_reviews/sve-n200-seed0", "movie_reviews/deep-n200-seed0"],
    ],
    ids=["none", "no seed in common", "one pair"],
)
def test_page__and_picture_of_any_few_runs(fabricate, tmp_path, left):
    skills = {"sve": 0.5, "deep": 0.2, "probe": 1.0}
    folder = fabricate(skills, datasets=("movie_reviews", "credit"), seeds=(0, 1), left=left)
    runs = load_runs(folder)
    cells = grid_of(skills, ("movie_reviews", "credit"), (0, 1))
    text = report.page(runs, cells, "made")
    assert f"**{len(left)} of the 12 runs of the grid are done.**" in text
    assert "nan" not in text
    if runs:
        report.draw(runs, 200, tmp_path / "made.png")
        assert (tmp_path / "made.png").read_bytes()[:4] == b"\x89PNG"


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


def test_bars__of_all_sizes_may_be_kept_where_one_size_is_not(both):
    nll = {
        rows: next(b for b in bars(both, rows, "sve_subspaces") if b.name == "NLL")
        for rows in (200, 1000, (200, 1000))
    }
    assert [nll[rows].kept for rows in nll] == [True, False, True]
    counts = [nll[rows].measured.split(";")[0] for rows in nll]
    assert counts == ["3 of 3", "0 of 2", "3 of 3"]


def test_mean_times__over_the_sizes_measured_on_a_cpu():
    few = {
        "One": {"sve_subspaces": {"credit": 0.2, "newsgroups": 0.4}, "sve": {"credit": 0.7}},
        "Other": {"sve_subspaces": {"credit": 0.1}},  # nothing there with more rows
    }
    more = {"One": {"sve_subspaces": {"newsgroups": 0.8}}}
    mean = mean_times([few, more])
    assert mean == {
        "One": {
            "sve_subspaces": {"credit": 0.2, "newsgroups": pytest.approx(0.6)},
            "sve": {"credit": 0.7},
        }
    }
    assert mean_times([]) == {}


@pytest.fixture
def two_sizes(fabricate):
    folder = fabricate({"sve_subspaces": 0.5, "deep": 0.2})
    runs = dict(load_runs(folder))
    for (dataset, method, _, seed), run in list(runs.items()):
        if dataset == "credit":
            runs[dataset, method, 1000, seed] = {**run, "rows": 1000}
    return runs


def test_clean_check__judges_both_sizes_together_and_each(two_sizes):
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


def test_trials_table__counts_trials_and_names_whose_they_are():
    trials = {
        f"{dataset}/tuning-{m}-n{n}": {"method": m, "rows": n, "trials": [{}] * count}
        for dataset, m, n, count in (
            ("newsgroups", "sve", 200, 5),
            ("newsgroups", "fine_tuned", 200, 7),
            ("newsgroups", "deep", 200, 3),
            ("credit", "deep", 1000, 3),
        )
    }
    runs = {
        ("newsgroups", "sve", 200, 0): {"tuning": "newsgroups/tuning-sve-n200"},
        ("credit", "sve", 200, 0): {"tuning": "newsgroups/tuning-sve-n200"},
        ("newsgroups", "deep", 200, 0): {"tuning": "newsgroups/tuning-deep-n200"},
        ("newsgroups", "fine_tuned", 200, 1): {"tuning": "newsgroups/tuning-fine_tuned-n200"},
        ("newsgroups", "fine_tuned", 1000, 1): {"tuning": "newsgroups/other"},
        ("credit", "probe", 200, 0): {"tuning": "credit/lost"},
    }
    assert page.trials_table(runs, 200, trials) == [
        "| trials | 20 Newsgroups | credit as text |",
        "| --- | --- | --- |",
        "| SVE | 5 | 5, of 20 Newsgroups |",
        "| deep ensemble | 7 + 3 | - |",
        "| fine-tuned model | 7 | - |",
        "| linear probe | - | - |",
        "",
    ]
    own = {("credit", "deep", 1000, 0): {"tuning": "credit/tuning-deep-n1000"}}
    assert page.trials_table(own, 1000, trials)[2] == "| deep ensemble | 3 |"
    assert page.trials_table({("credit", "sve", 200, 0): {}}, 200, trials) == []


def test_sections__are_left_out_where_there_is_nothing_to_say(fabricate):
    assert page.new_data_section({}, 200, []) == []
    assert page.unseen_section({}, [], {}) == []
    assert page.sizes_section({}) == page.counted(None) == page.fit_times({}) == []
    alone = load_runs(fabricate({"deep": 0.2}))
    assert page.unseen_section(alone, list(alone), {}) == []
    one_size = load_runs(fabricate({"sve_subspaces": 0.5, "deep": 0.2}))
    assert page.sizes_section(one_size) == []
    lines = page.unseen_section(one_size, list(one_size), {})
    assert sum(line.startswith("| NLL | at or below") for line in lines) == 1
    assert not any(line.startswith("### ") for line in lines)

"""The report of fabricated runs says who wins, and the page is what the files say."""

import json
import tomllib

import numpy as np
import pytest
from scipy.stats import wilcoxon

from sksve.metrics import expected_calibration_error
from tests.benchmarks.conftest import BENCHMARKS


def test_compare__wins_ties_and_losses(fabricate, tables):
    runs = tables.load_runs(fabricate({"sve": 0.5, "deep": 0.2, "lora": 0.5, "probe": 1.0}))
    for metric in ("nll", "accuracy"):
        against = {
            rival: tables.compare(runs, "sve", rival, 200, metric)
            for rival in ("deep", "lora", "probe")
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


def test_compare__only_cells_that_both_have(fabricate, tables):
    folder = fabricate({"sve": 0.5, "deep": 0.2})
    (folder / "credit" / "deep-n200-seed1.json").unlink()
    runs = tables.load_runs(folder)
    found = tables.compare(runs, "sve", "deep", 200, "nll")
    assert found.n_cells == 8
    assert tables.compare(runs, "sve", "laplace", 200, "nll") is None
    assert tables.compare(runs, "sve", "deep", 1000, "nll") is None


def test_compare__one_seed_of_a_data_set_gives_no_interval_and_no_result(fabricate, tables, script):
    folder = fabricate({"sve": 0.5, "deep": 0.2})
    for seed in (1, 2):
        (folder / "credit" / f"deep-n200-seed{seed}.json").unlink()
    runs = tables.load_runs(folder)
    found = tables.compare(runs, "sve", "deep", 200, "nll")
    assert found.n_cells == 7
    assert np.isnan([found.low, found.high]).all()
    assert found.verdict == "-"
    assert found.count("win") == 3  # by the test rows of each
    lines = script("_evidence_page").differences(runs, 200)
    row = next(line for line in lines if line.startswith("| deep ensemble | NLL |")).split(" | ")
    assert row[3] == row[6] == "-"


def test_verdict__what_rounding_leaves_is_no_win(tables):
    assert tables.verdict("accuracy", 1e-17, 1e-18, 2e-17) == "tie"
    assert tables.verdict("accuracy", 0.01, 0.005, 0.015) == "win"
    assert tables.verdict("nll", 0.01, 0.005, 0.015) == "loss"


def test_means__data_sets_count_alike_however_many_seeds(tables):
    cells = {("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 6.0}
    assert tables.mean_over_datasets(cells) == 4.0


def test_ece__equals_that_of_the_library(tables, rng):
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


def test_bars__kept_and_broken(fabricate, tables):
    runs = tables.load_runs(fabricate({"sve": 0.5, "deep": 0.2}))
    found = {bar.name: bar for bar in tables.bars(runs, 200)}
    assert found["NLL"].kept
    assert found["accuracy"].kept
    assert "time of fit, in turns" not in found  # not measured
    times = {"One": {"sve": {"credit": 0.2, "newsgroups": 0.3}}, "Other": {"lora": {"credit": 0.9}}}
    timed = {bar.name: bar for bar in tables.bars(runs, 200, times=times)}
    assert timed["time of fit, in turns"].kept
    assert timed["time of fit, in turns"].measured == "0.25 (One)"
    times["Other"]["sve"] = {"credit": 0.34}  # a promise holds on every CPU or not at all
    timed = {bar.name: bar for bar in tables.bars(runs, 200, times=times)}
    assert not timed["time of fit, in turns"].kept
    assert timed["time of fit, in turns"].measured == "0.25 (One), 0.34 (Other)"
    assert found["trainable parameters, heads aside"].measured == "0.50 %"
    assert not found["saved size"].kept  # 1000 of 40,000 bytes
    worse = tables.load_runs(fabricate({"sve": 0.2, "deep": 0.5}, trainable_without_heads=200))
    found = {bar.name: bar for bar in tables.bars(worse, 200)}
    kept = [found[name].kept for name in ("NLL", "accuracy", "trainable parameters, heads aside")]
    assert kept == [False, False, False]


def test_summary__goals_count_the_data_sets_of_the_method_with_the_most(fabricate, tables, script):
    fabricate({"sve": 0.5, "deep": 0.2})
    folder = fabricate({"sve_core": 0.5}, datasets=("movie_reviews",))
    runs = tables.load_runs(folder)
    for methods in (["sve", "sve_core"], ["sve_core", "sve"]):
        lines = script("_evidence_page").summary(runs, 200, methods)
        nll = next(line for line in lines if line.startswith("| NLL |"))
        assert "on 2 of 3 data sets" in nll  # two thirds of three, where the core has one
        assert "**1 of 1; " in nll


def between(text, start, end):
    return text.partition(start)[2].partition(end)[0]


def grid_of(methods, datasets=("movie_reviews", "newsgroups", "credit"), seeds=(0, 1, 2)):
    return [(d, m, 200, seed) for d in datasets for m in methods for seed in seeds]


def test_page__says_wins_and_losses_alike(fabricate, tables, script):
    report = script("report")
    runs = tables.load_runs(fabricate({"sve": 0.5, "deep": 0.2, "probe": 1.0}))
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


def test_page__says_what_is_missing_and_averages_what_is_common(fabricate, tables, script):
    report = script("report")
    skills = {"sve": 0.5, "deep": 0.2, "probe": 1.0}
    folder = fabricate(skills)
    for name in (
        "newsgroups/deep-n200-seed1",
        "credit/probe-n200-seed0",
        "credit/probe-n200-seed2",
    ):
        (folder / f"{name}.json").unlink()
    runs = tables.load_runs(folder)
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
        ["movie_reviews/probe-n200-seed0"],
        ["movie_reviews/sve-n200-seed0"],
        ["movie_reviews/sve-n200-seed0", "movie_reviews/deep-n200-seed1"],
        ["movie_reviews/sve-n200-seed0", "credit/probe-n200-seed0"],
        ["movie_reviews/sve-n200-seed0", "movie_reviews/deep-n200-seed0"],
    ],
    ids=["none", "no sve", "sve alone", "no seed in common", "nothing in common", "one pair"],
)
def test_page__and_picture_of_any_few_runs(fabricate, tables, script, tmp_path, left):
    report = script("report")
    skills = {"sve": 0.5, "deep": 0.2, "probe": 1.0}
    folder = fabricate(skills, datasets=("movie_reviews", "credit"), seeds=(0, 1), left=left)
    runs = tables.load_runs(folder)
    cells = grid_of(skills, ("movie_reviews", "credit"), (0, 1))
    text = report.page(runs, cells, "made")
    assert f"**{len(left)} of the 12 runs of the grid are done.**" in text
    assert "nan" not in text
    if runs:
        report.draw(runs, 200, tmp_path / "made.png")
        assert (tmp_path / "made.png").read_bytes()[:4] == b"\x89PNG"


def test_load__seconds_are_relative_to_the_deep_ensemble_of_the_same_cell(fabricate, tables):
    folder = fabricate({"sve": 0.5, "deep": 0.2}, datasets=("credit",), seeds=(0, 1))
    path = folder / "credit" / "deep-n200-seed1.json"
    slow = json.loads(path.read_text())
    slow["cost"]["fit"]["cpu_seconds"] *= 2  # a busy hour
    path.write_text(json.dumps(slow))
    runs = tables.load_runs(folder)
    found = {seed: runs["credit", "sve", 200, seed]["relative"] for seed in (0, 1)}
    assert found == {0: {"fit": 0.25, "predict_test": 1.0}, 1: {"fit": 0.125, "predict_test": 1.0}}


def test_load__a_run_with_settings_no_longer_chosen_is_left_out(fabricate, tables):
    folder = fabricate({"sve": 0.5, "deep": 0.2}, datasets=("credit",), seeds=(0, 1))
    (folder / "credit" / "tuning-sve-n200.json").write_text(json.dumps({"chosen": {"lr": 0.1}}))
    for seed, lr in ((0, 0.1), (1, 0.2)):
        path = folder / "credit" / f"sve-n200-seed{seed}.json"
        more = {"chosen": {"lr": lr}, "tuning": "credit/tuning-sve-n200.json"}
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    found = {(method, seed) for _, method, _, seed in tables.load_runs(folder)}
    assert found == {("sve", 0), ("deep", 0), ("deep", 1)}


def test_counted__shares_of_the_deep_ensemble(script):
    one = {"members": 1, "epochs": 10, "fit": 2e12, "predict_a_row": 4e9}
    five = {"members": 5, "epochs": 4, "fit": 8e12, "predict_a_row": 1e10}
    found = {"dataset": "movie_reviews", "rows": 200, "methods": {"probe": one, "deep": five}}
    lines = script("_evidence_page").counted(found)
    assert "| deep ensemble | 5 | 4 | 8.00 | 1.00 | 10.00 | 1.00 |" in lines
    assert "| linear probe | 1 | 10 | 2.00 | 0.25 | 4.00 | 0.40 |" in lines
    assert script("_evidence_page").counted(None) == []


def test_page__in_the_repository_is_what_the_files_say(script):
    """Stale otherwise: run benchmarks/report.py."""
    report = script("report")
    runs = script("_evidence_table").load_runs(BENCHMARKS / "results" / "evidence")
    assert runs
    config = tomllib.loads((BENCHMARKS / "evidence.toml").read_text())
    made = report.page(runs, report.cells_planned(config), "evidence", BENCHMARKS / "results")
    kept = BENCHMARKS.parent / "docs" / "evidence.md"
    found = kept.read_text(encoding="utf-8") if kept.exists() else ""
    assert found == made, "stale: run benchmarks/report.py"


def test_readme__table_is_what_the_files_say(script, tables):
    """Stale otherwise: run benchmarks/report.py."""
    report = script("report")
    runs = tables.load_runs(BENCHMARKS / "results" / "evidence")
    readme = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
    lines = report.readme_table(runs)
    assert len(lines) > 5
    assert report.with_table(readme, lines) == readme, "stale: run benchmarks/report.py"


def test_readme__says_which_promises_are_missed(script, tables):
    """Its sentences before the tables, against the tables' own files."""
    report, results = script("report"), BENCHMARKS / "results"
    readme = " ".join((BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").split())

    def missed(runs, rows, method, times):
        found = tables.bars(runs, rows, method, times=times)
        assert len(found) == 9
        return [bar.name for bar in found if not bar.kept]

    runs = tables.load_runs(results / "evidence")
    times = report.times_of(results, "evidence", report.IN_README_ROWS)
    few = {m: missed(runs, report.IN_README_ROWS, m, times) for m in report.LEADS}
    method = "sve_subspaces"
    assert few[method] == []
    assert all(len(few[m]) > 2 for m in report.LEADS if m != method)
    kept = "With 200 rows (second table) random subspaces keep every promise"
    assert kept in readme
    shares = {
        cpu: np.mean(list(by[method].values())).round(2)
        for cpu, by in times.items()
        if method in by
    }
    assert set(shares) == {"AMD EPYC"}  # of fits with these settings
    assert len(times["AMD EPYC"][method]) == 6
    hundredths = f"{100 * shares['AMD EPYC']:.0f}"
    assert f"take .{hundredths} of the deep ensemble's time on an AMD EPYC" in readme
    new = tables.load_runs(results / "evidence_new_data")
    of_new = report.times_of(results, "evidence_new_data", report.IN_README_ROWS)
    assert missed(new, report.IN_README_ROWS, method, of_new) == ["ECE, temperature-scaled"]
    assert "On new data (third table) one is missed" in readme
    more = missed(runs, 1000, method, report.times_of(results, "evidence", 1000))
    assert len(more) == 5
    assert "with 1,000 rows (fourth table) five" in readme


def test_readme__says_what_the_clean_check_says(script, tables):
    report, results = script("report"), BENCHMARKS / "results"
    readme = " ".join((BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").split())
    runs, times = report.unseen_runs(results), report.unseen_times(results)
    assert set(report.unseen_cells()) <= set(runs)
    both, method = (200, 1000), "sve_subspaces"
    mean = script("_fit_times").mean_times([times[rows] for rows in both])

    def found(rows, by_cpu):
        bars = tables.bars(runs, rows, method, times=by_cpu)
        assert len(bars) == 9
        return {bar.name for bar in bars if not bar.kept}

    def gap(metric, rows=both):
        return tables.compare(runs, method, "deep", rows, metric)

    time, scaled = "time of fit, in turns", "{}, temperature-scaled"
    assert found(both, mean) == set()
    assert "**Random subspaces keep every promise there.**" in readme
    whole = report.unseen_times(results, whole=True)
    whole = script("_fit_times").mean_times([whole[rows] for rows in both])
    share, of_whole = (np.mean(list(times["AMD EPYC"][method].values())) for times in (mean, whole))
    assert len(whole["AMD EPYC"][method]) == 6
    assert max(share, of_whole) < 1 / 3
    ratios = tables.cells_of(runs, method, both, "fit_ratio")
    of_runs = tables.mean_over_datasets(ratios)
    for words in (
        f"Fits take {share:.3f} of the deep ensemble's time in turns of a few steps",
        f"and {of_whole:.3f} as whole fits",
        f"the runs themselves, of slower code, took {of_runs:.3f}.",
    ):
        assert words.replace("0.", ".") in readme
    counts = {gap(m).at_or_better for m in ("nll", "nll_scaled", "ece", "ece_scaled")}
    assert counts == {4, 5}
    verdicts = {m: gap(m).verdict for m in ("nll", "nll_scaled", "ece", "ece_scaled")}
    assert [m for m, verdict in verdicts.items() if verdict != "win"] == ["nll_scaled"]
    entropy = gap("auroc_entropy").difference
    assert f"{-entropy:.3f} less in the clean check".replace("0.", ".") in readme
    assert found(200, times[200]) == {scaled.format("ECE")}
    assert found(1000, times[1000]) == {scaled.format("NLL"), time}
    more = np.mean(list(times[1000]["AMD EPYC"][method].values()))
    assert f"and time ({more:.2f})".replace("0.", ".") in readme
    assert gap("ece_scaled", 200).at_or_better == gap("nll_scaled", 1000).at_or_better == 2
    before, after = (gap(m).datasets for m in ("nll", "nll_scaled"))
    assert all(
        gaps[d][0] < -0.01 for gaps in (before, after) for d in ("fine_foods", "fashion_mnist")
    )
    lost = f"(by {before['newsgroups'][0]:.3f} nats, after scaling by {after['newsgroups'][0]:.3f})"
    assert lost.replace("0.", ".") in readme
    even = ("movie_reviews", "reuters_r8", "credit")
    most = [max(abs(gaps[d][0]) for d in even) for gaps in (before, after)]
    words = f"(within {most[0]:.3f} nats, after scaling {most[1]:.3f})"
    assert words.replace("0.", ".") in readme


@pytest.mark.parametrize(
    ("metric", "rows", "sentence"),
    [
        ("auroc_mi", 200, "better than the deep ensemble's (AUROC {} for {}, credit aside)"),
        ("auroc_entropy", 200, "there they are behind: {} for {} with 200 rows"),
        ("auroc_entropy", 1000, "with 200 rows, {} for {} with 1,000"),
    ],
)
def test_readme__says_who_tells_foreign_rows_better(tables, metric, rows, sentence):
    """Its own words, which no script writes: random subspaces first, then the deep ensemble."""
    readme = " ".join((BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").split())
    runs = tables.load_runs(BENCHMARKS / "results" / "evidence")
    means = []
    for method in ("sve_subspaces", "deep"):
        by_dataset = {}
        for (dataset, *_), value in tables.cells_of(runs, method, rows, metric).items():
            by_dataset.setdefault(dataset, []).append(value)
        means.append(sum(sum(v) / len(v) for v in by_dataset.values()) / len(by_dataset))
    assert sentence.format(*(f"{mean:.3f}".lstrip("0") for mean in means)) in readme


def test_fit_times__means_over_the_data_sets_measured_on_a_cpu(script):
    one = {"sve": {"credit": 0.2, "newsgroups": 0.4}, "lora": {"credit": 0.5}}
    lines = script("_evidence_page").fit_times({"One": one, "Other": {"sve": {"credit": 0.3}}})
    assert "| SVE | 0.40 | 0.20 | 0.30 |" in lines
    assert "| LoRA-ensemble | - | 0.50 | 0.50 |" in lines
    assert lines.index("| SVE | 0.30 | 0.30 |") > lines.index("| SVE | 0.40 | 0.20 | 0.30 |")
    assert any(
        line.startswith("| Other: time of fit, deep ensemble = 1 | credit") for line in lines
    )
    assert script("_evidence_page").fit_times({}) == []


def test_with_table__replaces_what_stood_between_the_marks(script):
    report = script("report")
    first, last = report.README_MARKS
    readme = f"above\n\n{first}\n\nold\n\n{last}\n\nbelow\n"
    made = report.with_table(readme, ["| a |", "| --- |", ""])
    assert made == f"above\n\n{first}\n\n| a |\n| --- |\n\n{last}\n\nbelow\n"
    assert report.with_table(made, ["| a |", "| --- |", ""]) == made


def test_readme__quotes_the_ablations():
    readme = " ".join((BENCHMARKS.parent / "README.md").read_text(encoding="utf-8").split())
    cells = {
        (dataset, variant): json.loads(
            (BENCHMARKS / f"results/ablations/{dataset}/{variant}-n200-seed0.json").read_text()
        )
        for dataset in ("movie_reviews", "newsgroups")
        for variant in ("base", "one_head", "random_subspaces", "random_subspaces_one_head")
    }

    def shares(one_head, own_heads):
        return [
            round(100 * cells[dataset, variant]["diversity"]["disagreement"])
            for variant in (one_head, own_heads)
            for dataset in ("movie_reviews", "newsgroups")
        ]

    told = "disagree on {} % of the reviews and {} % of the newsgroup posts ({} and {} % with heads"
    assert told.format(*shares("one_head", "base")) in readme
    told = "those of random subspaces on {} and {} % ({} and {} %)"
    assert told.format(*shares("random_subspaces_one_head", "random_subspaces")) in readme

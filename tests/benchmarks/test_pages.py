"""The pages in the repository are what the results say, and so are the evidence's own sentences."""

import re
import tomllib

import numpy as np
import pytest

from benchmarks.common.results import RESULTS, ROOT, Table
from benchmarks.evidence import report
from benchmarks.evidence.fit_times import load_times, mean_times
from benchmarks.evidence.run import table_of
from benchmarks.evidence.tables import bars, cells_of, compare, load_runs, mean_over_datasets
from benchmarks.studies import interval_coverage

METHOD, CPU = "sve_subspaces", "AMD EPYC"


@pytest.fixture(scope="module")
def page():
    """The first page of the evidence on one line."""
    return " ".join((ROOT / "docs" / "evidence.md").read_text("utf-8").split())


@pytest.fixture(scope="module")
def runs():
    return load_runs(table_of(RESULTS, "evidence"))


def missed(runs, rows, method, times):
    found = bars(runs, rows, method, times=times)
    assert len(found) == 9
    return [bar.name for bar in found if not bar.met]


def test_pages__are_what_the_results_say(monkeypatch):
    """Stale otherwise: run ``python -m benchmarks.evidence.report``."""
    monkeypatch.setattr("sys.argv", ["report", "--check"])
    report.main()


def test_evidence__says_which_targets_are_missed(runs, page):
    """Its sentences before the tables, against the tables' own results."""
    times = report.times_of("evidence", 200)
    few = {m: missed(runs, 200, m, times) for m in report.LEADS}
    assert few[METHOD] == []
    assert all(len(few[m]) > 2 for m in report.LEADS if m != METHOD)
    assert "With 200 rows random subspaces [meet every target](evidence/tables.md)" in page
    shares = {cpu: list(by[METHOD].values()) for cpu, by in times.items() if METHOD in by}
    assert set(shares) == {CPU}  # of fits with these settings
    assert len(shares[CPU]) == 6
    share = np.mean(shares[CPU])
    assert f"their fits take {share:.2f} of the deep ensemble's time on an {CPU}" in page
    new = load_runs(table_of(RESULTS, "evidence_new_data"))
    of_new = report.times_of("evidence_new_data", 200)
    assert missed(new, 200, METHOD, of_new) == ["ECE, temperature-scaled"]
    assert "One target is missed, ECE after scaling." in page
    assert len(missed(runs, 1000, METHOD, report.times_of("evidence", 1000))) == 5
    assert "With 1,000 rows random subspaces miss five targets" in page


def test_evidence__says_what_the_clean_check_says(page):
    runs, times = report.unseen_runs(), report.unseen_times()
    assert set(report.unseen_cells()) <= set(runs)
    both = (200, 1000)
    mean = mean_times([times[rows] for rows in both])

    def gap(metric, rows=both):
        return compare(runs, METHOD, "deep", rows, metric)

    assert missed(runs, both, METHOD, mean) == []
    assert "random subspaces, meets all nine targets in the clean check" in page
    whole = report.unseen_times(whole=True)
    whole = mean_times([whole[rows] for rows in both])
    share, of_whole = (np.mean(list(times[CPU][METHOD].values())) for times in (mean, whole))
    assert len(whole[CPU][METHOD]) == 6
    assert max(share, of_whole) < 1 / 3
    of_runs = mean_over_datasets(cells_of(runs, METHOD, both, "fit_ratio"))
    assert f"Fits take {share:.3f} of the deep ensemble's time in turns of a few steps" in page
    assert f"and {of_whole:.3f} as whole fits" in page
    assert f"the runs themselves, of slower code, took {of_runs:.3f}." in page
    metrics = ("nll", "nll_scaled", "ece", "ece_scaled")
    assert {gap(m).at_or_better for m in metrics} == {4, 5}
    assert [m for m in metrics if gap(m).verdict != "win"] == ["nll_scaled"]
    assert f"{-gap('auroc_entropy').difference:.3f} less in the clean check" in page
    scaled = "{}, temperature-scaled"
    assert missed(runs, 200, METHOD, times[200]) == [scaled.format("ECE")]
    with_more = missed(runs, 1000, METHOD, times[1000])
    assert with_more == [scaled.format("NLL"), "time of fit, in turns"]
    assert f"and time ({np.mean(list(times[1000][CPU][METHOD].values())):.2f})" in page
    assert gap("ece_scaled", 200).at_or_better == gap("nll_scaled", 1000).at_or_better == 2
    before, after = (gap(m).datasets for m in ("nll", "nll_scaled"))
    for gaps in (before, after):
        assert all(gaps[d][0] < -0.01 for d in ("fine_foods", "fashion_mnist"))
    lost = [gaps["newsgroups"][0] for gaps in (before, after)]
    assert "(by {:.3f} nats, after scaling by {:.3f})".format(*lost) in page
    even = ("movie_reviews", "reuters_r8", "credit")
    most = [max(abs(gaps[d][0]) for d in even) for gaps in (before, after)]
    assert "(within {:.3f} nats, after scaling {:.3f})".format(*most) in page


@pytest.mark.parametrize(
    ("metric", "rows", "sentence"),
    [
        (
            "auroc_mi",
            200,
            "better than the deep ensemble's (AUROC {:.3f} for {:.3f}, credit aside)",
        ),
        ("auroc_entropy", 200, "there they are behind: {:.3f} for {:.3f} with 200 rows"),
        ("auroc_entropy", 1000, "with 200 rows, {:.3f} for {:.3f} with 1,000"),
    ],
)
def test_evidence__says_who_tells_foreign_rows_better(metric, rows, sentence, runs, page):
    """Its own words, which no script writes: random subspaces first, then the deep ensemble."""
    means = []
    for method in (METHOD, "deep"):
        by_dataset = {}
        for (dataset, *_), value in cells_of(runs, method, rows, metric).items():
            by_dataset.setdefault(dataset, []).append(value)
        means.append(sum(sum(v) / len(v) for v in by_dataset.values()) / len(by_dataset))
    assert sentence.format(*means) in page


def test_evidence__quotes_the_ablations(page):
    cells = Table(RESULTS / "ablations.jsonl").rows()

    def shares(one_head, own_heads):
        return [
            round(100 * cells[f"{dataset}/{variant}-n200-seed0"]["diversity"]["disagreement"])
            for variant in (one_head, own_heads)
            for dataset in ("movie_reviews", "newsgroups")
        ]

    said = "disagree on {} % of the reviews and {} % of the newsgroup posts ({} and {} % with heads"
    assert said.format(*shares("one_head", "base")) in page
    said = "those of random subspaces on {} and {} % ({} and {} %)"
    assert said.format(*shares("random_subspaces_one_head", "random_subspaces")) in page


@pytest.mark.parametrize(("rows", "n_datasets"), [(1000, 6), (3000, 2)])
def test_times__have_the_settings_that_the_trials_choose_now(rows, n_datasets):
    """With more rows: measured anew when a choice changes."""
    trials = table_of(RESULTS, "evidence").rows()
    table = Table(RESULTS / "fit_time.jsonl")
    assert set(load_times(table, "evidence", rows)) == {CPU}
    kept = [
        run
        for run in table.rows().values()
        if (run["grid"], run["tuned_with"], run["whole"]) == ("evidence", rows, False)
    ]
    assert len(kept) == n_datasets
    for run in kept:
        own, deep = (trials[f"{run['dataset']}/tuning-{m}-n{rows}"] for m in (METHOD, "deep"))
        assert run["methods"][METHOD]["chosen"] == own["chosen"]
        # The share is of five such fine-tunes: the deep ensemble may choose other rates, not epochs.
        assert run["methods"]["fine_tuned"]["chosen"]["max_epochs"] == deep["chosen"]["max_epochs"]


def test_overview__commands_and_results_exist_and_the_pages_are_among_them(page):
    claims = tomllib.loads((ROOT / "benchmarks" / "claims.toml").read_text("utf-8"))["claim"]
    tables = set()
    for claim in claims:
        for command in claim["command"]:
            module = command.split()[0].replace(".", "/")
            assert command.startswith("both ") or (ROOT / "benchmarks" / f"{module}.py").exists()
        for where in claim["result"]:
            table, _, row = where.partition(":")
            rows = Table(RESULTS / f"{table}.jsonl").rows()
            assert (row or table) in rows or (not row and len(rows) > 1)
            tables.add(table)
    assert {path.stem for path in RESULTS.glob("*.jsonl")} == tables
    assert set(re.findall(r"benchmarks/results/(\w+)\.jsonl", page)) <= tables


def test_intervals__the_guides_table_is_that_of_the_results():
    assert interval_coverage.table() in (ROOT / "docs" / "guide" / "intervals.md").read_text(
        "utf-8"
    )

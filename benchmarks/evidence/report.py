"""Tables and pictures of the evidence: docs/evidence.md, docs/audit.md, benchmarks/README.md.

    python -m benchmarks.evidence.report            # after benchmarks.evidence.run, however far that has come
    python -m benchmarks.evidence.report --check    # fails if a page is not what the results say

Nothing is trained or judged here, and no number is written by hand. The page says which runs of the grid are
missing, and compares methods on those runs only that they have in common. Wins, ties and losses of SVE are
counted alike: a win or a loss where the 95 % interval of the paired difference leaves zero out, else a tie.
"""

import argparse
import sys
import tomllib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.common.results import RESULTS, ROOT, Row, Table
from benchmarks.evidence.ablations import ablation_section, load_ablations
from benchmarks.evidence.fit_times import Times, load_times, mean_times
from benchmarks.evidence.grid import Cell, planned, read_config
from benchmarks.evidence.page import (
    LEADS,
    NAMES,
    WORDS,
    common_cells,
    counted,
    differences,
    fit_times,
    groups_of,
    human,
    means,
    new_data_section,
    new_data_summary,
    per_dataset,
    progress,
    promises,
    prose,
    shifted,
    sizes_section,
    sizes_with,
    summary,
    table,
    trials_table,
    unseen_section,
    unseen_summary,
)
from benchmarks.evidence.run import table_of
from benchmarks.evidence.tables import Runs, cells_of, compare, load_runs, mean_over_datasets

DOCS = ROOT / "docs"


def size_section(
    runs: Runs, rows: int | None, times: Times, trials: Mapping[str, Row]
) -> list[str]:
    """Everything about one number of training rows."""
    lines = [f"## {rows or 'All'} training rows", ""]
    if rows in (1000, 3000):
        lines += [prose(f"{rows}_rows"), ""]
    lines += trials_table(runs, rows, trials)
    kept = promises(runs, rows, times)
    if kept:
        lines += ["### Promises and measurements", "", *kept]
    lines += fit_times(times)
    lines += [
        "### Means",
        "",
        "Means over data sets of their means over seeds, over the runs that all methods of a table have. "
        "Scaled: after temperature scaling on validation rows. NLL in nats, ECE in 15 bins, Brier from 0 "
        "to 2. CPU time is compared within runs of the same data set and seed.",
        "",
    ]
    for methods in groups_of(runs, rows):
        lines += means(runs, methods, rows)
    lines += [
        "### Paired differences",
        "",
        "The first named minus the other, over the pairs of runs (data set, seed) that both have. "
        "Intervals draw the seeds within each data set; where one has a single seed there is none, and no "
        "result; p is Wilcoxon's signed-rank test over the pairs. The last column counts data sets by the "
        "interval of their test rows.",
        "",
    ]
    for method in LEADS:
        lines += differences(runs, rows, method)
    lines += [
        "### By data set",
        "",
        "Means over seeds; in brackets the number of seeds where another method has more of that data set.",
        "",
    ]
    for metric in (
        "accuracy",
        "nll",
        "nll_scaled",
        "ece",
        "ece_scaled",
        "auroc_mi",
        "auroc_entropy",
    ):
        lines += per_dataset(runs, rows, metric)
    raters, abroad = human(runs, rows), shifted(runs, rows)
    if raters:
        lines += [
            "### Movie reviews: what people think",
            "",
            "Each text has 15 to 29 ratings. Cross-entropy (nats) and total variation of the predictions to "
            "the raters' shares, and the rank correlation of aleatoric uncertainty with the entropy of the "
            "raters' shares. Models were trained on one label a text.",
            "",
            *raters,
        ]
    if abroad:
        lines += ["### Movie reviews: shifted texts", "", *abroad]
    return lines


MARKERS = ("o", "s", "^", "D")
#: Between these lines of docs/audit.md stands the table of what is promised and what was measured.
AUDIT_MARKS = ("<!-- made by benchmarks/evidence/report.py -->", "<!-- up to here -->")
IN_AUDIT = (*LEADS, "lora")
IN_AUDIT_ROWS = 200
MORE_ROWS = 1000
MORE = ("more_rows", "3000_rows")
UNSEEN = ("unseen", "unseen_more_rows")

UNSEEN_IN_AUDIT = """\
The clean check, 200 and 1,000 training rows together, each data set with the mean of both (`python -m
benchmarks.evidence.run --config unseen`, and the same with `unseen_more_rows`):"""
FEW_IN_AUDIT = f"""\
{IN_AUDIT_ROWS} training rows of the grid, where settings were looked for (`python -m
benchmarks.evidence.run`):"""
NEW_IN_AUDIT = """\
The same on rows that no search for a kind of SVE had looked at (`python -m benchmarks.evidence.run --config
new_data`):"""
MORE_IN_AUDIT = f"""\
The same with {MORE_ROWS:,} training rows and trials of their own there (`python -m benchmarks.evidence.run
--config more_rows`):"""


def page(runs: Runs, cells: list[Cell], grid: str, results: Path | None = None) -> str:
    """Write the whole page; `cells` are those of the grid, `results` holds what else is shown."""
    lines = [
        prose("introduction", grid=grid),
        "",
        "## How far the grid is",
        "",
        *progress(runs, cells),
    ]
    trials = table_of(results, grid).rows() if results else {}
    for rows in sizes_of(runs):
        times = times_of(results, grid, rows) if results else {}
        lines += size_section(runs, rows, times, trials)
    of_sizes = [times_of(results, grid, rows) for rows in sizes_with(runs)] if results else []
    lines += sizes_section(runs, mean_times(of_sizes))
    if results is not None and grid == "evidence":
        config = read_config("new_data")
        new = load_runs(table_of(results, config["results"]))
        times = times_of(results, config["results"], IN_AUDIT_ROWS)
        lines += new_data_section(new, IN_AUDIT_ROWS, planned(config), times)
        whole = unseen_times(results, whole=True)
        times_by_size = unseen_times(results)
        lines += unseen_section(unseen_runs(results), unseen_cells(), times_by_size, whole)
    if runs:
        lines += ["![NLL, ECE and cost of every method](pictures/evidence.png)", ""]
    if results is not None and grid == "evidence":  # on whose trials the rest stands
        lines += counted(Table(results / "multiply_adds.jsonl").get("multiply_adds"))
        lines += ablation_section(load_ablations(Table(results / "ablations.jsonl")))
        lines += [prose("history")]
    return "\n".join(lines).rstrip() + "\n"


def times_of(results: Path, grid: str, rows: int | None, *, whole: bool = False) -> Times:
    """Times of fits, in turns or whole, with what so many rows chose, where they were measured."""
    return load_times(Table(results / "fit_time.jsonl"), grid, rows, whole=whole)


def unseen_runs(results: Path) -> Runs:
    """Runs of the clean check."""
    config = read_config(UNSEEN[0])
    tuned = table_of(results, config["tuned_in"])
    return load_runs(table_of(results, config["results"]), tuned=tuned)


def unseen_cells() -> list[Cell]:
    """Cells of both sizes of the clean check."""
    return [cell for name in UNSEEN for cell in planned(read_config(name))]


def unseen_times(results: Path, *, whole: bool = False) -> dict[int | None, Times]:
    """Times of fits with the clean check's settings, by number of training rows."""
    sizes = {c["tuning"]["rows"]: c["tuned_in"] for c in map(read_config, UNSEEN)}
    return {rows: times_of(results, grid, rows, whole=whole) for rows, grid in sizes.items()}


def cells_planned(config: dict[str, Any]) -> list[Cell]:
    """Return the cells of a grid; of the default one those with more rows too."""
    more = MORE if config["results"] == "evidence" else ()
    return [cell for c in (config, *map(read_config, more)) for cell in planned(c)]


def sizes_of(runs: Runs) -> list[int | None]:
    """Numbers of training rows, smallest first."""
    return sorted({key[2] for key in runs}, key=lambda n: (n is None, n))


def audit_tables(runs: Runs) -> list[str]:
    """Lines of the audit's tables: the clean check, the grid, new data, more rows."""
    unseen = unseen_runs(RESULTS)
    complete = set(unseen_cells()) <= set(unseen)  # its verdict is over all of them
    new = load_runs(table_of(RESULTS, read_config("new_data")["results"]))
    times = {rows: times_of(RESULTS, "evidence", rows) for rows in (IN_AUDIT_ROWS, MORE_ROWS)}
    of_new = times_of(RESULTS, read_config("new_data")["results"], IN_AUDIT_ROWS)
    tables = {
        UNSEEN_IN_AUDIT: unseen_summary(unseen, unseen_times(RESULTS)) if complete else [],
        FEW_IN_AUDIT: summary(runs, IN_AUDIT_ROWS, IN_AUDIT, times[IN_AUDIT_ROWS]),
        NEW_IN_AUDIT: new_data_summary(new, IN_AUDIT_ROWS, of_new),
        MORE_IN_AUDIT: summary(runs, MORE_ROWS, ["sve_subspaces"], times[MORE_ROWS]),
    }
    return [line for title, lines in tables.items() if lines for line in (title, "", *lines)]


def with_table(audit: str, lines: list[str]) -> str:
    """Put the table between the audit's marks."""
    before, rest = audit.split(AUDIT_MARKS[0])
    after = rest.split(AUDIT_MARKS[1])[1]
    return "\n".join([before + AUDIT_MARKS[0], "", *lines, AUDIT_MARKS[1] + after])


def overview() -> str:
    """benchmarks/README.md: which command makes which number, out of claims.toml."""
    claims = tomllib.loads((ROOT / "benchmarks" / "claims.toml").read_text("utf-8"))["claim"]
    body = []
    for claim in claims:
        commands = [c if c.startswith("both ") else f"`{c}`" for c in claim["command"]]
        results = []
        for where in claim["result"]:
            table_name, _, row = where.partition(":")
            results.append(f"[{row or table_name}](results/{table_name}.jsonl)")
        body.append([claim["says"], "; ".join(commands), ", ".join(results), str(claim["minutes"])])
    head = ["claim", "`python -m benchmarks.` ...", "result", "minutes"]
    return "\n".join([prose("overview"), "", *table(head, body)])


def draw(runs: Runs, rows: int | None, path: Path) -> None:
    """Draw SVE against each rival: paired differences with intervals, and cost beside quality."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    methods = groups_of(runs, rows)[0]
    leads = [m for m in LEADS if m in methods]
    rivals = [m for m in methods if m not in LEADS]
    fig, axes = plt.subplots(1, 3, figsize=(13, 0.4 * len(rivals) + 2.2), layout="constrained")
    for ax, metric in zip(axes, ("nll", "ece")):
        for (row, rival), (k, lead) in product(enumerate(reversed(rivals)), enumerate(leads)):
            c = compare(runs, lead, rival, rows, metric)
            if c is not None:
                colour = {"win": "tab:green", "loss": "tab:red", "tie": "0.45", "-": "0.45"}[
                    c.verdict
                ]
                place = row + 0.3 - 0.2 * k
                ax.plot([c.low, c.high], [place, place], color=colour)
                ax.plot(c.difference, place, MARKERS[k], color=colour)
        ax.axvline(0, color="0.8", zorder=0)
        ax.set_yticks(range(len(rivals)), [NAMES.get(r, r) for r in reversed(rivals)])
        ax.set_xlabel(
            f"{WORDS[metric]}: SVE minus the other (left of 0: SVE is better)\n"
            "circles: SVE; squares: dense, triangles: core of all blocks, diamonds: random subspaces"
        )
    cells = common_cells(runs, methods, rows)
    for method in methods:
        x, y = (
            mean_over_datasets(
                {k: v for k, v in cells_of(runs, method, rows, name).items() if k in cells}
            )
            for name in ("fit_ratio", "nll")
        )
        if x is not None and y is not None:
            axes[2].plot(x, y, "o", color="tab:blue" if method in LEADS else "0.5")
            axes[2].annotate(NAMES.get(method, method), (x, y), xytext=(4, 4),
                             textcoords="offset points", fontsize=8)  # fmt: skip
    axes[2].set_xscale("log")
    axes[2].set_xlabel("CPU time of a fit (deep ensemble: 1), runs of different hours")
    axes[2].set_ylabel("NLL (nats), mean over data sets")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="grid", help="name of a file in evidence/configs")
    parser.add_argument("--page", type=Path, default=DOCS / "evidence.md")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    config = read_config(args.config)
    runs = load_runs(table_of(RESULTS, config["results"]))
    made = {args.page: page(runs, cells_planned(config), config["results"], RESULTS)}
    if config["results"] == "evidence":
        audit = DOCS / "audit.md"
        made[ROOT / "benchmarks" / "README.md"] = overview()
        made[audit] = with_table(audit.read_text("utf-8"), audit_tables(runs))
    if args.check:
        stale = [f.name for f, t in made.items() if not f.exists() or f.read_text("utf-8") != t]
        if stale:
            again = "Run python -m benchmarks.evidence.report"
            sys.exit(f"not what the results say: {', '.join(stale)}. {again}")
        return
    for path, content in made.items():
        path.write_text(content, "utf-8")
    if runs:
        most = max(sizes_of(runs), key=lambda rows: sum(key[2] == rows for key in runs))
        draw(runs, most, args.page.parent / "pictures" / "evidence.png")


if __name__ == "__main__":
    main()

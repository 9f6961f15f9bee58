"""Tables and picture of the evidence: docs/evidence.md, the pages behind it, benchmarks/README.md.

    python -m benchmarks.evidence.report            # after benchmarks.evidence.run, however far that has come
    python -m benchmarks.evidence.report --check    # fails if a page is not what the results say

Nothing is trained or judged here, and no number of a table is written by hand. The tables say which runs of
the grid are missing, and compare methods on those runs only that all have. Wins, ties and losses of SVE are
counted alike: a win or a loss where the 95 % interval of the paired difference leaves zero out.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.results import RESULTS, ROOT, Row, Table
from benchmarks.evidence.ablations import ablation_section, load_ablations
from benchmarks.evidence.fit_times import Times, load_times, mean_times
from benchmarks.evidence.grid import Cell, planned, read_config
from benchmarks.evidence.page import (
    LEADS,
    METHOD,
    NAMES,
    RIVAL,
    WORDS,
    common_cells,
    costs,
    counted,
    differences,
    fit_times,
    gaps_table,
    groups_of,
    human,
    means,
    new_data_section,
    per_dataset,
    progress,
    prose,
    shifted,
    sizes_section,
    sizes_with,
    summary,
    table,
    together,
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
    leads = summary(runs, rows, LEADS, times)
    if leads:
        lines += ["### Targets", "", *leads]
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
    lines += differences(runs, rows, METHOD)
    for method in LEADS:
        if method != METHOD:
            lines += differences(runs, rows, method, [RIVAL])
    lines += [
        "### By data set",
        "",
        "Means over seeds; NLL in nats, accuracy in percent. In brackets behind a cell the number of seeds "
        "where another method has more of that data set.",
        "",
        *together(runs, rows),
    ]
    for metric in ("nll_scaled", "ece_scaled", "auroc_mi", "auroc_entropy"):
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


#: Between these lines of docs/evidence.md stand the tables.
BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
FEW, MORE_ROWS, MOST_ROWS = 200, 1000, 3000
MORE = ("more_rows", "3000_rows")
UNSEEN = ("unseen", "unseen_more_rows")


def tables_page(runs: Runs, cells: list[Cell], grid: str) -> str:
    """Every table; `cells` are those of the grid."""
    lines = [prose("tables", grid=grid), "", "## How far the grid is", "", *progress(runs, cells)]
    trials = table_of(RESULTS, grid).rows()
    for rows in sizes_of(runs):
        lines += size_section(runs, rows, times_of(grid, rows), trials)
    lines += sizes_section(runs, mean_times([times_of(grid, rows) for rows in sizes_with(runs)]))
    if grid == "evidence":
        config = read_config("new_data")
        new = load_runs(table_of(RESULTS, config["results"]))
        times = times_of(config["results"], FEW)
        lines += new_data_section(new, FEW, planned(config), times)
        whole, in_turns = unseen_times(whole=True), unseen_times()
        lines += unseen_section(unseen_runs(), unseen_cells(), in_turns, whole)
        lines += counted(Table(RESULTS / "multiply_adds.jsonl").get("multiply_adds"))
    return "\n".join(lines).rstrip() + "\n"


def with_tables(page: str, runs: Runs) -> str:
    """docs/evidence.md with its tables made anew."""
    new = load_runs(table_of(RESULTS, read_config("new_data")["results"]))
    unseen, times = unseen_runs(), unseen_times()
    sizes = sizes_with(unseen)
    made = {
        "clean_check": unseen_summary(unseen, times),
        "clean_check_sets": gaps_table(unseen, sizes, mean_times([times[rows] for rows in sizes])),
        "clean_check_intervals": differences(unseen, sizes, METHOD),
        "rows_200": together(runs, FEW),
        "rows_1000": together(runs, MORE_ROWS),
        "rows_3000": together(runs, MOST_ROWS),
        "new_data": together(new, FEW),
        "costs": costs(runs, FEW),
    }
    return BLOCK.sub(lambda m: "\n".join([m[1], *made[m[2]], m[3]]), page)


def times_of(grid: str, rows: int | None, *, whole: bool = False) -> Times:
    """Times of fits, in turns or whole, with what so many rows chose, where they were measured."""
    return load_times(Table(RESULTS / "fit_time.jsonl"), grid, rows, whole=whole)


def unseen_runs() -> Runs:
    """Runs of the clean check."""
    config = read_config(UNSEEN[0])
    tuned = table_of(RESULTS, config["tuned_in"])
    return load_runs(table_of(RESULTS, config["results"]), tuned=tuned)


def unseen_cells() -> list[Cell]:
    """Cells of both sizes of the clean check."""
    return [cell for name in UNSEEN for cell in planned(read_config(name))]


def unseen_times(*, whole: bool = False) -> dict[int | None, Times]:
    """Times of fits with the clean check's settings, by number of training rows."""
    sizes = {c["tuning"]["rows"]: c["tuned_in"] for c in map(read_config, UNSEEN)}
    return {rows: times_of(grid, rows, whole=whole) for rows, grid in sizes.items()}


def cells_planned(config: dict[str, Any]) -> list[Cell]:
    """Return the cells of a grid; of the default one those with more rows too."""
    more = MORE if config["results"] == "evidence" else ()
    return [cell for c in (config, *map(read_config, more)) for cell in planned(c)]


def sizes_of(runs: Runs) -> list[int | None]:
    """Numbers of training rows, smallest first."""
    return sorted({key[2] for key in runs}, key=lambda n: (n is None, n))


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


def drawn(runs: Runs, rows: int | None) -> dict[str, Any]:
    """What the picture shows: differences with their intervals, and cost and quality of each method."""
    methods = groups_of(runs, rows)[0]
    rivals = [m for m in methods if m not in LEADS]
    cells = common_cells(runs, methods, rows)

    def mean(method: str, metric: str) -> float | None:
        found = cells_of(runs, method, rows, metric)
        return mean_over_datasets({k: v for k, v in found.items() if k in cells})

    return {
        "differences": {
            metric: {rival: compare(runs, METHOD, rival, rows, metric) for rival in rivals}
            for metric in ("nll", "ece")
        },
        "means": {m: (mean(m, "fit_ratio"), mean(m, "nll")) for m in methods},
    }


#: By the verdict: a filled marker is better, an empty one worse, a cross neither. Dark enough for grey.
LOOKS = {"win": ("o", "#0b5394", "#0b5394"), "loss": ("o", "#b45f06", "white"),
         "tie": ("x", "0.35", "0.35")}  # fmt: skip


def draw(shown: dict[str, Any], path: Path) -> None:
    """Draw random subspaces against each rival: paired differences with intervals, cost beside quality."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rivals = list(reversed(shown["differences"]["nll"]))
    fig, axes = plt.subplots(1, 3, figsize=(13, 0.4 * len(rivals) + 1.6), layout="constrained")
    for ax, metric in zip(axes, ("nll", "ece")):
        for row, rival in enumerate(rivals):
            c = shown["differences"][metric][rival]
            marker, colour, face = LOOKS[c.verdict]
            ax.plot([c.low, c.high], [row, row], color=colour, zorder=1)
            ax.plot(c.difference, row, marker, color=colour, markerfacecolor=face, markersize=8)
        ax.axvline(0, color="0.8", zorder=0)
        ax.set_yticks(range(len(rivals)), [NAMES.get(r, r) for r in rivals])
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlabel(f"{WORDS[metric]} of {NAMES[METHOD]}, minus the rival's")
    axes[0].set_title("filled: better; empty: worse; cross: neither (95 %)", fontsize=10)
    for method, (cost, nll) in shown["means"].items():
        ours = method in LEADS
        axes[2].plot(cost, nll, "D" if ours else "o", color="#0b5394" if ours else "0.5")
        left = cost > 0.3
        place = (
            -7 if left else 7,
            -14 if method == RIVAL else -3,
        )  # else it lies on the next one's
        axes[2].annotate(NAMES.get(method, method), (cost, nll), xytext=place,
                         textcoords="offset points", fontsize=8, ha="right" if left else "left")  # fmt: skip
    axes[2].set_title("diamonds: kinds of SVE", fontsize=10)
    axes[2].set_xscale("log")
    axes[2].set_xlabel("CPU time of a fit, deep ensemble = 1")
    axes[2].set_ylabel("NLL in nats, mean over data sets")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="grid", help="name of a file in evidence/configs")
    parser.add_argument("--page", type=Path, default=DOCS / "evidence" / "tables.md")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    config = read_config(args.config)
    runs = load_runs(table_of(RESULTS, config["results"]))
    made = {args.page: tables_page(runs, cells_planned(config), config["results"])}
    if config["results"] == "evidence":
        first = DOCS / "evidence.md"
        made[first] = with_tables(first.read_text("utf-8"), runs)
        ablations = ablation_section(load_ablations(Table(RESULTS / "ablations.jsonl")))
        made[DOCS / "evidence" / "ablations.md"] = "\n".join(ablations).rstrip() + "\n"
        made[ROOT / "benchmarks" / "README.md"] = overview()
    if args.check:
        stale = [f.name for f, t in made.items() if not f.exists() or f.read_text("utf-8") != t]
        if stale:
            again = "Run python -m benchmarks.evidence.report"
            sys.exit(f"not what the results say: {', '.join(stale)}. {again}")
        return
    for path, content in made.items():
        path.write_text(content, "utf-8")
    if config["results"] == "evidence":
        draw(drawn(runs, FEW), DOCS / "pictures" / "evidence.png")


if __name__ == "__main__":
    main()

"""Tables and pictures of the evidence out of JSON files: docs/evidence.md, docs/pictures, the README's table.

    python benchmarks/report.py            # after benchmarks/evidence.py, however far that has come
    python benchmarks/report.py --check    # fails if page or README is not what the files say

Nothing is trained or judged here, and no number is written by hand. The page says which runs of the grid are
missing, and compares methods on those runs only that they have in common. Wins, ties and losses of SVE are
counted alike: a win or a loss where the 95 % interval of the paired difference leaves zero out, else a tie.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

from _ablation_page import ablation_section, load_ablations
from _evidence_page import (
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
    per_dataset,
    progress,
    promises,
    shifted,
    summary,
)
from _evidence_prose import HISTORY, INTRODUCTION, OF_MORE_ROWS
from _evidence_table import Runs, cells_of, compare, load_runs, mean_over_datasets
from _evidence_trials import trials_table
from _fit_times import Times, fit_time_name, load_times, mean_times
from _grid import Cell, planned, read_config
from _new_data_page import new_data_section, new_data_summary
from _record import RESULTS
from _sizes_page import sizes_section, sizes_with
from _unseen_page import unseen_section, unseen_summary

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"


def size_section(
    runs: Runs, rows: int | None, times: Times, folder: Path | None = None
) -> list[str]:
    """Everything about one number of training rows; `folder` holds the trials."""
    lines = [f"## {rows or 'All'} training rows", ""]
    if rows in OF_MORE_ROWS:
        lines += [OF_MORE_ROWS[rows], ""]
    lines += trials_table(runs, rows, folder)
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
#: Between these lines of the README stands the table of what is promised and what was measured.
README_MARKS = ("<!-- made by benchmarks/report.py -->", "<!-- up to here -->")
IN_README = (*LEADS, "lora")
IN_README_ROWS = 200
MORE_ROWS = 1000
NEW_DATA = HERE / "evidence_new_data.toml"
MORE = (HERE / "evidence_more_rows.toml", HERE / "evidence_3000_rows.toml")
UNSEEN = (HERE / "evidence_unseen.toml", HERE / "evidence_unseen_more_rows.toml")

UNSEEN_IN_README = """\
The clean check, 200 and 1,000 training rows together, each data set with the mean of both (`python
benchmarks/evidence.py --config benchmarks/evidence_unseen.toml`, and the same with
`evidence_unseen_more_rows.toml`):"""
FEW_IN_README = f"""\
{IN_README_ROWS} training rows of the grid, where settings were looked for (`benchmarks/evidence.py`):"""
NEW_IN_README = """\
The same on rows that no search for a kind of SVE had looked at (`python benchmarks/evidence.py --config
benchmarks/evidence_new_data.toml`):"""
MORE_IN_README = f"""\
The same with {MORE_ROWS:,} training rows and trials of their own there (`python
benchmarks/evidence.py --config benchmarks/evidence_more_rows.toml`):"""


def page(runs: Runs, cells: list[Cell], folder: str, results: Path | None = None) -> str:
    """Write the whole page; `cells` are those of the grid, `results` holds what else is shown."""
    lines = [
        INTRODUCTION.format(folder=folder),
        "## How far the grid is",
        "",
        *progress(runs, cells),
    ]
    for rows in sizes_of(runs):
        times = times_of(results, folder, rows) if results else {}
        lines += size_section(runs, rows, times, results / folder if results else None)
    lines += sizes_section(runs, all_times(results, folder, runs) if results else {})
    if results is not None and folder == "evidence":
        config = read_config(NEW_DATA)
        new = load_runs(results / config["results"])
        times = times_of(results, config["results"], IN_README_ROWS)
        lines += new_data_section(new, IN_README_ROWS, planned(config), times)
        unseen = unseen_runs(results)
        whole = unseen_times(results, whole=True)
        lines += unseen_section(unseen, unseen_cells(), unseen_times(results), whole)
    if runs:
        lines += ["![NLL, ECE and cost of every method](pictures/evidence.png)", ""]
    if results is not None:
        path = results / f"{folder}_multiply_adds.json"
        lines += counted(json.loads(path.read_text()) if path.exists() else None)
        if folder == "evidence":  # on whose trials they rest
            lines += ablation_section(load_ablations(results / "ablations"))
            lines += [HISTORY]
    return "\n".join(lines).rstrip() + "\n"


def times_of(results: Path, folder: str, rows: int | None, *, whole: bool = False) -> Times:
    """Times of fits, in turns or whole, with what so many rows chose, where they were measured."""
    return load_times(results / f"{fit_time_name(folder, rows, whole=whole)}.json")


def all_times(results: Path, folder: str, runs: Runs) -> Times:
    """Means of those times over the sizes that both methods have."""
    return mean_times([times_of(results, folder, rows) for rows in sizes_with(runs)])


def unseen_runs(results: Path) -> Runs:
    """Runs of the clean check."""
    config = read_config(UNSEEN[0])
    return load_runs(results / config["results"], tuned=results / config["tuned_in"])


def unseen_cells() -> list[Cell]:
    """Cells of both sizes of the clean check."""
    return [cell for path in UNSEEN for cell in planned(read_config(path))]


def unseen_times(results: Path, *, whole: bool = False) -> dict[int | None, Times]:
    """Times of fits with the clean check's settings, by number of training rows."""
    configs = [read_config(path) for path in UNSEEN]
    sizes = {config["tuning"]["rows"]: config["tuned_in"] for config in configs}
    return {rows: times_of(results, folder, rows, whole=whole) for rows, folder in sizes.items()}


def cells_planned(config: dict[str, Any]) -> list[Cell]:
    """Return the cells of a grid; of the default one those with more rows too."""
    more = MORE if config.get("results", "evidence") == "evidence" else ()
    return [cell for c in (config, *map(read_config, more)) for cell in planned(c)]


def sizes_of(runs: Runs) -> list[int | None]:
    """Numbers of training rows, smallest first."""
    return sorted({key[2] for key in runs}, key=lambda n: (n is None, n))


def readme_table(runs: Runs) -> list[str]:
    """Lines of the README's tables: the clean check, the grid, new data, more rows."""
    unseen = unseen_runs(RESULTS)
    complete = set(unseen_cells()) <= set(unseen)  # its verdict is over all of them
    new = load_runs(RESULTS / read_config(NEW_DATA)["results"])
    times = {rows: times_of(RESULTS, "evidence", rows) for rows in (IN_README_ROWS, MORE_ROWS)}
    of_new = times_of(RESULTS, read_config(NEW_DATA)["results"], IN_README_ROWS)
    tables = {
        UNSEEN_IN_README: unseen_summary(unseen, unseen_times(RESULTS)) if complete else [],
        FEW_IN_README: summary(runs, IN_README_ROWS, IN_README, times[IN_README_ROWS]),
        NEW_IN_README: new_data_summary(new, IN_README_ROWS, of_new),
        MORE_IN_README: summary(runs, MORE_ROWS, ["sve_subspaces"], times[MORE_ROWS]),
    }
    return [line for title, lines in tables.items() if lines for line in (title, "", *lines)]


def with_table(readme: str, lines: list[str]) -> str:
    """Put the table between the README's marks."""
    before, rest = readme.split(README_MARKS[0])
    after = rest.split(README_MARKS[1])[1]
    return "\n".join([before + README_MARKS[0], "", *lines, README_MARKS[1] + after])


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
    parser.add_argument("--config", type=Path, default=HERE / "evidence.toml")
    parser.add_argument("--page", type=Path, default=DOCS / "evidence.md")
    parser.add_argument("--readme", type=Path, default=HERE.parent / "README.md")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    config = read_config(args.config)
    folder = config.get("results", "evidence")
    runs = load_runs(RESULTS / folder)
    text = page(runs, cells_planned(config), folder, RESULTS)
    made = {args.page: text}
    if folder == "evidence":
        readme = args.readme.read_text(encoding="utf-8")
        made[args.readme] = with_table(readme, readme_table(runs))
    if args.check:
        stale = [f for f, t in made.items() if not f.exists() or f.read_text(encoding="utf-8") != t]
        names = ", ".join(path.name for path in stale)
        sys.exit(f"not what the files say: {names}. Run benchmarks/report.py" if stale else None)
    for path, content in made.items():
        path.write_text(content, encoding="utf-8")
    if runs:
        most = max(sizes_of(runs), key=lambda rows: sum(key[2] == rows for key in runs))
        draw(runs, most, args.page.parent / "pictures" / "evidence.png")


if __name__ == "__main__":
    main()

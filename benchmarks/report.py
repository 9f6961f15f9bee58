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
from _evidence_table import (
    ROWS_TIMED,
    FitShares,
    Runs,
    cells_of,
    compare,
    load_fit_shares,
    load_runs,
    mean_over_datasets,
)
from _grid import Cell, planned, read_config
from _new_data_page import new_data_section, new_data_summary
from _record import RESULTS

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"


def size_section(runs: Runs, rows: int | None, fit_shares: FitShares) -> list[str]:
    """Everything about one number of training rows."""
    lines = [f"## {rows or 'All'} training rows", ""]
    if rows != ROWS_TIMED:
        lines += [OF_MORE_ROWS, ""]
    kept = promises(runs, rows, fit_shares)
    if kept:
        lines += ["### Promises and measurements", "", *kept]
    if rows == ROWS_TIMED:
        lines += fit_times(fit_shares)
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


INTRODUCTION = """\
# The evidence

Made by `python benchmarks/report.py` out of the files in `benchmarks/results/{folder}`, which `python
benchmarks/evidence.py` makes. Do not edit: the tests compare this page with the files.

All methods run under one API on the same rows: training and validation rows are drawn anew for each seed,
test rows are the same for all. Each method's rates and epochs come from seven trials (fewer where said
below), judged by their mean NLL on the validation rows of three drawings: three rates of the head, then three
changes of the best of these, in the backbone's rate or the epochs, then one of the best so far, in the weight
decay. Trials ran in bfloat16, which takes half the time on a CPU with AMX, runs in float32. A fine-tuned
model is the first member of the deep ensemble of its seed, a single SVE member the first of SVE's; its cost
is counted as a fifth. CPU seconds grow with whatever else the machine does, so the page gives ratios within
the same data set, size and seed. Backbones: all-MiniLM-L6-v2, and a DINOv2-S out of a saliency model for
images.

**SVE** adapts the singular values and biases of every block: `SVEClassifier()` with the rates chosen. **SVE,
dense core** adapts the last three blocks and trains the whole 40 x 40 core of the leading singular
directions, which starts rotated: `SVEClassifier(adapt_blocks=3, rank=40, off_diagonals=39, init_scale=0.05,
band_init_scale=0.05)` (images: the last four of twelve, `rank=32`, 0.03, 0.02). **SVE, core of all blocks**
adapts every block, without noise and without biases: `SVEClassifier(rank=34, off_diagonals=33, init_scale=0,
train_bias=False)` (images: `rank=24`, `off_diagonals=23`). **SVE, random subspaces** adapts the last four
blocks likewise, with 42 directions of each member's own, drawn from the leading 64, pulls the core to the
pretrained one and moves it by Muon: `SVEClassifier(adapt_blocks=4, rank=42, off_diagonals=41,
direction_pool=64, init_scale=0, train_bias=False, core_optimizer="muon", weight_decay=5)`, which
`sksve.RANDOM_SUBSPACES` holds (images: the last eight of twelve, the leading 30 directions, the same for
all). Its trials begin at a rate of 0.008 with three epochs, all others with four, and its changes are no
weight decay in batches of twelve rows (all others: sixteen) with a rate of the head of 0.007; a weight decay
of 15 that pulls to random starts, of heads four times as far apart (`anchored=True, head_init_scale=0.04`);
four epochs of three blocks at a rate of 0.01 with 48 directions (images: that rate alone); then two epochs.
Trials of the three cores are of three members (those of the dense core and of random subspaces together about
the CPU time of one model fully fine-tuned); trials of all other methods are of one. The deep ensemble then
makes the best three of the fine-tuned model's trials again, with three members: ten in all.

**What to doubt.** The three cores were looked for among some hundred settings on validation rows, after test
results of kinds before them had been seen: more search than any rival had. "New data" below holds the last of
them against the deep ensemble where no search had looked. A fourth core, of the last four blocks with noise,
stood here until commit 47c71f5, its NLL .021 above the deep ensemble's. A trial of one member likes rates
that are low for an ensemble, whose mean forgives members that fit too closely: of plain SVE, the
LoRA-ensemble and BatchEnsemble no trial had more. Validation rows of the three drawings are also those that
temperatures are fitted on. CPU times of runs are of different hours, with two to five processes on two cores;
the time that is held against its goal was therefore taken in turns with a full fine-tune, on rows of the grid
(`python benchmarks/fit_time.py`). The multiply-adds at the end of the page leave the optimizer out, of which
a full fine-tune has most.

**What changed.** In the first version of this page (commit 410bc99) every trial had the same rate of the
head, 0.01; with 0.003 to choose, the deep ensemble's NLL on Fashion-MNIST fell from .80 to .64 (seed 0), and
most of SVE's lead was gone. Until commit 6ee525d one drawing decided a trial, and one drawing of 200 rows
ranks rates by chance, as the trials' losses by drawing show. Until commit 47c71f5 all trials had four epochs,
and movie reviews stood in for fine foods and credit; that of fine foods was dropped after its test rows had
been seen. Until commit d3c3aab random subspaces had all blocks, 34 directions and no weight decay, and stood
at +.0050 in NLL against the deep ensemble (3 of 6 data sets), +0.6 points in accuracy, +.038 in AUROC by
mutual information (these two hung on the trials of fine foods) and .45 in time. Their test results had been
seen when blocks and weight decay were changed, for what validation rows said: two thirds of the blocks cost
nothing on 20 Newsgroups and Fashion-MNIST there, and a pull to the pretrained core took .02 to .03 nats off
fine foods, Fashion-MNIST and movie reviews. On test rows the change took a third off the time, won on movie
reviews and Fashion-MNIST and lost on the other four. Weight decay was then given to the deep ensemble's
trials as well (the fine-tuned model and Laplace with it): they chose it on movie reviews, where its NLL on
test rows fell from .522 to .517, and on tweets and digits. It was offered one value, 10, where random
subspaces had three. On movie reviews it also lost AUROC by mutual information, .27 to .18: every other
method's difference in it rose by .018 for that alone.

**Reuters and the deep ensemble.** Until commit 597d73b 20 Newsgroups stood in for Reuters. The deep ensemble
then had the fine-tuned model's trials of Reuters, of one member: one drawing of three made the lowest rate
win, and on test rows its NLL went from .242 to .277. Since commit 2947996 it makes the best three of these
trials again with three members. On Reuters they chose what had been there before; on movie reviews, 20
Newsgroups, fine foods and Fashion-MNIST what one member had chosen too. They are not made yet on credit and
on new data. All other methods still have the rates of 20 Newsgroups on Reuters.

**Muon.** Until commit cab1691 random subspaces were moved by AdamW at a rate of 0.01, and the weight decay of
15 pulled to zero. Against the deep ensemble as it is now they stood at +.0007 in NLL (4 of 6 data sets),
scaled +.0016 (3 of 6), -.0031 in ECE (3 of 6), -.0066 after scaling (4 of 6), +0.5 points in accuracy and
-.034 in AUROC by mutual information. These test results were known when two things were changed, for what
validation rows said. The pull to random starts took that AUROC, against posts of 20 Newsgroups, from .21 to
.32 on movie reviews and from .32 to .49 on fine foods, for .003 nats. Muon (momentum whose matrix is made
orthogonal, so that all directions of a core move alike) was tried with 15 settings on six data sets: it took
.02 nats off 20 Newsgroups, and in three epochs did on credit what AdamW did in four. At equal rates and
without weight decay it loses .016 on movie reviews (`subspaces_64_muon` in the ablations). The trial without
weight decay has batches of twelve and a rate of the head of 0.007 since commit 3482f40, found on 20
Newsgroups. No rival was offered Muon, such a pull or other batches. On test rows both together left NLL as it
was on movie reviews and fine foods and took .01 off on 20 Newsgroups, .02 on Reuters and credit, .04 on
Fashion-MNIST. The time of fit rose from .32 to .34, mostly because the trials on movie reviews now chose
three epochs instead of two.

**Four epochs of three blocks.** Until commit 8c9fbb8 the sixth trial had four epochs of all four blocks;
Reuters and credit chose it, and the time of fit missed its goal. With that known it became the same epochs of
the last three blocks at a rate of 0.01, with 48 directions, which is as fast as three epochs of four blocks;
on images, where fewer blocks did not do (.70 for .66 on validation rows), the rate alone. Nine settings were
tried for it on validation rows of Reuters, credit, Fashion-MNIST and 20 Newsgroups, after test results had
been seen. Reuters, credit and Fashion-MNIST chose it. On test rows NLL went from .241 to .243 on Reuters,
from .484 to .491 on credit and from .582 to .578 on Fashion-MNIST; in all (6 data sets) NLL against the deep
ensemble went from -.0151 (5 of 6) to -.0146 (4 of 6) and ECE from -.0126 (4 of 6) to -.0142 (5 of 6). A
layer's bias also needs no pass of its own since then.

**1,000 rows.** Until commit 395624f runs there had the settings that trials with 200 rows chose. Random
subspaces then stood at -.0321 in NLL against the deep ensemble (4 of 5 data sets, one seed), scaled +.0315 (0
of 5), -.0436 in ECE and -1.6 points in accuracy. Now both have trials of their own there. The second and
third of random subspaces' were found in about twenty scratch runs, of which no file is kept (validation rows
of seed 0 of the five data sets but credit, three members), with these test results known: five times the
steps want lower rates, most of all of the cores, and the pull that keeps 200 rows from being learned by heart
is too strong for 1,000 rows of movie reviews, where every block in two epochs was better than four in three,
in the same time. Nobody searched for the deep ensemble's trials so; lower rates were offered to it as well
and it took them on all but Fashion-MNIST.

**Fewer trials.** The core of all blocks has had six, without weight decay, and none of its own on credit;
SVE, dense core, MC dropout (but on movie reviews), SVFit and the linear probe five, without half the epochs
and weight decay, and **the rates of movie reviews on fine foods and credit**.
"""

OF_MORE_ROWS = f"""\
Each method has three trials with as many rows, on one drawing (`benchmarks/evidence_more_rows.toml`).
The first is what {ROWS_TIMED} rows chose for it. Random subspaces then have a quarter of the cores' rate and
.7 of the heads', and every block in two epochs without weight decay (three members a trial); the deep
ensemble half of each rate, and twice the backbone's (one member). The fine-tuned model has the deep
ensemble's."""

MARKERS = ("o", "s", "^", "D")
#: Between these lines of the README stands the table of what is promised and what was measured.
README_MARKS = ("<!-- made by benchmarks/report.py -->", "<!-- up to here -->")
IN_README = (*LEADS, "lora")
IN_README_ROWS = 200
MORE_ROWS = 1000
NEW_DATA = HERE / "evidence_new_data.toml"
MORE = HERE / "evidence_more_rows.toml"


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
    fit_shares = load_fit_shares(results / f"{folder}_fit_time.json") if results else {}
    for rows in sizes_of(runs):
        lines += size_section(runs, rows, fit_shares)
    if results is not None and folder == "evidence":
        config = read_config(NEW_DATA)
        new = load_runs(results / config["results"])
        shares = load_fit_shares(results / f"{config['results']}_fit_time.json")
        lines += new_data_section(new, ROWS_TIMED, planned(config), shares)
    if runs:
        lines += ["![NLL, ECE and cost of every method](pictures/evidence.png)", ""]
    if results is not None:
        path = results / f"{folder}_multiply_adds.json"
        lines += counted(json.loads(path.read_text()) if path.exists() else None)
        if folder == "evidence":  # on whose trials they rest
            lines += ablation_section(load_ablations(results / "ablations"))
    return "\n".join(lines).rstrip() + "\n"


def cells_planned(config: dict[str, Any]) -> list[Cell]:
    """Return the cells of a grid; those of the default one with more rows too."""
    more = planned(read_config(MORE)) if config.get("results", "evidence") == "evidence" else []
    return planned(config) + more


def sizes_of(runs: Runs) -> list[int | None]:
    """Numbers of training rows, smallest first."""
    return sorted({key[2] for key in runs}, key=lambda n: (n is None, n))


def readme_table(runs: Runs) -> list[str]:
    """Lines of the README's tables: of the grid, and of new data."""
    fit_shares = load_fit_shares(RESULTS / "evidence_fit_time.json")
    lines = summary(runs, IN_README_ROWS, IN_README, fit_shares)
    folder = read_config(NEW_DATA)["results"]
    new_shares = load_fit_shares(RESULTS / f"{folder}_fit_time.json")
    of_new = new_data_summary(load_runs(RESULTS / folder), IN_README_ROWS, new_shares)
    if of_new:
        lines += [NEW_IN_README, "", *of_new]
    of_more = summary(runs, MORE_ROWS, ["sve_subspaces"])
    return [*lines, MORE_IN_README, "", *of_more] if of_more else lines


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

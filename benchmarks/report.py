"""Tables and pictures of the evidence: docs/evidence.md and docs/pictures, out of the runs' JSON files.

    python benchmarks/report.py            # after benchmarks/evidence.py
    python benchmarks/report.py --check    # fails if docs/evidence.md is not what the files say

Nothing is trained or judged here, and no number is written by hand. Wins, ties and losses of SVE are counted
alike: a win or a loss where the 95 % interval of the paired difference leaves zero out, else a tie.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from _evidence_table import (
    METRICS,
    Runs,
    bars,
    cells_of,
    compare,
    load_runs,
    mean_over_datasets,
)
from _record import RESULTS

DOCS = Path(__file__).parents[1] / "docs"
NAMES = {
    "sve": "SVE",
    "sve_single": "SVE, one member",
    "deep": "deep ensemble",
    "fine_tuned": "fine-tuned model",
    "laplace": "last-layer Laplace",
    "mc_dropout": "MC dropout",
    "lora": "LoRA-ensemble",
    "batch_ensemble": "BatchEnsemble",
    "svfit": "SVFit",
    "svft": "SVFT",
    "probe": "linear probe",
}
DATASETS = {
    "movie_reviews": "movie reviews",
    "newsgroups": "20 Newsgroups",
    "reuters_r8": "Reuters R8",
    "fine_foods": "fine foods",
    "fashion_mnist": "Fashion-MNIST",
    "credit": "credit as text",
}
WORDS = {
    "accuracy": "accuracy",
    "nll": "NLL",
    "nll_scaled": "NLL, scaled",
    "ece": "ECE",
    "ece_scaled": "ECE, scaled",
    "brier": "Brier",
    "aurc": "AURC",
    "auroc_mi": "AUROC, MI",
    "auroc_entropy": "AUROC, entropy",
    "fpr95_mi": "FPR95, MI",
    "fpr95_entropy": "FPR95, entropy",
    "disagreement": "disagreement",
    "pairwise_kl": "pairwise KL",
    "fit_cpu": "fit, CPU s",
    "predict_cpu": "predict, CPU s",
    "peak_megabytes": "peak, MB",
    "trainable": "trained parameters",
    "saved_bytes": "saved, MB",
}
QUALITY = ["accuracy", "nll", "nll_scaled", "ece", "ece_scaled", "brier", "aurc"]
FOREIGN = ["auroc_mi", "auroc_entropy", "fpr95_mi", "fpr95_entropy", "disagreement", "pairwise_kl"]
COST = ["trainable", "fit_cpu", "predict_cpu", "peak_megabytes", "saved_bytes"]
COMPARED = ["accuracy", "nll", "nll_scaled", "ece", "ece_scaled", "auroc_mi"]


def shown(metric: str, value: float | None) -> str:
    """Write a number of a table."""
    if value is None:
        return "-"
    if metric == "accuracy":
        return f"{100 * value:.1f} %"
    if metric == "saved_bytes":
        return f"{value / 1e6:.2f}"
    if metric in ("trainable", "peak_megabytes"):
        return f"{value:,.0f}"
    if metric in ("fit_cpu", "predict_cpu"):
        return f"{value:.0f}"
    return f"{value:.3f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table's lines."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def common_cells(runs: Runs, methods: list[str], rows: int | None) -> set[tuple[str, int]]:
    """(data set, seed) that all of these methods have."""
    each = [set(cells_of(runs, method, rows, "nll")) for method in methods]
    return set.intersection(*each) if each else set()


def methods_of(runs: Runs, rows: int | None) -> list[str]:
    """Methods with runs of this size, in the order of the tables."""
    there = {method for _, method, n, _ in runs if n == rows}
    return [name for name in NAMES if name in there] + sorted(there - set(NAMES))


def means(runs: Runs, methods: list[str], rows: int | None, metrics: list[str]) -> list[str]:
    """Table of means over the cells that all methods have."""
    cells = common_cells(runs, methods, rows)
    body = []
    for method in methods:
        line = [NAMES.get(method, method)]
        for metric in metrics:
            found = cells_of(runs, method, rows, metric)
            line.append(
                shown(metric, mean_over_datasets({k: v for k, v in found.items() if k in cells}))
            )
        body.append(line)
    return table(["", *(WORDS[m] for m in metrics)], body)


def differences(runs: Runs, rows: int | None, method: str = "sve") -> list[str]:
    """SVE against each rival: mean difference, interval, p, and data sets won, tied, lost."""
    body = []
    for rival in methods_of(runs, rows):
        if rival == method:
            continue
        for metric in COMPARED:
            c = compare(runs, method, rival, rows, metric)
            if c is None:
                continue
            factor, unit = (100, " points") if metric == "accuracy" else (1, "")
            number = f"{{:+.{1 if metric == 'accuracy' else 3}f}}"
            low, high = (number.format(factor * v) for v in (c.low, c.high))
            by_rows = np.isfinite([found[1] for found in c.datasets.values()]).all()
            body.append(
                [
                    NAMES.get(rival, rival),
                    WORDS[metric],
                    f"{number.format(factor * c.difference)}{unit}",
                    f"{low} to {high}",
                    f"{c.p_value:.3f}",
                    str(c.n_cells),
                    c.verdict,
                    f"{c.count('win')} / {c.count('tie')} / {c.count('loss')}" if by_rows else "-",
                ]
            )
    head = ["SVE against", "metric", "difference", "95 % interval", "p", "pairs", "SVE's result",
            "sets won / tied / lost"]  # fmt: skip
    return table(head, body)


def per_dataset(runs: Runs, rows: int | None, metric: str) -> list[str]:
    """Methods by data sets, means over seeds."""
    datasets = [d for d in DATASETS if any(key[0] == d and key[2] == rows for key in runs)]
    datasets += sorted({key[0] for key in runs if key[2] == rows} - set(datasets))
    body = []
    for method in methods_of(runs, rows):
        found = cells_of(runs, method, rows, metric)
        line = [NAMES.get(method, method)]
        for dataset in datasets:
            values = [v for (d, _), v in found.items() if d == dataset]
            line.append(shown(metric, float(np.mean(values)) if values else None))
        body.append(line)
    return table([WORDS[metric], *(DATASETS.get(d, d) for d in datasets)], body)


def human(runs: Runs, rows: int | None) -> list[str]:
    """Movie reviews against what the raters think, means over seeds."""
    body = []
    for method in methods_of(runs, rows):
        found = [
            run["scores"]["human"]
            for (_, name, n, _), run in runs.items()
            if name == method and n == rows and "human" in run["scores"]
        ]
        if not found:
            continue
        numbers = [
            np.mean([f["before"]["cross_entropy"] for f in found]),
            np.mean([f["after"]["cross_entropy"] for f in found]),
            np.mean([f["before"]["total_variation"] for f in found]),
            np.mean([f["after"]["total_variation"] for f in found]),
            np.mean([f["spearman_aleatoric"] for f in found]),
        ]
        body.append([NAMES.get(method, method), *(f"{v:.3f}" for v in numbers)])
    if not body:
        return []
    head = ["", "cross-entropy", "scaled", "total variation", "scaled", "Spearman, aleatoric"]
    return table(head, body)


def shifted(runs: Runs, rows: int | None) -> list[str]:
    """Accuracy, NLL and ECE on shifted texts, means over seeds."""
    names = sorted(
        {
            name
            for key, run in runs.items()
            if key[2] == rows
            for name in run["scores"].get("shifted", {})
        }
    )
    body = []
    for method in methods_of(runs, rows):
        line = [NAMES.get(method, method)]
        for name in names:
            found = [
                run["scores"]["shifted"][name]["before"]
                for (_, m, n, _), run in runs.items()
                if m == method and n == rows and name in run["scores"].get("shifted", {})
            ]
            for metric in ("accuracy", "nll", "ece"):
                value = float(np.mean([f[metric] for f in found])) if found else None
                line.append(shown(metric, value))
        body.append(line)
    head = ["", *(f"{name}: {WORDS[m]}" for name in names for m in ("accuracy", "nll", "ece"))]
    return table(head, body) if names else []


def size_section(runs: Runs, rows: int | None) -> list[str]:
    """Everything about one number of training rows."""
    methods = methods_of(runs, rows)
    cells = common_cells(runs, methods, rows)
    names = sorted({DATASETS.get(d, d) for d, _ in cells})
    seeds = sorted({seed for _, seed in cells})
    lines = [f"## {rows or 'All'} training rows", "", "### Promises and measurements", ""]
    kept = [
        [b.name, b.goal, b.measured, "kept" if b.kept else "**not kept**"] for b in bars(runs, rows)
    ]
    lines += table(["SVE, five members", "goal", "measured", ""], kept)
    lines += [
        "### Means",
        "",
        f"Over the runs that all methods have: {len(names)} data sets ({', '.join(names)}), "
        f"seeds {', '.join(map(str, seeds))}. Scaled: after temperature scaling on validation rows. "
        "NLL in nats, ECE in 15 bins, Brier from 0 to 2.",
        "",
    ]
    for metrics in (QUALITY, FOREIGN, COST):
        lines += means(runs, methods, rows, metrics)
    lines += [
        "### Paired differences",
        "",
        "SVE minus the other, over the pairs of runs (data set, seed) that both have. Intervals draw the "
        "seeds within each data set; p is Wilcoxon's signed-rank test over the pairs. The last column "
        "counts data sets by the interval of their test rows.",
        "",
    ]
    lines += differences(runs, rows)
    lines += ["### By data set", ""]
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

Made by `python benchmarks/report.py` out of the files in `benchmarks/results/{folder}`, which
`python benchmarks/evidence.py` makes ({n_runs} runs; the grid is `benchmarks/evidence.toml`). Do not edit:
the tests compare this page with the files.

All methods run under one API on the same rows: training and validation rows are drawn anew for each seed,
test rows are the same for all. Each method's rate and number of epochs come from the same number of trials
on validation rows; test rows are met once. A fine-tuned model is the first member of the deep ensemble of its
seed, a single SVE member the first of SVE's. Seconds are CPU seconds of one thread. Backbones:
all-MiniLM-L6-v2, and a DINOv2-S out of a saliency model for images.
"""


def page(runs: Runs, folder: str) -> str:
    """Write the whole page."""
    lines = [INTRODUCTION.format(folder=folder, n_runs=len(runs))]
    sizes = sorted({key[2] for key in runs}, key=lambda n: (n is None, n))
    for rows in sizes:
        lines += size_section(runs, rows)
    if sizes:
        lines += ["![NLL, ECE and cost of every method](pictures/evidence.png)", ""]
    return "\n".join(lines).rstrip() + "\n"


def draw(runs: Runs, rows: int | None, path: Path) -> None:
    """Draw SVE against each rival: paired differences with intervals, and cost beside quality."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    methods = methods_of(runs, rows)
    rivals = [m for m in methods if m != "sve"]
    fig, axes = plt.subplots(1, 3, figsize=(13, 0.4 * len(rivals) + 2.2), layout="constrained")
    for ax, metric in zip(axes, ("nll", "ece")):
        for place, rival in enumerate(reversed(rivals)):
            c = compare(runs, "sve", rival, rows, metric)
            if c is not None:
                colour = {"win": "tab:green", "loss": "tab:red", "tie": "0.45"}[c.verdict]
                ax.plot([c.low, c.high], [place, place], color=colour)
                ax.plot(c.difference, place, "o", color=colour)
        ax.axvline(0, color="0.8", zorder=0)
        ax.set_yticks(range(len(rivals)), [NAMES.get(r, r) for r in reversed(rivals)])
        ax.set_xlabel(f"{WORDS[metric]}: SVE minus the other (left of 0: SVE is better)")
    cells = common_cells(runs, methods, rows)
    for method in methods:
        x, y = (
            mean_over_datasets(
                {k: v for k, v in cells_of(runs, method, rows, name).items() if k in cells}
            )
            for name in ("fit_cpu", "nll")
        )
        if x is not None and y is not None:
            axes[2].plot(x, y, "o", color="tab:blue" if method == "sve" else "0.5")
            axes[2].annotate(NAMES.get(method, method), (x, y), xytext=(4, 4),
                             textcoords="offset points", fontsize=8)  # fmt: skip
    axes[2].set_xscale("log")
    axes[2].set_xlabel("CPU seconds of a fit")
    axes[2].set_ylabel("NLL (nats), mean over data sets")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", default="evidence", help="folder in benchmarks/results")
    parser.add_argument("--page", type=Path, default=DOCS / "evidence.md")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    runs = load_runs(RESULTS / args.results)
    text = page(runs, args.results)
    if args.check:
        same = args.page.exists() and args.page.read_text(encoding="utf-8") == text
        sys.exit(
            None
            if same
            else f"{args.page.name} is not what the files say: run benchmarks/report.py"
        )
    args.page.write_text(text, encoding="utf-8")
    for rows in {key[2] for key in runs}:
        most = max(sum(key[2] == n for key in runs) for n in {key[2] for key in runs})
        if sum(key[2] == rows for key in runs) == most:
            draw(runs, rows, DOCS / "pictures" / "evidence.png")
            break


assert set(WORDS) <= set(METRICS)

if __name__ == "__main__":
    main()

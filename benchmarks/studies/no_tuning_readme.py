"""The README's table and picture of runs without tuning, out of results/no_tuning.jsonl.

python -m benchmarks.studies.no_tuning_readme
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.results import RESULTS, ROOT, Row, Table
from benchmarks.studies.no_tuning_report import means, over_sets

MARKS = ("<!-- no_tuning.py -->\n", "<!-- end of no_tuning.py -->")
RIVALS = {
    "frozen_lr": "frozen vectors + logistic regression",
    "tfidf_lr": "TF-IDF + logistic regression",
    "setfit": "SetFit",
    "deep_tuned": "deep ensemble of 5, settings searched per data set",
    "deep": "`DeepEnsembleClassifier()`",
    "lora": "`LoRAEnsembleClassifier()`",
}
DRAWN = {"sve": ("SVEClassifier()", "o"), "frozen_lr": ("frozen vectors + LR", "s"),
         "tfidf_lr": ("TF-IDF + LR", "^")}  # fmt: skip
LEAST = 4  # data sets that make a line


def latest(rows: Sequence[Row]) -> list[Row]:
    """Runs of the rule that chose the settings last, per contender."""
    last = {row["contender"]: row["rule"] for row in rows}
    return [row for row in rows if row["rule"] == last[row["contender"]]]


def table(rows: Sequence[Row]) -> str:
    """One line per rival and number of training rows: `SVEClassifier()` / the rival, means over data sets."""
    lines = ["| `SVEClassifier()` / ... | training rows | data sets | NLL lower in | NLL (nats) | accuracy "
             "| ECE | CPU s of fit |", "|---" * 8 + "|"]  # fmt: skip
    for rival, name in RIVALS.items():
        for n in sorted({row["rows"] for row in rows}):
            pairs = means(rows, n, ("sve", rival))
            if len(pairs) < LEAST:
                continue
            ours, theirs = over_sets(pairs, "sve"), over_sets(pairs, rival)
            won = sum(p["sve"]["nll"] < p[rival]["nll"] for p in pairs.values())
            cells = [f"{ours[k]:.3f} / {theirs[k]:.3f}" for k in ("nll", "accuracy", "ece")]
            seconds = f"{ours['cpu_seconds']:.0f} / {theirs['cpu_seconds']:.0f}"
            lines.append(
                f"| {name} | {n:,} | {len(pairs)} | {won} | {' | '.join(cells)} | {seconds} |"
            )
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """NLL by data set, a panel per number of training rows; marks differ in form and in grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = [n for n in (50, 200, 1000) if len(means(rows, n, [*DRAWN])) >= LEAST]
    fig, axes = plt.subplots(
        1, len(sizes), figsize=(3.6 * len(sizes), 3.6), layout="constrained", squeeze=False
    )
    for ax, n in zip(axes[0], sizes, strict=True):
        found = means(rows, n, [*DRAWN])
        names = sorted(found, key=lambda name: -found[name]["sve"]["nll"])
        for k, name in enumerate(names):
            values = [found[name][c]["nll"] for c in DRAWN]
            ax.plot([min(values), max(values)], [k, k], color="0.85", zorder=0)
        for (contender, (label, marker)), colour in zip(
            DRAWN.items(), ("#0072b2", "#e69f00", "0.6"), strict=True
        ):
            x = [found[name][contender]["nll"] for name in names]
            ax.plot(x, range(len(names)), marker, color=colour, label=label)
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
        ax.set_xlabel("NLL on test rows (nats), lower is better", fontsize=8)
        ax.set_title(f"{n:,} training rows", fontsize=9)
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, fontsize=8, loc="outside upper center", ncols=len(DRAWN), frameon=False)
    fig.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(fig)


def main() -> None:
    rows = latest(list(Table(RESULTS / "no_tuning.jsonl").rows().values()))
    readme = ROOT / "README.md"
    before, rest = readme.read_text("utf-8").split(MARKS[0])
    readme.write_text(before + MARKS[0] + table(rows) + MARKS[1] + rest.split(MARKS[1])[1], "utf-8")
    draw(rows, ROOT / "docs" / "pictures" / "no_tuning.png")
    print(f"mean of seeds: {np.unique([row['seed'] for row in rows]).tolist()}")


if __name__ == "__main__":
    main()

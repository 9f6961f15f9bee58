"""The README's picture of runs without tuning, out of results/no_tuning.jsonl.

python -m benchmarks.studies.no_tuning_picture
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.results import ROOT, Row
from benchmarks.studies.no_tuning_report import means

DRAWN = {"sve": ("SVEClassifier()", "o"), "frozen_lr": ("frozen vectors + LR", "s"),
         "tfidf_lr": ("TF-IDF + LR", "^")}  # fmt: skip
LEAST = 4  # data sets that make a panel


def draw(rows: Sequence[Row], path: Path) -> None:
    """NLL by data set, a panel per number of training rows; marks differ in form and in grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = [n for n in (50, 200, 1000) if len(means(rows, n, [*DRAWN])) >= LEAST]
    fig, axes = plt.subplots(
        1, len(sizes), figsize=(1.6 + 3.2 * len(sizes), 3.6), layout="constrained", squeeze=False
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


if __name__ == "__main__":
    from benchmarks.no_tuning import TABLE, is_current

    runs = [row for row in TABLE.rows().values() if is_current(row)]
    draw(runs, ROOT / "docs" / "pictures" / "no_tuning.png")

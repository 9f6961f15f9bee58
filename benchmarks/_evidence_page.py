"""Parts of the evidence's page: lines of Markdown out of the runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from _evidence_table import METRICS, Runs, Size, bars, cells_of, compare, mean_over_datasets
from _fit_times import Times
from _grid import Cell

__all__ = [
    "LEADS",
    "NAMES",
    "WORDS",
    "common_cells",
    "counted",
    "differences",
    "fit_times",
    "groups_of",
    "human",
    "means",
    "per_dataset",
    "progress",
    "promises",
    "shifted",
    "summary",
]

NAMES = {
    "sve": "SVE",
    "sve_core": "SVE, dense core",
    "sve_all_blocks": "SVE, core of all blocks",
    "sve_subspaces": "SVE, random subspaces",
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
#: Kinds of SVE, which the page holds against the others.
LEADS = ("sve", "sve_core", "sve_all_blocks", "sve_subspaces")
DATASETS = {
    "movie_reviews": "movie reviews",
    "newsgroups": "20 Newsgroups",
    "reuters_r8": "Reuters R8",
    "fine_foods": "fine foods",
    "fashion_mnist": "Fashion-MNIST",
    "credit": "credit as text",
    "amazon_reviews": "Amazon reviews",
    "tweets": "tweets",
    "digits": "MNIST digits",
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
    "fit_ratio": "CPU time of fit, deep ensemble = 1",
    "predict_ratio": "of predict",
    "peak_megabytes": "peak, MB",
    "trainable": "trained parameters",
    "saved_bytes": "saved, MB",
}
QUALITY = ["accuracy", "nll", "nll_scaled", "ece", "ece_scaled", "brier", "aurc"]
FOREIGN = ["auroc_mi", "auroc_entropy", "fpr95_mi", "fpr95_entropy", "disagreement", "pairwise_kl"]
COST = ["trainable", "fit_ratio", "predict_ratio", "peak_megabytes", "saved_bytes"]
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
    if metric in ("fit_ratio", "predict_ratio"):
        return f"{value:.2f}"
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


def methods_of(runs: Runs, rows: Size) -> list[str]:
    """Methods with runs of this size, or one of these, in the order of the tables."""
    sizes = rows if isinstance(rows, tuple) else (rows,)
    there = {method for _, method, n, _ in runs if n in sizes}
    return [name for name in NAMES if name in there] + sorted(there - set(NAMES))


def groups_of(runs: Runs, rows: int | None) -> list[list[str]]:
    """Methods to be averaged side by side: those that have all that SVE and its rival share; then each other.

    A method with few runs so far would otherwise leave few runs of all the others.
    """
    methods = methods_of(runs, rows)
    shared = common_cells(runs, ["sve", "deep"], rows) or common_cells(runs, methods, rows)
    ahead = [m for m in methods if shared <= common_cells(runs, [m], rows)]
    behind = [m for m in methods if m not in ahead]
    return [ahead, *([*[m for m in ("sve", "deep") if m in ahead], m] for m in behind)]


def described(cells: set[tuple[str, int]]) -> str:
    """Say which data sets and seeds."""
    found: dict[tuple[int, ...], list[str]] = {}
    for name in [*DATASETS, *sorted({d for d, _ in cells} - set(DATASETS))]:
        seeds = tuple(sorted(seed for d, seed in cells if d == name))
        if seeds:
            found.setdefault(seeds, []).append(DATASETS.get(name, name))
    parts = [
        f"{', '.join(names)} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})"
        for seeds, names in found.items()
    ]
    return "; ".join(parts) or "no run"


def means(runs: Runs, methods: list[str], rows: int | None) -> list[str]:
    """Tables of means over the cells that all these methods have."""
    cells = common_cells(runs, methods, rows)
    lines = [f"Over {described(cells)}:", ""]
    if not cells:
        return [f"{', '.join(NAMES.get(m, m) for m in methods)}: no run in common yet.", ""]
    for metrics in (QUALITY, FOREIGN, COST):
        body = []
        for method in methods:
            found = {
                m: {k: v for k, v in cells_of(runs, method, rows, m).items() if k in cells}
                for m in metrics
            }
            numbers = [shown(m, mean_over_datasets(found[m])) for m in metrics]
            body.append([NAMES.get(method, method), *numbers])
        lines += table(["", *(WORDS[m] for m in metrics)], body)
    return lines


def progress(runs: Runs, cells: list[Cell]) -> list[str]:
    """Which seeds of which cells of the grid are done, of each size."""
    lines = []
    missing = [cell for cell in cells if cell not in runs]
    if not missing:
        return [f"All {len(cells)} runs of the grid are done.", ""]
    lines += [
        f"**{len(cells) - len(missing)} of the {len(cells)} runs of the grid are done.** Seeds done, of each "
        "method (rows) and data set (columns), and those still missing in brackets:",
        "",
    ]
    datasets = [d for d in DATASETS if any(cell[0] == d for cell in cells)]
    datasets += sorted({cell[0] for cell in cells} - set(datasets))
    for rows in sorted({cell[2] for cell in cells}, key=lambda n: (n is None, n)):
        there = {method for _, method, n, _ in cells if n == rows}
        body = []
        for method in [m for m in NAMES if m in there] + sorted(there - set(NAMES)):
            line = [NAMES.get(method, method)]
            for dataset in datasets:
                seeds = sorted(c[3] for c in cells if c[:3] == (dataset, method, rows))
                done = [str(k) for k in seeds if (dataset, method, rows, k) in runs]
                rest = [str(k) for k in seeds if str(k) not in done]
                words = [*done, f"({', '.join(rest)})"] if rest else done
                line.append(" ".join(words) or "not planned")
            body.append(line)
        names = [DATASETS.get(d, d) for d in datasets]
        lines += table([f"{rows or 'all'} rows", *names], body)
    return lines


def differences(runs: Runs, rows: Size, method: str = "sve") -> list[str]:
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
                    "-" if np.isnan(c.low) else f"{low} to {high}",
                    f"{c.p_value:.3f}",
                    str(c.n_cells),
                    c.verdict,
                    f"{c.count('win')} / {c.count('tie')} / {c.count('loss')}" if by_rows else "-",
                ]
            )
    name = NAMES.get(method, method)
    head = [f"{name} against", "metric", "difference", "95 % interval", "p", "pairs", "its result",
            "sets won / tied / lost"]  # fmt: skip
    return table(head, body) if body else []


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
            most = max(len(seeds_of(runs, m, rows, dataset)) for m in methods_of(runs, rows))
            few = f" ({len(values)})" if 0 < len(values) < most else ""
            line.append(shown(metric, float(np.mean(values)) if values else None) + few)
        body.append(line)
    return table([WORDS[metric], *(DATASETS.get(d, d) for d in datasets)], body)


def seeds_of(runs: Runs, method: str, rows: int | None, dataset: str) -> list[int]:
    """Seeds of which there is a run."""
    return [seed for d, m, n, seed in runs if (d, m, n) == (dataset, method, rows)]


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
        body.append([NAMES.get(method, method), str(len(found)), *(f"{v:.3f}" for v in numbers)])
    if not body:
        return []
    head = [
        "",
        "seeds",
        "cross-entropy",
        "scaled",
        "total variation",
        "scaled",
        "Spearman, aleatoric",
    ]
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
        n_seeds = len(seeds_of(runs, method, rows, "movie_reviews"))
        if n_seeds == 0:
            continue
        line = [NAMES.get(method, method), str(n_seeds)]
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
    head = [
        "",
        "seeds",
        *(f"{name}: {WORDS[m]}" for name in names for m in ("accuracy", "nll", "ece")),
    ]
    return table(head, body) if names else []


def counted(found: dict[str, Any] | None) -> list[str]:
    """Multiply-adds of each method, and as shares of the deep ensemble's."""
    if not found or not found["methods"]:
        return []
    methods = found["methods"]
    deep = methods.get("deep")
    body = []
    for method in [m for m in NAMES if m in methods] + sorted(set(methods) - set(NAMES)):
        numbers = methods[method]
        line = [NAMES.get(method, method), str(numbers["members"]), str(numbers["epochs"])]
        for name, unit in (("fit", 1e12), ("predict_a_row", 1e9)):
            share = f"{numbers[name] / deep[name]:.2f}" if deep and deep[name] else "-"
            line += [f"{numbers[name] / unit:.2f}", share]
        body.append(line)
    head = ["", "members", "epochs", "fit, 10^12", "deep ensemble = 1", "a row predicted, 10^9",
            "deep ensemble = 1"]  # fmt: skip
    return [
        "## Multiply-adds",
        "",
        f"Counted by `python benchmarks/multiply_adds.py` for {found['rows']} rows of "
        f"{DATASETS.get(found['dataset'], found['dataset'])}, with the epochs chosen: the same whatever else "
        "a machine does. CPU time above also holds what is not a product.",
        "",
        *table(head, body),
    ]


def promises(runs: Runs, rows: int | None, times: Times | None = None) -> list[str]:
    """Bars of the issue, for every kind of SVE."""
    lines = []
    for method in LEADS:
        body = [
            [b.name, b.goal, b.measured, str(b.n_cells), "kept" if b.kept else "**not kept**"]
            for b in bars(runs, rows, method, times=times)
        ]
        if body:
            head = [f"{NAMES[method]}, five members", "goal", "measured", "runs", "so far"]
            lines += table(head, body)
    return lines


def fit_times(times: Times) -> list[str]:
    """Methods by data sets, fits in turns; a table a CPU."""
    lines = []
    for cpu, shares_of in times.items():
        datasets = [d for d in DATASETS if any(d in by for by in shares_of.values())]
        body = []
        for method in [m for m in NAMES if m in shares_of]:
            shares = [shares_of[method].get(d) for d in datasets]
            known = [v for v in shares if v is not None]
            words = ["-" if v is None else f"{v:.2f}" for v in [*shares, sum(known) / len(known)]]
            body.append([NAMES[method], *words])
        head = [f"{cpu}: time of fit, deep ensemble = 1", *(DATASETS[d] for d in datasets), "mean"]
        lines += table(head, body)
    if not lines:
        return []
    return [
        "Made by `python benchmarks/fit_time.py`: the methods and one full fine-tune, a fifth of the deep "
        "ensemble, in turns of a few steps. Two measurements of a method may differ by a fifth.",
        "",
        *lines,
    ]


def summary(
    runs: Runs, rows: Size, methods: Sequence[str], times: Times | None = None
) -> list[str]:
    """Return the bars of several methods side by side: the README's table."""
    found = {m: {b.name: b for b in bars(runs, rows, m, times=times)} for m in methods}
    found = {m: by_name for m, by_name in found.items() if by_name}
    # Goals count data sets: those of the method with the most runs are said.
    by_size = sorted(found.values(), key=lambda by_name: by_name["NLL"].n_cells)
    goals = {b.name: b.goal for by_name in by_size for b in by_name.values()}
    head = ["", "goal", *(f"{NAMES[m]} ({by['NLL'].n_cells} runs)" for m, by in found.items())]
    body = []
    for name, goal in goals.items():
        each = [by_name.get(name) for by_name in found.values()]
        words = ["-" if b is None else f"**{b.measured}**" if b.kept else b.measured for b in each]
        body.append([name, goal, *(word.replace("mean difference ", "") for word in words)])
    return table(head, body)


assert set(WORDS) <= set(METRICS)

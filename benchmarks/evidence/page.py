"""Parts of the evidence's page: lines of Markdown out of the runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results import Row
from benchmarks.evidence.fit_times import Times, mean_times
from benchmarks.evidence.grid import Cell
from benchmarks.evidence.tables import Runs, Size, bars, cells_of, compare, mean_over_datasets

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


def prose(name: str, **facts: Any) -> str:
    """What the page says in words: a file of evidence/prose, with the facts in their places."""
    text = (Path(__file__).parent / "prose" / f"{name}.md").read_text("utf-8").rstrip("\n")
    return text.format(**facts) if facts else text


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


def means(
    runs: Runs,
    methods: list[str],
    rows: int | None,
    groups: Sequence[list[str]] = (QUALITY, FOREIGN, COST),
) -> list[str]:
    """Tables of means over the cells that all these methods have."""
    cells = common_cells(runs, methods, rows)
    lines = [f"Over {described(cells)}:", ""]
    if not cells:
        return [f"{', '.join(NAMES.get(m, m) for m in methods)}: no run in common yet.", ""]
    for metrics in groups:
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


def costs(runs: Runs, rows: int) -> list[str]:
    """Table of costs over the cells that the methods of the first group have."""
    methods = groups_of(runs, rows)[0]
    return means(runs, methods, rows, [COST])[2:]


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


def differences(
    runs: Runs, rows: Size, method: str = "sve", rivals: Sequence[str] = ()
) -> list[str]:
    """SVE against each rival: mean difference, interval, p, and data sets won, tied, lost."""
    body = []
    for rival in rivals or methods_of(runs, rows):
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
    return per_datasets(runs, rows, WORDS[metric], lambda number: number(metric))


def together(runs: Runs, rows: int | None) -> list[str]:
    """Methods by data sets, three numbers in a cell."""
    return per_datasets(
        runs,
        rows,
        "NLL (accuracy / ECE)",
        lambda number: f"{number('nll')} ({number('accuracy')[:-2]} / {number('ece')})",
    )


def per_datasets(
    runs: Runs,
    rows: int | None,
    title: str,
    words: Callable[[Callable[[str], str]], str],
) -> list[str]:
    """Methods by data sets, means over seeds, in the words made of a metric's number."""
    datasets = [d for d in DATASETS if any(key[0] == d and key[2] == rows for key in runs)]
    datasets += sorted({key[0] for key in runs if key[2] == rows} - set(datasets))
    methods = methods_of(runs, rows)
    body = []
    for method in methods:
        line = [NAMES.get(method, method)]
        for dataset in datasets:
            most = max(len(seeds_of(runs, m, rows, dataset)) for m in methods)
            n = len(seeds_of(runs, method, rows, dataset))

            def number(metric: str, method: str = method, dataset: str = dataset) -> str:
                found = cells_of(runs, method, rows, metric)
                values = [v for (d, _), v in found.items() if d == dataset]
                return shown(metric, float(np.mean(values)) if values else None)

            line.append(words(number) + (f" ({n})" if n < most else "") if n else "-")
        body.append(line)
    return table([title, *(DATASETS.get(d, d) for d in datasets)], body)


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
        f"Counted by `python -m benchmarks.evidence.multiply_adds` for {found['rows']} rows of "
        f"{DATASETS.get(found['dataset'], found['dataset'])}, with the epochs chosen: the same whatever else "
        "a machine does. CPU time above also holds what is not a product.",
        "",
        *table(head, body),
    ]


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
        "Made by `python -m benchmarks.evidence.fit_time`: the methods and one full fine-tune, a fifth of "
        "the deep ensemble, in turns of a few steps. Two measurements of a method may differ by a fifth.",
        "",
        *lines,
    ]


def summary(
    runs: Runs, rows: Size, methods: Sequence[str], times: Times | None = None
) -> list[str]:
    """Return the bars of several methods side by side."""
    found = {m: {b.name: b for b in bars(runs, rows, m, times=times)} for m in methods}
    found = {m: by_name for m, by_name in found.items() if by_name}
    # Goals count data sets: those of the method with the most runs are said.
    by_size = sorted(found.values(), key=lambda by_name: by_name["NLL"].n_cells)
    goals = {b.name: b.goal for by_name in by_size for b in by_name.values()}
    head = ["", "goal", *(f"{NAMES[m]} ({by['NLL'].n_cells} runs)" for m, by in found.items())]
    body = []
    for name, goal in goals.items():
        each = [by_name.get(name) for by_name in found.values()]
        words = ["-" if b is None else f"**{b.measured}**" if b.met else b.measured for b in each]
        body.append([name, goal, *(word.replace("mean difference ", "") for word in words)])
    return table(head, body) if body else []


# -- trials, and what all sizes, new data and the clean check add --------------------------------------


def trials_table(runs: Runs, rows: int | None, trials: Mapping[str, Row]) -> list[str]:
    """How many trials chose each method's settings, by method and data set; nothing without trials.

    Where another data set's trials chose, its name stands beside their number. A deep ensemble that made
    the best of a fine-tuned model's trials again has both numbers.
    """
    rested = {
        (d, m): run["tuning"] for (d, m, n, _), run in runs.items() if n == rows and "tuning" in run
    }
    if not rested:
        return []

    def cell(name: str | None, dataset: str) -> str:
        if name not in trials:
            return "-"
        found = trials[name]
        count = str(len(found["trials"]))
        owner = name.split("/")[0]
        first = f"{owner}/tuning-fine_tuned-n{found['rows']}"
        if found["method"] == "deep" and first in trials:
            count = f"{len(trials[first]['trials'])} + {count}"
        return count if owner == dataset else f"{count}, of {DATASETS.get(owner, owner)}"

    datasets = [d for d in DATASETS if any(of == d for of, _ in rested)]
    body = [
        [NAMES[method], *(cell(rested.get((d, method)), d) for d in datasets)]
        for method in NAMES
        if any(of == method for _, of in rested)
    ]
    return table(["trials", *(DATASETS[d] for d in datasets)], body)


METHOD, RIVAL = "sve_subspaces", "deep"
SHOWN = ("nll", "nll_scaled", "ece", "ece_scaled", "accuracy", "auroc_mi")
#: Times of each number of training rows.
TimesOf = Mapping[int | None, Times]


def sizes_with(runs: Runs) -> tuple[int | None, ...]:
    """Numbers of rows with runs of both methods, smallest first."""
    both = [{key[2] for key in runs if key[1] == name} for name in (METHOD, RIVAL)]
    return tuple(sorted(set.intersection(*both), key=lambda n: (n is None, n)))


def sizes_section(runs: Runs, times: Times | None = None) -> list[str]:
    """Bars over all sizes, and what each data set adds to them; nothing where there are not several."""
    sizes = sizes_with(runs)
    bars = summary(runs, sizes, [METHOD], times) if len(sizes) > 1 else []
    if not bars:
        return []
    gaps = gaps_table(runs, sizes, times)
    return ["## All sizes together", "", prose("all_sizes"), "", *bars, *gaps]


def gaps_table(runs: Runs, sizes: tuple[int | None, ...], times: Times | None = None) -> list[str]:
    """What each data set adds to the bars: the method's mean minus the rival's."""
    found = {metric: compare(runs, METHOD, RIVAL, sizes, metric) for metric in SHOWN}
    there = {d for c in found.values() if c is not None for d in c.datasets}
    names = [d for d in DATASETS if d in there]
    body = []
    for metric, c in found.items():
        if c is not None:
            gaps = [c.datasets[d][0] if d in c.datasets else None for d in names]
            words = ["-" if g is None else f"{g:+.4f}" for g in [*gaps, c.difference]]
            body.append([WORDS[metric], *words])
    for cpu, by in (times or {}).items():
        shares = [by.get(METHOD, {}).get(d) for d in names]
        known = [share for share in shares if share is not None]
        if known:
            means = [*shares, sum(known) / len(known)]
            words = ["-" if share is None else f"{share:.3f}" for share in means]
            body.append([f"time of fit, deep ensemble = 1 ({cpu})", *words])
    rows_of = {
        d: ", ".join(f"{n:,}" if n else "all" for n in sizes if _has(runs, d, n)) for d in names
    }
    body.append(["training rows", *(rows_of[d] for d in names), ""])
    head = [f"{NAMES[METHOD]} minus {NAMES[RIVAL]}", *(DATASETS[d] for d in names), "mean"]
    return table(head, body)


def _has(runs: Runs, dataset: str, rows: int | None) -> bool:
    return any(d == dataset for d, _ in cells_of(runs, METHOD, rows, "nll"))


def new_data_section(
    runs: Runs, rows: int, cells: list[Cell], times: Times | None = None
) -> list[str]:
    """Bars and means of the kinds of SVE and rivals that have runs there; nothing without runs.

    `cells` are those of the grid over new data.
    """
    bars = summary(runs, rows, LEADS, times)
    if not bars:
        return []
    lines = [
        f"## New data, {rows} training rows",
        "",
        prose("new_data"),
        "",
        *progress(runs, cells),
    ]
    lines += [*bars, *together(runs, rows)]
    for metric in ("nll_scaled", "ece_scaled", "auroc_mi"):
        lines += per_dataset(runs, rows, metric)
    return lines + fit_times(times or {})


def unseen_summary(runs: Runs, times_of: TimesOf) -> list[str]:
    """Table of the bars over all sizes that there are; nothing without runs of both methods."""
    sizes = sizes_with(runs)
    return summary(runs, sizes, [METHOD], _mean_times(sizes, times_of)) if sizes else []


def unseen_section(
    runs: Runs, cells: list[Cell], times_of: TimesOf, whole_of: TimesOf | None = None
) -> list[str]:
    """Bars over all sizes and of each, and what every data set adds; nothing without runs of both methods.

    `cells` are those of the grids; times are of fits in turns, and of whole fits, which no bar is about.
    """
    whole_of = whole_of or {}
    bars = unseen_summary(runs, times_of)
    if not bars:
        return []
    sizes = sizes_with(runs)
    lines = ["## The clean check", "", prose("clean_check"), "", *progress(runs, cells), *bars]
    lines += gaps_table(runs, sizes, _all_times(runs, sizes, times_of, whole_of))
    lines += [prose("clean_check_intervals"), "", *differences(runs, sizes, METHOD)]
    for rows in sizes if len(sizes) > 1 else ():
        lines += [f"### Of these, {rows or 'all'} training rows", ""]
        lines += summary(runs, rows, [METHOD], times_of.get(rows, {}))
        lines += gaps_table(runs, (rows,), _all_times(runs, (rows,), times_of, whole_of))
    return lines


def _mean_times(sizes: tuple[int | None, ...], times_of: TimesOf) -> Times:
    return mean_times([times_of.get(rows, {}) for rows in sizes])


def _all_times(
    runs: Runs, sizes: tuple[int | None, ...], times_of: TimesOf, whole_of: TimesOf
) -> Times:
    """Shares of time in turns, of whole fits, and what the runs themselves took of their rival's CPU time."""
    whole = {f"{cpu}, whole fits": by for cpu, by in _mean_times(sizes, whole_of).items()}
    cells = cells_of(runs, METHOD, sizes, "fit_ratio")
    of_runs = {
        dataset: float(np.mean([v for cell, v in cells.items() if cell[0] == dataset]))
        for dataset, _ in cells
    }
    in_turns = _mean_times(sizes, times_of)
    return {**in_turns, **whole, "CPU time of these runs": {METHOD: of_runs}}

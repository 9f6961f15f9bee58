"""The ablations' part of the evidence's page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from _ablation_variants import VARIANTS
from _evidence_score import unpack_rows
from _evidence_table import interval_of_means

__all__ = ["Cells", "ablation_section", "load_ablations"]

ORDER = [variant.name for variant in VARIANTS]
#: (data set, rows) -> variant -> seed -> cell
Cells = dict[tuple[str, int], dict[str, dict[int, dict[str, Any]]]]


def load_ablations(folder: Path) -> Cells:
    """Every finished cell."""
    found: Cells = {}
    for path in sorted(folder.glob("*/*-seed*.json")):
        cell = json.loads(path.read_text())
        group = found.setdefault((cell["dataset"], cell["rows"]), {})
        group.setdefault(cell["variant"], {})[cell["seed"]] = cell
    return found


def ablation_section(cells: Cells) -> list[str]:
    """Tables of every data set and size."""
    if not cells:
        return []
    lines = [
        "## Ablations",
        "",
        "SVE with one thing changed at a time, at the rates that the grid's trials chose for it, in "
        "bfloat16, made by `python benchmarks/ablations.py` and judged on 600 validation rows, not on test "
        "rows. Differences are to the base over the seeds that both have, with 95 % intervals that draw the "
        "rows: of one seed they do not show how much another start or drawing would change. "
        "`benchmarks/_ablation_variants.py` says what each variant is.",
        "",
    ]
    for rows in sorted({n for _, n in cells}):
        lines += _verdicts(cells, rows)
    for (dataset, rows), group in sorted(cells.items()):
        missing = [name for name in ORDER if name not in group]
        lines += [f"### {dataset}, {rows} training rows", ""]
        if missing:
            lines += [f"Not run yet: {', '.join(missing)}.", ""]
        lines += [
            "| variant | seeds | NLL | difference | 95 % interval | NLL, mean of logits | NLL, one member "
            "| ECE | accuracy | disagreement | mutual information |",
            "|" + " --- |" * 11,
        ]
        names = [name for name in ORDER if name in group] + sorted(set(group) - set(ORDER))
        lines += [_row(name, group) for name in names]
        lines += ["", *_members(group), ""]
    return lines


def _row(name: str, group: dict[str, dict[int, dict[str, Any]]]) -> str:
    cells, base = group[name], group.get("base", {})

    def mean(*path: str) -> str:
        values = []
        for cell in cells.values():
            value: Any = cell
            for key in path:
                value = value[key]
            values.append(value)
        return f"{np.mean(values):.3f}"

    found = None if name == "base" else _difference(cells, base)
    gap, interval = "-", "-"
    if found is not None:
        gap, interval = f"{found[0]:+.3f}", f"{found[1]:+.3f} to {found[2]:+.3f}"
    spread = ["-", "-"]
    if all(cell["diversity"] for cell in cells.values()):
        spread = [mean("diversity", name) for name in ("disagreement", "mutual_information")]
    columns = [
        name,
        " ".join(map(str, sorted(cells))),
        mean("scores", "nll"),
        gap,
        interval,
        mean("scores_mean_of_logits", "nll"),
        mean("nll_of_first_members", "1"),
        mean("scores", "ece"),
        mean("scores", "accuracy"),
        *spread,
    ]
    return f"| {' | '.join(columns)} |"


def _difference(cells: Any, base: Any) -> tuple[float, float, float] | None:
    """NLL minus the base's over the seeds that both have, with its 95 % interval; None without any."""
    both = sorted(cells.keys() & base.keys())
    if not both:
        return None
    rows = [[unpack_rows(c["rows_validation"])["nll"] for c in (cells[s], base[s])] for s in both]
    gaps = [a - b for a, b in rows]
    return float(np.mean([g.mean() for g in gaps])), *interval_of_means(gaps)


def _verdicts(cells: Cells, rows: int) -> list[str]:
    """Which variants beat the base, or lose to it, on every data set of this size."""
    groups = [group for (_, n), group in sorted(cells.items()) if n == rows]
    if len(groups) < 2:
        return []
    better, worse = [], []
    for name in ORDER:
        found = [_difference(group.get(name, {}), group.get("base", {})) for group in groups]
        if name == "base" or None in found:
            continue
        gaps = [f for f in found if f is not None]
        said = f"{name} ({', '.join(f'{f[0]:+.3f}' for f in gaps)})"
        if all(f[2] < 0 for f in gaps):
            better.append(said)
        if all(f[1] > 0 for f in gaps):
            worse.append(said)
    return [
        f"{rows} rows, differences in NLL whose interval leaves zero out on every data set. Better than the "
        f"base: {', '.join(better) or 'none'}. Worse: {', '.join(worse) or 'none'}.",
        "",
    ]


def _members(group: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    """NLL by the number of members, of the variant with the most."""
    name = max(group, key=lambda n: (max(c["n_members"] for c in group[n].values()), n == "base"))
    cells = list(group[name].values())
    counts = sorted(map(int, set.intersection(*(set(c["nll_of_first_members"]) for c in cells))))
    values = [np.mean([c["nll_of_first_members"][str(k)] for c in cells]) for k in counts]
    said = ", ".join(f"{k}: {value:.3f}" for k, value in zip(counts, values))
    return [f"NLL by number of members ({name}): {said}."]

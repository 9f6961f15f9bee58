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

    both = sorted(cells.keys() & base.keys())
    gap, interval = "-", "-"
    if name != "base" and both:
        rows = [
            [unpack_rows(c["rows_validation"])["nll"] for c in (cells[s], base[s])] for s in both
        ]
        difference = np.mean([a.mean() - b.mean() for a, b in rows])
        low, high = interval_of_means([a - b for a, b in rows])
        gap, interval = f"{difference:+.3f}", f"{low:+.3f} to {high:+.3f}"
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


def _members(group: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    """NLL by the number of members, of the variant with the most."""
    name = max(group, key=lambda n: (max(c["n_members"] for c in group[n].values()), n == "base"))
    cells = list(group[name].values())
    counts = sorted(map(int, set.intersection(*(set(c["nll_of_first_members"]) for c in cells))))
    values = [np.mean([c["nll_of_first_members"][str(k)] for c in cells]) for k in counts]
    said = ", ".join(f"{k}: {value:.3f}" for k, value in zip(counts, values))
    return [f"NLL by number of members ({name}): {said}."]

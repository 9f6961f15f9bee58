"""The evidence's page: how many trials chose each method's settings, and on which data set."""

import json
from pathlib import Path

from _evidence_page import DATASETS, NAMES, table
from _evidence_table import Runs

__all__ = ["trials_table"]


def trials_table(runs: Runs, rows: int | None, folder: Path | None) -> list[str]:
    """Lines of a table of trials by method and data set; none without files of trials.

    Where another data set's trials chose, its name stands beside their number. A deep ensemble that made
    the best of a fine-tuned model's trials again has both numbers.
    """
    rested = {
        (d, m): run["tuning"] for (d, m, n, _), run in runs.items() if n == rows and "tuning" in run
    }
    if folder is None or not rested:
        return []
    datasets = [d for d in DATASETS if any(of == d for of, _ in rested)]
    body = [
        [NAMES[method], *(_cell(rested.get((d, method)), d, folder) for d in datasets)]
        for method in NAMES
        if any(of == method for _, of in rested)
    ]
    return table(["trials", *(DATASETS[d] for d in datasets)], body)


def _cell(name: str | None, dataset: str, folder: Path) -> str:
    if name is None or not (folder / name).exists():
        return "-"
    found = json.loads((folder / name).read_text())
    count = str(len(found["trials"]))
    first = (folder / name).with_name(f"tuning-fine_tuned-n{found['rows']}.json")
    if found["method"] == "deep" and first.exists():
        count = f"{len(json.loads(first.read_text())['trials'])} + {count}"
    owner = name.split("/")[0]
    return count if owner == dataset else f"{count}, of {DATASETS.get(owner, owner)}"

"""The page's part on new data: does what the search of the kinds of SVE led to hold where it never looked?"""

from _evidence_page import NAMES, per_dataset, progress, summary
from _evidence_table import Runs
from _grid import Cell

__all__ = ["new_data_section"]

SHOWN = ("nll", "nll_scaled", "ece", "ece_scaled", "accuracy", "auroc_mi")
INTRODUCTION = """\
Kinds of SVE were looked for on the six data sets above. The settings of the last of them were fixed before
these were touched (`benchmarks/evidence_new_data.toml`): same trials, same seeds, rows that neither chose a
default nor were judged on before. Reviews of products and tweets were met above as shifted texts of other
rows, digits as foreign images."""


def new_data_section(runs: Runs, rows: int, cells: list[Cell]) -> list[str]:
    """Bars and means of the kinds of SVE and rivals that have runs there; nothing without runs.

    `cells` are those of the grid over new data.
    """
    methods = [name for name in NAMES if any(key[1] == name and key[2] == rows for key in runs)]
    leads = [name for name in methods if name.startswith("sve_")]
    if not leads:
        return []
    lines = [
        f"## New data, {rows} training rows",
        "",
        INTRODUCTION,
        "",
        *progress(runs, cells),
        *summary(runs, rows, leads),
    ]
    for metric in SHOWN:
        lines += per_dataset(runs, rows, metric)
    return lines

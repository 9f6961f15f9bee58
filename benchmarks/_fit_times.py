"""Times of fits in turns as shares of the deep ensemble's, of each kind of CPU they were measured on.

How long a full fine-tune takes beside a fit that trains few parameters depends on the machine, so
measurements of one CPU do not replace another's.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FitShares", "Times", "fit_time_name", "load_times", "mean_times", "with_measured"]

#: By method and data set: time of a fit as a share of the deep ensemble's.
FitShares = dict[str, dict[str, float]]
#: Those by kind of CPU.
Times = dict[str, FitShares]
Entry = Mapping[str, Any]


def fit_time_name(folder: str, rows: int | None, *, whole: bool = False) -> str:
    """Name of the file, without its ending, of the times with what so many rows chose in a grid.

    Of fits in turns of a few steps, or of `whole` fits, one after the other.
    """
    size = "" if rows == 200 else f"_n{rows or 'all'}"
    return f"{folder}_fit_time{size}" + ("_whole" if whole else "")


def cpu_of(entry: Entry) -> str:
    """Kind of CPU that an entry was measured on."""
    told: str = entry["provenance"]["hardware"]["cpu"]
    return told.replace("(R)", "").replace("Processor", "").strip()


def entries_of(entry: Entry | None) -> list[Entry]:
    """Split what is kept of a data set by CPU, the latest first."""
    return [] if entry is None else [entry, *entry.get("elsewhere", [])]


def with_measured(before: Entry | None, measured: Entry) -> dict[str, Any]:
    """Add a measurement; what was measured before stays, on other CPUs only with the same settings."""
    same: dict[str, Any] = {}
    others = []
    for entry in entries_of(before):
        if cpu_of(entry) == cpu_of(measured):
            same |= entry["methods"]
        else:
            kept = {
                method: numbers
                for method, numbers in entry["methods"].items()
                if _same_settings(numbers, measured["methods"].get(method))
            }
            bare = {k: v for k, v in entry.items() if k != "elsewhere"}
            others += [{**bare, "methods": kept}] if kept else []
    made = {**measured, "methods": {**same, **measured["methods"]}}
    return {**made, "elsewhere": others} if others else made


def _same_settings(before: Entry, measured: Entry | None) -> bool:
    """Whether a method's fits were alike; those measured before all settings were told go by the chosen."""
    if measured is None:
        return True
    told = "settings" if "settings" in before else "chosen"
    return bool(before.get(told) == measured.get(told))


def load_times(path: Path) -> Times:
    """Read what `fit_time.py` measured, methods in turns; empty without the file."""
    times: Times = {}
    datasets = json.loads(path.read_text())["datasets"] if path.exists() else {}
    for dataset, kept in datasets.items():
        for entry in entries_of(kept):
            shares = times.setdefault(cpu_of(entry), {})
            for method, numbers in entry["methods"].items():
                shares.setdefault(method, {})[dataset] = numbers["share_of_deep"]
    return dict(sorted(times.items()))


def mean_times(of_sizes: Sequence[Times]) -> Times:
    """Of each method and data set the mean over its sizes, on CPUs that measured something of every size."""
    everywhere = [cpu for cpu in of_sizes[0] if all(cpu in t for t in of_sizes)] if of_sizes else []
    mean: Times = {}
    for cpu in everywhere:
        each = [times[cpu] for times in of_sizes]
        pairs = [(method, d) for shares in each for method in shares for d in shares[method]]
        mean[cpu] = {}
        for method, d in dict.fromkeys(pairs):
            known = [shares[method][d] for shares in each if d in shares.get(method, {})]
            mean[cpu].setdefault(method, {})[d] = sum(known) / len(known)
    return mean

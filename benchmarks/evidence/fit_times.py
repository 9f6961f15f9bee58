"""Times of fits in turns as shares of the deep ensemble's, of each kind of CPU they were measured on.

How long a full fine-tune takes beside a fit that trains few parameters depends on the machine, so
measurements of one CPU do not replace another's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.results import Row, Table

__all__ = ["Times", "cpu_of", "load_times", "mean_times", "put_times"]

#: Kind of CPU -> method -> data set -> time of a fit as a share of the deep ensemble's.
Times = dict[str, dict[str, dict[str, float]]]
KEYS = ("grid", "dataset", "tuned_with", "whole")


def cpu_of(run: Mapping[str, Any]) -> str:
    """Kind of CPU that a run was made on."""
    cpu: str = run["provenance"]["hardware"]["cpu"]
    return cpu.replace("(R)", "").replace("Processor", "").strip()


def put_times(table: Table, run: Row) -> None:
    """Add a measurement: its methods in place of older ones, on other CPUs only if settings have changed."""
    size = f"n{run['tuned_with'] or 'all'}" + "-whole" * run["whole"]
    start = f"{run['grid']}/{run['dataset']}-{size}-"
    name = start + cpu_of(run).replace(" ", "_")
    for other, before in table.rows().items():
        if [before[key] for key in KEYS] == [run[key] for key in KEYS] and other != name:
            kept = {
                method: numbers
                for method, numbers in before["methods"].items()
                if _same_settings(numbers, run["methods"].get(method))
            }
            if kept != before["methods"]:
                table.put(other, {**before, "methods": kept})
    before = table.get(name) or {"methods": {}}
    table.put(name, {**run, "methods": {**before["methods"], **run["methods"]}})


def _same_settings(before: Mapping[str, Any], measured: Mapping[str, Any] | None) -> bool:
    """Whether a method's fits were alike; those measured before all settings were kept go by the chosen."""
    if measured is None:
        return True
    key = "settings" if "settings" in before else "chosen"
    return bool(before.get(key) == measured.get(key))


def load_times(table: Table, grid: str, rows: int | None, *, whole: bool = False) -> Times:
    """Times of fits with what so many rows chose in a grid: in turns of a few steps, or of `whole` fits."""
    times: Times = {}
    for run in table.rows().values():
        if (run["grid"], run["tuned_with"], run["whole"]) == (grid, rows, whole):
            shares = times.setdefault(cpu_of(run), {})
            for method, numbers in run["methods"].items():
                shares.setdefault(method, {})[run["dataset"]] = numbers["share_of_deep"]
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

"""From the runs to comparisons: means, paired differences with intervals, wins and losses, targets met."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from benchmarks.common.results import Table
from benchmarks.evidence.fit_times import Times
from benchmarks.evidence.score import unpack_rows

__all__ = ["Bar", "Comparison", "Runs", "Size", "bars", "cells_of", "compare", "load_runs"]

N_RESAMPLES = 2000
#: What rounding may leave of equal means.
TINY = 1e-9
#: Metric -> whether less is better, and where it is in a run's JSON.
METRICS: dict[str, tuple[bool, Callable[[dict[str, Any]], Any]]] = {
    "accuracy": (False, lambda run: run["scores"]["test"]["before"]["accuracy"]),
    "nll": (True, lambda run: run["scores"]["test"]["before"]["nll"]),
    "nll_scaled": (True, lambda run: run["scores"]["test"]["after"]["nll"]),
    "ece": (True, lambda run: run["scores"]["test"]["before"]["ece"]),
    "ece_scaled": (True, lambda run: run["scores"]["test"]["after"]["ece"]),
    "brier": (True, lambda run: run["scores"]["test"]["before"]["brier"]),
    "aurc": (True, lambda run: run["scores"]["test"]["before"]["aurc"]),
    "auroc_mi": (False, lambda run: _foreign(run, "mutual_information", "auroc")),
    "auroc_entropy": (False, lambda run: _foreign(run, "entropy", "auroc")),
    "fpr95_mi": (True, lambda run: _foreign(run, "mutual_information", "fpr95")),
    "fpr95_entropy": (True, lambda run: _foreign(run, "entropy", "fpr95")),
    "disagreement": (False, lambda run: (run["scores"]["diversity"] or {}).get("disagreement")),
    "pairwise_kl": (False, lambda run: (run["scores"]["diversity"] or {}).get("pairwise_kl")),
    "fit_ratio": (True, lambda run: run.get("relative", {}).get("fit")),
    "predict_ratio": (True, lambda run: run.get("relative", {}).get("predict_test")),
    "peak_megabytes": (True, lambda run: run["cost"]["fit"]["peak_megabytes"]),
    "trainable": (True, lambda run: run["cost"]["trainable_without_heads"]),
    "trainable_percent": (
        True,
        lambda run: (
            100 * run["cost"]["trainable_without_heads"] / run["cost"]["backbone_parameters"]
        ),
    ),
    "saved_bytes": (True, lambda run: run["cost"].get("saved_bytes")),
    "saved_percent": (True, lambda run: _saved_percent(run)),
}

Runs = dict[tuple[str, str, int | None, int], dict[str, Any]]
#: A number of training rows (None: all), or several, whose runs are then averaged within each data set.
Size = int | None | tuple[int | None, ...]


def _foreign(run: dict[str, Any], score: str, which: str) -> float | None:
    found = [part[score] for part in run["scores"].get("foreign", {}).values()]
    if not found or found[0] is None:
        return None
    return float(np.mean([part[which] for part in found]))


def _saved_percent(run: dict[str, Any]) -> float | None:
    """Of one model in float32."""
    size = run["cost"].get("saved_bytes")
    return None if size is None else 100 * size / (4 * run["cost"]["backbone_parameters"])


def load_runs(table: Table, base: str = "deep", tuned: Table | None = None) -> Runs:
    """(data set, method, rows, seed) -> run, of every finished run with the settings that trials chose.

    A run made before the trials changed their mind is left out: it is still to be made again. `tuned` holds
    the trials, if they are not in the same table. Seconds of different hours are not comparable on a machine
    with other work: "relative" is their ratio to those of the deep ensemble of the same data set, size and
    seed, which ran next to it.
    """
    trials = (tuned or table).rows()
    runs: Runs = {}
    for name, run in sorted(table.rows().items()):
        if "-seed" in name and (
            "tuning" not in run or run["chosen"] == trials[run["tuning"]]["chosen"]
        ):
            runs[run["dataset"], run["method"], run["rows"], run["seed"]] = dict(run)
    for (dataset, _, rows, seed), run in runs.items():
        other = runs.get((dataset, base, rows, seed))
        if other is not None:
            run["relative"] = {
                part: run["cost"][part]["cpu_seconds"] / other["cost"][part]["cpu_seconds"]
                for part in ("fit", "predict_test")
                if other["cost"][part]["cpu_seconds"] > 0
            }
    return runs


def value_of(run: dict[str, Any], metric: str) -> float | None:
    """Read one number off a run; None where the method has no such thing."""
    found = METRICS[metric][1](run)
    return None if found is None else float(found)


def cells_of(runs: Runs, method: str, rows: Size, metric: str) -> dict[tuple[str, Any], float]:
    """(data set, seed) -> value; of several sizes (data set, (rows, seed)) -> value."""
    several = isinstance(rows, tuple)
    values = {
        (dataset, (n, seed) if several else seed): value_of(run, metric)
        for (dataset, name, n, seed), run in runs.items()
        if name == method and (n in rows if several else n == rows)
    }
    return {cell: value for cell, value in values.items() if value is not None}


def mean_over_datasets(cells: dict[tuple[str, Any], float]) -> float | None:
    """Mean over data sets of their means over seeds (and sizes)."""
    if not cells:
        return None
    names = sorted({dataset for dataset, _ in cells})  # a sum must not change its order
    per_dataset = [np.mean([v for (d, _), v in cells.items() if d == name]) for name in names]
    return float(np.mean(per_dataset))


@dataclass(frozen=True)
class Comparison:
    """One method against another on the cells both have.

    Attributes
    ----------
    metric, method, rival : str
    n_cells : int
        Pairs of runs: data sets times seeds.
    difference : float
        Mean over data sets of method - rival.
    low, high : float
        95 % interval: cells drawn with replacement within their data set (data sets are fixed). NaN
        where a data set has one cell: nothing tells how much another seed would change.
    p_value : float
        Wilcoxon's signed-rank test over the cells, two-sided.
    datasets : dict of str to (difference, low, high)
        Per data set, mean over seeds; the interval draws the test rows, the same for both methods and
        for every seed, or is NaN where the metric is no mean over test rows.
    """

    metric: str
    method: str
    rival: str
    n_cells: int
    difference: float
    low: float
    high: float
    p_value: float
    datasets: dict[str, tuple[float, float, float]]

    @property
    def verdict(self) -> str:
        """For the method: "win", "loss" or, where the interval holds 0, "tie"; "-" without interval."""
        return (
            "-"
            if np.isnan(self.low)
            else verdict(self.metric, self.difference, self.low, self.high)
        )

    def count(self, outcome: str) -> int:
        """Count the data sets with this outcome."""
        return sum(verdict(self.metric, *found) == outcome for found in self.datasets.values())

    @property
    def at_or_better(self) -> int:
        """Data sets on which the method's mean is at least as good, whatever the interval."""
        sign = 1 if METRICS[self.metric][0] else -1
        return sum(sign * found[0] <= TINY for found in self.datasets.values())


def verdict(metric: str, difference: float, low: float, high: float) -> str:
    """Say who is better, if the interval of the difference leaves 0 out."""
    if not (low > TINY or high < -TINY):
        return "tie"
    return "win" if (difference < 0) == METRICS[metric][0] else "loss"


def compare(
    runs: Runs, method: str, rival: str, rows: Size, metric: str, seed: int = 0
) -> Comparison | None:
    """Compare two methods on the cells both have; None if there is none."""
    ours, theirs = (cells_of(runs, name, rows, metric) for name in (method, rival))
    cells = sorted(ours.keys() & theirs.keys())
    if not cells:
        return None
    gaps = {cell: ours[cell] - theirs[cell] for cell in cells}
    names = sorted({dataset for dataset, _ in cells})
    by_name = {name: np.array([gaps[c] for c in cells if c[0] == name]) for name in names}
    rng = np.random.default_rng(seed)
    draws = np.mean(
        [rng.choice(g, (N_RESAMPLES, len(g))).mean(axis=1) for g in by_name.values()], axis=0
    )
    values = np.array(list(gaps.values()))
    p = 1.0 if not values.any() else float(wilcoxon(values).pvalue)
    low, high = np.quantile(draws, [0.025, 0.975])
    if min(map(len, by_name.values())) == 1:
        low = high = np.nan
    datasets = {}
    for name, g in by_name.items():
        drawings = [s if isinstance(rows, tuple) else (rows, s) for d, s in cells if d == name]
        pairs = [(runs[name, method, *d], runs[name, rival, *d]) for d in drawings]
        datasets[name] = (float(g.mean()), *_row_interval(pairs, metric))
    return Comparison(
        metric, method, rival, len(cells), mean_over_datasets(gaps) or 0.0,
        float(low), float(high), p, datasets,
    )  # fmt: skip


# -- rows of one data set ----------------------------------------------------------------------------


def _row_interval(pairs: Any, metric: str) -> tuple[float, float]:
    """95 % interval of the difference's mean over seeds, test rows drawn alike for all."""
    if metric.removesuffix("_scaled") not in STATISTICS:
        return float("nan"), float("nan")
    drawn = np.mean([_drawn(a, metric) - _drawn(b, metric) for a, b in pairs], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _drawn(run: dict[str, Any], metric: str) -> np.ndarray:
    """The metric of each resample of a run's test rows; kept with the run, which has many rivals."""
    kept = run.setdefault("drawn", {})
    if metric not in kept:
        when = "after" if metric.endswith("_scaled") else "before"
        rows = unpack_rows(run["scores"]["rows"][when])
        kept[metric] = STATISTICS[metric.removesuffix("_scaled")](
            rows, _resamples(len(rows["nll"]))
        )
    return kept[metric]


@cache
def _resamples(n: int) -> np.ndarray:
    """How often each of n rows is drawn, (resamples, n); the same for all comparisons."""
    return (
        np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), N_RESAMPLES).astype(np.float64)
    )


def interval_of_means(differences: list[np.ndarray]) -> tuple[float, float]:
    """95 % interval of the mean over seeds of rows' mean differences; each seed has rows of its own."""
    drawn = [
        np.roll(_resamples(len(gaps)), k, axis=0) @ gaps / len(gaps)
        for k, gaps in enumerate(differences)
    ]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return float(low), float(high)


def _accuracy(rows: dict[str, np.ndarray], counts: np.ndarray) -> np.ndarray:
    return counts @ rows["correct"] / counts.sum(axis=1)


def _mean_nll(rows: dict[str, np.ndarray], counts: np.ndarray) -> np.ndarray:
    return counts @ rows["nll"] / counts.sum(axis=1)


def _ece(rows: dict[str, np.ndarray], counts: np.ndarray, n_bins: int = 15) -> np.ndarray:
    """Expected calibration error of each resample; bins as in sksve.metrics: (low, high]."""
    bins = np.clip(np.ceil(rows["confidence"] * n_bins).astype(int) - 1, 0, n_bins - 1)
    inside = (bins[:, None] == np.arange(n_bins)).astype(np.float64)
    gaps = counts @ (inside * (rows["confidence"] - rows["correct"])[:, None])
    return np.abs(gaps).sum(axis=1) / counts.sum(axis=1)


STATISTICS = {"accuracy": _accuracy, "nll": _mean_nll, "ece": _ece}


# -- the bars of the issue ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """One target, what was measured on how many runs or pairs of runs, and whether it is met so far."""

    name: str
    goal: str
    measured: str
    n_cells: int
    met: bool


def bars(
    runs: Runs,
    rows: Size,
    method: str = "sve",
    rival: str = "deep",
    times: Times | None = None,
) -> list[Bar]:
    """Hold the method against the deep ensemble; bars whose runs are missing are left out."""
    found = []
    words = {
        "nll": "NLL", "nll_scaled": "NLL, temperature-scaled",
        "ece": "ECE", "ece_scaled": "ECE, temperature-scaled",
    }  # fmt: skip
    for metric, name in words.items():
        c = compare(runs, method, rival, rows, metric)
        if c is None:
            continue
        n = len(c.datasets)
        need = -(-2 * n // 3)  # 4 of 6
        goal = f"at or below the deep ensemble's on {need} of {n} data sets and on average"
        measured = f"{c.at_or_better} of {n}; mean difference {c.difference:+.4f}"
        met = c.at_or_better >= need and c.difference <= TINY
        found.append(Bar(name, goal, measured, c.n_cells, met))
    c = compare(runs, method, rival, rows, "accuracy")
    if c is not None:
        points = f"{100 * c.difference:+.1f} points"
        met = c.difference >= -0.003 - TINY
        found.append(Bar("accuracy", "at most 0.3 points below", points, c.n_cells, met))
    c = compare(runs, method, rival, rows, "auroc_mi")
    if c is not None:
        name, goal = "OOD AUROC by mutual information", "at least the deep ensemble's"
        found.append(Bar(name, goal, f"{c.difference:+.3f}", c.n_cells, c.difference >= -TINY))
    shares = {cpu: by[method] for cpu, by in (times or {}).items() if method in by}
    if shares:
        goal = "1/3 of the deep ensemble's or less"
        means = {cpu: float(np.mean(list(by.values()))) for cpu, by in shares.items()}
        measured = ", ".join(f"{share:.2f} ({cpu})" for cpu, share in means.items())
        n = max(map(len, shares.values()))
        met = max(means.values()) <= 1 / 3
        found.append(Bar("time of fit, in turns", goal, measured, n, met))
    limits = {"trainable_percent": ("trainable parameters, heads aside", 1.0, "of the backbone's"),
              "saved_percent": ("saved size", 2.0, "of one model's")}  # fmt: skip
    for metric, (name, limit, of) in limits.items():
        values = list(cells_of(runs, method, rows, metric).values())
        if values:
            goal, most = f"under {limit:g} % {of}", max(values)
            found.append(Bar(name, goal, f"{most:.2f} %", len(values), most < limit))
    return found

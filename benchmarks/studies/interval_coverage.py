"""How often do the intervals of sksve.metrics hold the true value? Simulated, for docs/guide/intervals.md.

    python -m benchmarks.studies.interval_coverage [--draws N] [--resamples N] [--report]

Labels are drawn from known probabilities, so that the true value of every metric is known from half a million
rows. Writes results/interval_coverage.jsonl: the share of draws whose 95 % interval holds it, and the mean
width, for every metric, accuracy, number of rows and way of drawing.
--report prints the guide's table.
"""

import argparse
import itertools
import time
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from sklearn.metrics import accuracy_score

from benchmarks.common.results import read, write
from sksve import metrics

METRICS = {
    "accuracy": accuracy_score,
    "selective_accuracy": metrics.selective_accuracy,
    "negative_log_likelihood": metrics.negative_log_likelihood,
    "brier_score": metrics.brier_score,
    "aurc": metrics.aurc,
}
ACCURACIES = (0.5, 0.7, 0.9, 0.95, 0.97, 0.99, 0.995)
SIZES = (50, 100, 200, 500, 2000)


class Way(NamedTuple):
    """How rows are drawn."""

    classes: int = 2
    rare: float = 0.0  # log-odds by which every class but the first is rarer
    sharpen: float = 1.0  # factor on the reported logits; above 1: overconfident
    wrong_labels: float = 0.0
    weights: str = ""  # "independent", or of the "class"


WAYS = {
    "two classes": Way(),
    "five classes": Way(classes=5),
    "two, 1 to 9": Way(rare=2.2),
    "five, unbalanced": Way(classes=5, rare=2.0),
    "overconfident": Way(classes=3, sharpen=2.0),
    "2 % wrong labels": Way(classes=3, wrong_labels=0.02),
    "weights": Way(classes=3, weights="independent"),
    "weights by class": Way(classes=3, rare=1.0, weights="class"),
}


class Rows(NamedTuple):
    """Labels, reported probabilities and weights."""

    y: np.ndarray
    p: np.ndarray
    weight: np.ndarray | None


def logits(n, way, scale, rng):
    z = scale * rng.standard_normal((n, way.classes))
    z[:, 1:] -= way.rare
    return z


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def scale_of(way, accuracy):
    """Spread of the logits that gives the accuracy (before labels are spoilt); None if there is none."""

    def excess(log_scale):
        p = softmax(logits(100_000, way, np.exp(log_scale), np.random.default_rng(0)))
        return p.max(axis=1).mean() - accuracy

    low, high = -6.0, 8.0
    if excess(low) > 0:
        return None
    return float(np.exp(brentq(excess, low, high, xtol=1e-4)))


def draw(n, way, scale, rng):
    """Rows whose labels follow the softmax of the logits."""
    z = logits(n, way, scale, rng)
    q = softmax(z)
    y = (rng.random((n, 1)) > np.cumsum(q[:, :-1], axis=1)).sum(axis=1)
    if way.wrong_labels:
        spoilt = rng.random(n) < way.wrong_labels
        y = np.where(spoilt, (y + rng.integers(1, way.classes, n)) % way.classes, y)
    weight = None
    if way.weights == "independent":
        weight = rng.uniform(0.2, 1.8, n)
    elif way.weights == "class":
        weight = np.where(y == 0, 0.7, 1.6) * rng.uniform(0.8, 1.2, n)
    return Rows(y, softmax(way.sharpen * z), weight)


def coverage(
    way, accuracy, n, *, draws, n_resamples, seed=0, names=tuple(METRICS), truth_rows=500_000
):
    """Share of intervals that hold the true value, and their mean width, by metric."""
    scale = scale_of(way, accuracy)
    if scale is None:
        return None
    rng = np.random.default_rng([seed, n, round(1000 * accuracy)])
    many = draw(truth_rows, way, scale, rng)
    labels = np.arange(way.classes)
    right = many.p.argmax(axis=1) == many.y
    truth = {"accuracy": float(np.average(right, weights=many.weight))}
    for name in set(names) - {"accuracy"}:
        truth[name] = METRICS[name](many.y, many.p, labels=labels, sample_weight=many.weight)
    found = {name: [] for name in names}
    for _ in range(draws):
        rows = draw(n, way, scale, rng)
        for name in names:
            found[name].append(
                metrics.bootstrap_interval(
                    METRICS[name], rows.y, rows.p, labels=labels, sample_weight=rows.weight,
                    n_resamples=n_resamples, random_state=rng,
                )
            )  # fmt: skip
    result = {}
    for name, intervals in found.items():
        low, high = np.array(intervals).T
        held = float(((low <= truth[name]) & (truth[name] <= high)).mean())
        below = float((high < truth[name]).mean())
        result[name] = {
            "coverage": held, "too_low": below, "width": float((high - low).mean()), "truth": truth[name],
        }  # fmt: skip
    return result


def table():
    """The guide's table: of each number of rows and true accuracy, the lowest coverage of all ways."""
    found = read("interval_coverage")
    lines = [
        "| rows | true accuracy | ways | accuracy | selective accuracy | NLL | Brier | AURC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n in SIZES:
        for accuracy in ACCURACIES:
            cells = [
                c["metrics"] for c in found["cells"] if (c["n"], c["accuracy"]) == (n, accuracy)
            ]
            if cells:
                lowest = (min(c[name]["coverage"] for c in cells) for name in METRICS)
                shown = " | ".join(f"{value:.3f}" for value in lowest)
                lines.append(f"| {n:,} | {accuracy:g} | {len(cells)} | {shown} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--report", action="store_true", help="print the table of the results")
    args = parser.parse_args()
    if args.report:
        print(table())
        return
    cells, started = [], time.process_time()
    for n, name, accuracy in itertools.product(SIZES, WAYS, ACCURACIES):
        draws = args.draws
        found = coverage(WAYS[name], accuracy, n, draws=draws, n_resamples=args.resamples)
        if found is None:  # no spread of the logits gives so low an accuracy
            continue
        cells.append({"way": name, "accuracy": accuracy, "n": n, "draws": draws, "metrics": found})
        shown = "  ".join(f"{metric[:9]} {v['coverage']:.3f}" for metric, v in found.items())
        print(f"{n:5} {name:18} {accuracy:.3f}  {shown}", flush=True)
        seconds = time.process_time() - started
        write(  # after each cell: a run that is ended keeps what it has
            "interval_coverage",
            {"n_resamples": args.resamples, "cpu_seconds": seconds, "cells": cells},
        )


if __name__ == "__main__":
    main()

"""How long a run of the evidence's grid will take, in CPU seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["guess", "seconds_of_run"]


def seconds_of_run(
    config: dict[str, Any], folder: Path, method: str, rows: int | None, epochs: float
) -> float:
    """Median of the like runs in a data set's folder, else a guess from counted tokens."""
    dataset, judged = folder.name, _judged(config, folder.name)
    like = folder.glob(f"{method}-n{rows or 'all'}-seed*.json")
    costs = [json.loads(path.read_text())["cost"] for path in like]
    if costs:
        fits = [c["fit"]["cpu_seconds"] for c in costs]
        predicts = [c["predict_test"]["cpu_seconds"] for c in costs]
        return float(np.median(fits) + judged * np.median(predicts))
    return guess(config, dataset, method, rows or 5000, epochs, judged=judged)


def guess(
    config: dict[str, Any],
    dataset: str,
    method: str,
    rows: int,
    epochs: float,
    *,
    judged: float,
    members: int = 0,
) -> float:
    """Guess from counted tokens; `judged` are the rows predicted, in units of test rows."""
    spec = config["methods"][method]
    row = config["datasets"][dataset].get("tokens", 30) * 1.1e-3  # s a row, step and member
    members = members or (config["members"] if spec.get("members") else 1)
    if spec["class"] == "LinearProbeClassifier":
        epochs, members = 0.3, 1
    draws = members
    if spec["class"] == "MCDropoutClassifier":
        draws = spec["settings"]["n_samples"]
    test = config["rows"]["test"] or 5000
    return float(row * (rows * epochs * members + judged * test * draws / 3) + 3)


def _judged(config: dict[str, Any], dataset: str) -> float:
    """Rows predicted, in units of test rows."""
    counts = config["rows"]
    n_sets = {"movie_reviews": 3, "credit": 0}.get(dataset, 1)
    test = counts["test"] or 5000
    return float(1 + (counts["validation"] + n_sets * (counts["foreign"] or 5000)) / test)

"""What does `freeze_out` save of a fit's time, and what does it do to its likelihood?

    python -m benchmarks.evidence.freeze_out # about ten minutes on one core

Random subspaces, two thirds of the blocks in three epochs, with the heads' rates and pulls that the
evidence's trials chose with 200 rows, with `freeze_out` and without. Time: fits of one drawing in turns of
a few steps, set-up included. Likelihood: fits of three members on three drawings of 200 rows, each judged
by 800 other rows of the training part, before and after a temperature fitted on half of these and judged on
the other half. Writes results/freeze_out.jsonl.
"""

import argparse
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks.common.results import RESULTS, write
from benchmarks.common.timing import interleave, interleaved_ratios, machine
from benchmarks.evidence.data import load_task
from benchmarks.evidence.fit_time import fit_in_turns
from benchmarks.evidence.grid import read_config
from benchmarks.evidence.methods import fit_and_predict, warm_up
from benchmarks.evidence.run import Evidence
from sksve import TruncationWarning
from sksve.calibration import TemperatureScaling
from sksve.metrics import expected_calibration_error, negative_log_likelihood

METHOD = "sve_subspaces"
#: Epochs and blocks alike on all data sets; rates and pulls are those chosen for each.
ALIKE = {"adapt_blocks": 4, "rank": 42, "off_diagonals": 41, "max_epochs": 3, "lr": 8e-3}


def judged(y: np.ndarray, proba: np.ndarray, names: np.ndarray) -> dict[str, float]:
    """NLL and ECE of all rows, and the NLL of the second half at the first half's temperature."""
    half = len(y) // 2
    scaler = TemperatureScaling().fit(proba[:half], y[:half], labels=names)
    after = scaler.predict_proba(proba[half:])
    return {
        "nll": float(negative_log_likelihood(y, proba, labels=names)),
        "nll_scaled": float(negative_log_likelihood(y[half:], after, labels=names)),
        "ece": float(expected_calibration_error(y, proba, labels=names)),
        "accuracy": float((proba.argmax(axis=1) == y).mean()),
    }


def likelihoods(
    grid: Evidence, dataset: str, shares: list[float | None], seeds: list[int]
) -> dict[str, Any]:
    """What fits with each share say of held-out rows, by share and drawing."""
    found: dict[str, Any] = {str(share): [] for share in shares}
    for seed in seeds:
        task = load_task(dataset, rows=200, seed=seed, n_validation=800, n_test=1, n_foreign=1)
        for share in shares:
            settings = {**(grid.tuning.chosen(dataset, METHOD) or {}), **ALIKE}
            clf = grid.classifier(dataset, METHOD, settings | {"freeze_out": share}, seed, 3)
            fit = fit_and_predict(clf, task, ["validation"])
            proba = fit.probabilities["validation"].mean(axis=0)
            found[str(share)].append(
                judged(task.validation.y, proba, np.arange(task.n_classes))
                | {"cpu_seconds": fit.cost["fit"]["cpu_seconds"]}
            )
            print(dataset, seed, share, found[str(share)][-1], flush=True)
    return found


def times(grid: Evidence, dataset: str, shares: list[float | None], members: int) -> dict[str, Any]:
    """Seconds of fits with each share, in turns."""
    task = grid.task(dataset, 200, 0)
    contenders = {}
    for share in shares:
        settings = {**(grid.tuning.chosen(dataset, METHOD) or {}), **ALIKE, "freeze_out": share}
        clf = grid.classifier(dataset, METHOD, settings, 0, members)
        warm_up(clf, task)
        contenders[str(share)] = fit_in_turns(clf, task)
    return interleaved_ratios(interleave(contenders), "None")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["movie_reviews", "newsgroups"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", TruncationWarning)
    grid = Evidence(read_config("grid"), RESULTS)
    shares = [None, *args.shares]
    seconds = times(grid, args.datasets[0], shares, 5)
    for share, numbers in seconds.items():
        print(f"{share:5s} {numbers['ratio_to_None']:.3f} of the time without")
    judged_on = {name: likelihoods(grid, name, shares, args.seeds) for name in args.datasets}
    mean = {
        str(share): {
            key: float(np.mean([run[key] for of in judged_on.values() for run in of[str(share)]]))
            for key in ("nll", "nll_scaled", "ece", "accuracy")
        }
        for share in shares
    }
    for share, numbers in mean.items():
        print(f"{share:5s}", {key: round(value, 4) for key, value in numbers.items()})
    content = {"alike": ALIKE, "times": seconds, "mean": mean, "by_drawing": judged_on}
    question = "What does freeze_out save of a fit's time, and what does it do to its likelihood?"
    write("freeze_out", {"question": question, **machine("cpu"), **content})


if __name__ == "__main__":
    main()

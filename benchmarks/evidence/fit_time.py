"""How long does a fit of each method take beside the deep ensemble's, in turns of a few steps?

    python -m benchmarks.evidence.fit_time   # all data sets: 2 to 5 minutes each
    python -m benchmarks.evidence.fit_time --datasets credit --methods sve   # others stay as they are
    python -m benchmarks.evidence.fit_time --config more_rows --methods sve_subspaces --rows 1000
    python -m benchmarks.evidence.fit_time --methods sve_subspaces --whole   # whole fits, by CPU time

Runs of the grid are made in different hours of a machine whose speed changes, so their CPU times say little
about a ratio. Here the methods' ensembles and one fully fine-tuned model, all with the rates and epochs that
the grid's trials chose and on its rows of seed 0, change places every few training steps, set-up included
(not the decomposition of the weights, which is cached). A deep ensemble is that model times its members,
which it trains one after the other. Wall time, one thread. Steps take as long with few rows as with many, so
that `--rows` need not be as many as chose the settings. Changing places costs whoever keeps much in a CPU's
caches: with `--whole` fits are whole, one after the other, each twice, by the CPU time of the process. Adds
to results/fit_time.jsonl; what was measured on another kind of CPU with the same settings stays beside it.
"""

import argparse
import functools
import time
import warnings
from typing import Any

import torch

from benchmarks.common.results import RESULTS, Table, provenance
from benchmarks.common.timing import (
    AfterStep,
    alternate,
    interleave,
    interleaved_ratios,
    summed_ratios,
)
from benchmarks.evidence.fit_times import put_times
from benchmarks.evidence.grid import read_config
from benchmarks.evidence.methods import warm_up
from benchmarks.evidence.page import LEADS
from benchmarks.evidence.run import Evidence
from sksve import TruncationWarning

BASELINE = "fine_tuned"
ROUNDS = 2


def fit_in_turns(clf: Any, task: Any) -> Any:
    """A contender of `interleave`: fit on the task's training rows."""

    def fit(after_step: Any) -> None:
        clf.set_params(training__callbacks=[("turn", AfterStep(after_step))]).fit(
            task.train.X, task.train.y
        )

    return fit


def measure(
    grid: Evidence, dataset: str, methods: list[str], rows: int, *, whole: bool = False
) -> dict[str, Any]:
    """Seconds of each method's fit, and as a share of as many full fine-tunes as it has members."""
    task = grid.task(dataset, rows, 0)
    contenders, members, settings = {}, {}, {}
    for method in [BASELINE, *methods]:
        spec = grid.config["methods"][method]
        chosen = grid.tuning.chosen(dataset, method)
        members[method] = grid.config["members"] if spec.get("members") else 1
        settings[method] = chosen
        clf = grid.classifier(dataset, method, chosen, 0, members[method])
        warm_up(clf, task)
        contenders[method] = fit_in_turns(clf, task)
    if whole:
        fits = {m: functools.partial(fit, lambda: None) for m, fit in contenders.items()}
        seconds = alternate(fits, ROUNDS, warm_up=0, clock=time.process_time)
        found = summed_ratios(seconds, BASELINE)
    else:
        found = interleaved_ratios(interleave(contenders), BASELINE)
    for method, numbers in found.items():
        numbers |= {"members": members[method], "chosen": settings[method]}
        fixed = {k: v for k, v in grid.tuning.fixed(dataset, method).items() if k != "backbone"}
        numbers["settings"] = {**fixed, **(settings[method] or {})}
        numbers[f"seconds_of_{BASELINE}"] = found[BASELINE]["seconds"]  # in the same turns
        numbers["share_of_deep"] = numbers[f"ratio_to_{BASELINE}"] / grid.config["members"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="grid", help="name of a file in evidence/configs")
    parser.add_argument("--datasets", nargs="+", help="all of the config's, if not said")
    parser.add_argument("--methods", nargs="+", default=[*LEADS, "lora"])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--whole", action="store_true", help="whole fits, one after the other")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", TruncationWarning)
    config = read_config(args.config)
    grid = Evidence(config, RESULTS)
    for dataset in args.datasets or config["datasets"]:
        run = {
            "provenance": provenance(),
            "grid": config["results"],
            "dataset": dataset,
            "tuned_with": config["tuning"]["rows"] or None,
            "whole": args.whole,
            "rows": args.rows,
            "methods": measure(grid, dataset, args.methods, args.rows, whole=args.whole),
        }
        put_times(Table(RESULTS / "fit_time.jsonl"), run)
        for method, numbers in run["methods"].items():
            print(f"{dataset} {method:16s} {numbers['share_of_deep']:.2f} of the deep ensemble's")


if __name__ == "__main__":
    main()

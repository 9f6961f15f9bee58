"""Is it true? Methods x data sets x sizes x seeds under one API, one row of a table a run.

    python -m benchmarks.evidence.run --list                     # what is done, and what the rest will take
    python -m benchmarks.evidence.run --time-limit 90            # start it twice: they share the grid
    python -m benchmarks.evidence.run --only movie_reviews sve   # cells whose name has all of these words
    python -m benchmarks.evidence.run --config more_rows         # with 1,000 training rows
    python -m benchmarks.evidence.run --config unseen            # rows no trial list has seen
    python -m benchmarks.evidence.run --config gpu --device cuda

Grids are in benchmarks/evidence/configs. A run that its table has is skipped, so a grid can be interrupted
and gone on with at any time. Each method's rates are chosen by the same number of trials, by their mean NLL
on the validation rows of several drawings (`tuning.seeds`): some as the config has them (`trials`), then
changes of the best of these (`then`), then of the best so far (`last`). A trial has one member, or three
where three cost no more CPU time than about one fully fine-tuned model (`trial_members`). Methods that train
the same thing (a fine-tuned model, with or without a posterior on top) share their trials; a deep ensemble
makes the best of these again with more members (`finals`). Test rows are met once, after that. Where the
config changed, only trials that it does not have yet are made, and runs whose settings are no longer asked
for.

Runs go to benchmarks/results/evidence.jsonl as DATASET/METHOD-nROWS-seedK, trials as
DATASET/tuning-METHOD-nROWS; benchmarks.evidence.report makes the tables. A run holds every metric with its
interval, and the test rows' losses packed, so that the report needs nothing else; the members'
probabilities are kept outside of the repository (SKSVE_CACHE, evidence/).

One thread a process. CPU seconds grow with whatever else the machine does, about twofold when it is
crowded: runs of one data set, size and seed follow each other, and costs are compared within these only.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.estimators import parameters_of
from benchmarks.common.results import RESULTS, Table, provenance
from benchmarks.evidence.data import Skip, load_task
from benchmarks.evidence.grid import Job, planned, read_config, work_off
from benchmarks.evidence.methods import backbone_for, fit_and_predict, make_classifier, rows_of
from benchmarks.evidence.score import score_run
from benchmarks.evidence.tuning import Tuning, seconds_of_run
from sksve._registry import cache_folder
from sksve.metrics import expected_calibration_error, negative_log_likelihood

__all__ = ["Evidence", "table_of", "work"]


def table_of(results: Path, grid: str) -> Table:
    """The table of a grid's runs and trials."""
    return Table(results / f"{grid}.jsonl")


class Evidence:
    """The grid of one config file."""

    def __init__(self, config: dict[str, Any], results: Path, *, device: str = "cpu") -> None:
        self.config, self.device = config, device
        self.results = results
        self.table = table_of(results, config["results"])
        tuned_in = config.get("tuned_in", config["results"])
        shared = tuned_in == config["results"]
        self.tuning = Tuning(config, self.table if shared else table_of(results, tuned_in))
        self.cache = cache_folder() / config["results"]

    # -- what there is to do -----------------------------------------------------------------------

    def jobs(self, only: Sequence[str] = ()) -> list[Job]:
        """Runs in order, each behind the trials it needs."""
        cells = planned(self.config)
        wanted = set(cells)
        methods = self.config["methods"]
        jobs: dict[str, Job] = {}
        for dataset, method, rows, seed in cells:
            name = run_name(dataset, method, rows, seed)
            if not all(word in name for word in only):
                continue
            trials = self.tuning_job(dataset, method)
            for job in (*trials.needs, trials):
                jobs.setdefault(job.name, job)
            whole = str(methods[method].get("first_member_of"))
            before = jobs.get(run_name(dataset, whole, rows, seed))
            needs = (trials, before) if before else (trials,)  # which may write this one as well
            # Methods whose model is a first member of this one's, if they have its settings.
            firsts = [m for m, spec in methods.items() if spec.get("first_member_of") == method]
            parts = [m for m in firsts if (dataset, m, rows, seed) in wanted]
            jobs[name] = self._run_job((dataset, method, rows, seed), parts, needs)
        return list(jobs.values())

    def tuning_job(self, dataset: str, method: str) -> Job:
        """Trials that choose the method's settings for a data set."""
        first = self.tuning.finals_of(method)
        method = self.tuning.owner(method)
        return Job(
            self.tuning.table,
            self.tuning.name(dataset, method),
            lambda: self.tune(dataset, method),
            lambda: self.tuning.seconds(dataset, method),
            needs=(self.tuning_job(dataset, first),) if first else (),
            current=lambda: self.tuning.is_current(dataset, method),
        )

    def _run_job(self, cell: Any, parts: list[str], needs: tuple[Job, ...]) -> Job:
        dataset, method, rows, _ = cell
        return Job(
            self.table,
            run_name(*cell),
            lambda: self.run_or_adopt(*cell, parts),
            lambda: self.seconds_of_run(dataset, method, rows),
            needs=needs,
            current=lambda: self._is_current(*cell),
        )

    def _is_current(self, dataset: str, method: str, rows: int | None, seed: int) -> bool:
        """Whether a run names the trials that count now, and had the settings they and the config ask for."""
        run = self.table.rows()[run_name(dataset, method, rows, seed)]
        named = run["tuning"] == self.tuning.name(dataset, method)
        return named and self._has_settings(run, dataset, method)

    def run_or_adopt(
        self, dataset: str, method: str, rows: int | None, seed: int, parts: Sequence[str] = ()
    ) -> None:
        """Make a run, unless there is one which other trials had given the settings that these chose."""
        chosen = self.tuning.chosen(dataset, method)
        parts = [part for part in parts if self.tuning.chosen(dataset, part) == chosen]
        names = {m: run_name(dataset, m, rows, seed) for m in (method, *parts)}
        old = {m: run for m, name in names.items() if (run := self.table.get(name)) is not None}
        if not all(m in old and self._has_settings(old[m], dataset, m) for m in names):
            self.run(dataset, method, rows, seed, parts)
            return
        for m in reversed(names):  # the method's own last: with it the job is done
            self._write(names[m], old[m] | {"tuning": self.tuning.name(dataset, m)})

    def _has_settings(self, run: dict[str, Any], dataset: str, method: str) -> bool:
        chosen = self.tuning.chosen(dataset, method)
        if chosen is None:
            return False
        defaults = parameters_of(self.config["methods"][method]["class"])
        asked = {**self.tuning.fixed(dataset, method), **chosen}
        # A run older than a parameter had its default.
        had = {**defaults, **run["parameters"], **({"n_members": 1} if "derived" in run else {})}
        same = all(had[k] == v for k, v in asked.items() if k in had)
        return same and bool(run["chosen"] == chosen)

    def seconds_of_run(self, dataset: str, method: str, rows: int | None) -> float:
        """CPU seconds of a run, as like runs had them or guessed."""
        epochs = (self.tuning.chosen(dataset, method) or {}).get("max_epochs", 4)
        return seconds_of_run(self.config, self.table, dataset, method, rows, epochs)

    # -- doing it ----------------------------------------------------------------------------------

    def task(self, dataset: str, rows: int | None, seed: int) -> Any:
        """Draw the rows of a run."""
        counts = self.config["rows"]
        return load_task(
            dataset,
            rows=rows,
            seed=seed,
            n_validation=counts["validation"],
            n_test=counts["test"] or None,
            n_foreign=counts["foreign"] or None,
            skip=Skip(**counts.get("skip", {})),
        )

    def settings(self, dataset: str, method: str, settings: dict[str, Any]) -> dict[str, Any]:
        """All that a method's classifier is told on a data set but members and seed."""
        return {**self.tuning.fixed(dataset, method), "device": self.device, **settings}

    def classifier(
        self, dataset: str, method: str, settings: dict[str, Any], seed: int, n_members: int
    ) -> Any:
        """Build a method's classifier: what is shared, of the data set and of the method, then settings."""
        vision = self.config["datasets"][dataset].get("vision", False)
        told = self.settings(dataset, method, settings)
        told = {"backbone": backbone_for(self.config, vision=vision), **told}
        return make_classifier(self.config["methods"][method], told, seed=seed, n_members=n_members)

    def tune(self, dataset: str, method: str) -> None:
        """Try the method's settings with few members on several drawings; keep the best by mean NLL."""
        content = self.tuning.made(dataset, method, self._try)
        self._write(self.tuning.name(dataset, method), content)

    def _try(self, dataset: str, method: str, settings: dict[str, Any]) -> dict[str, Any]:
        tuning = self.config["tuning"]
        losses, errors, shares, seconds = [], [], [], []
        for seed in tuning["seeds"]:
            task = self.task(dataset, tuning["rows"] or None, seed)
            given = {**tuning.get("settings", {}), **settings}
            clf = self.classifier(dataset, method, given, seed, self.tuning.members(method))
            fit = fit_and_predict(clf, task, ["validation"])
            proba = fit.probabilities["validation"].mean(axis=0)
            y, names = task.validation.y, np.arange(task.n_classes)
            losses.append(float(negative_log_likelihood(y, proba, labels=names)))
            errors.append(float(expected_calibration_error(y, proba, labels=names)))
            shares.append(float((proba.argmax(axis=1) == y).mean()))
            seconds.append(fit.cost["fit"]["cpu_seconds"])
        return {
            "settings": settings,
            "nll": float(np.mean(losses)),
            "nll_by_drawing": losses,
            "ece": float(np.mean(errors)),
            "accuracy": float(np.mean(shares)),
            "cpu_seconds": round(sum(seconds), 2),
        }

    def run(self, dataset: str, method: str, rows: int | None, seed: int, parts: Any = ()) -> None:
        """Fit with the settings chosen, judge once; also the first member alone, where asked for."""
        task = self.task(dataset, rows, seed)
        spec = self.config["methods"][method]
        chosen = self.tuning.chosen(dataset, method) or {}
        m = self.config["members"] if spec.get("members") else 1
        clf = self.classifier(dataset, method, chosen, seed, m)
        first_seed = min(cell[3] for cell in planned(self.config))
        fit = fit_and_predict(clf, task, list(rows_of(task)), saved_size=seed == first_seed)
        self._keep(run_name(dataset, method, rows, seed), fit.probabilities)
        labels = {name: part.y for name, part in rows_of(task).items() if part.y is not None}
        params = {k: v for k, v in clf.settings_.values.items() if k != "backbone"}
        params |= {**self.tuning.fixed(dataset, method), **chosen}  # under the names of the results
        content = {
            "dataset": dataset,
            "method": method,
            "rows": rows,
            "seed": seed,
            "n_train": len(task.train.y),
            "n_classes": task.n_classes,
            "backbone": self._backbone_name(dataset),
            "chosen": chosen,
            "tuning": self.tuning.name(dataset, method),
            "parameters": {k: v for k, v in params.items() if _plain(v)},
            "cost": fit.cost,
        }
        for part in parts:
            first = {name: p[:1] for name, p in fit.probabilities.items()}
            alone = content | {
                "method": part,
                "tuning": self.tuning.name(dataset, part),
                "derived": f"the first member of {method}: the same as a fit of its own, whose cost "
                "is taken as one part in as many",
                "cost": _share(fit.cost, m),
                "scores": score_run(first, labels, task.human_proba),
            }
            self._write(run_name(dataset, part, rows, seed), alone)
        content["scores"] = score_run(fit.probabilities, labels, task.human_proba)
        self._write(run_name(dataset, method, rows, seed), content)

    def _keep(self, name: str, probabilities: dict[str, np.ndarray]) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        kept = {part.replace("/", "."): p for part, p in probabilities.items()}
        np.savez_compressed(
            self.cache / f"{name.replace('/', '-')}.npz",
            **{part: p.astype(np.float32) for part, p in kept.items()},
        )

    def _backbone_name(self, dataset: str) -> str:
        vision = self.config["datasets"][dataset].get("vision", False)
        spec = self.config["backbones"]["vision" if vision else "text"]
        return spec["name"] if isinstance(spec, dict) else str(spec)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        table = self.tuning.table if "/tuning-" in name else self.table
        table.put(name, {"provenance": provenance(threads=torch.get_num_threads()), **content})


def run_name(dataset: str, method: str, rows: int | None, seed: int) -> str:
    """Name of a run."""
    return f"{dataset}/{method}-n{rows or 'all'}-seed{seed}"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list)


def _share(cost: dict[str, Any], m: int) -> dict[str, Any]:
    """A member's part of what an ensemble costs."""
    part: dict[str, Any] = {}
    for name, value in cost.items():
        if name == "began":
            part[name] = value
        elif isinstance(value, dict):
            part[name] = {k: None if v is None else round(v / m, 2) for k, v in value.items()}
            part[name]["peak_megabytes"] = None  # a member's fit was not watched alone
        elif name in ("trainable", "trainable_without_heads"):
            part[name] = value // m
        elif name == "saved_bytes":
            part[name] = None
        else:
            part[name] = value
    return part


def work(jobs: list[Job], *, minutes: float | None, listed: bool) -> None:
    """Work jobs off, or list them with their estimated CPU seconds."""
    if not listed:
        limit = None if minutes is None else 60 * minutes
        finished = work_off(jobs, seconds=limit, say=lambda line: print(line, flush=True))
        print("all done" if finished else "not all done: the same command goes on")
        return
    total = 0.0
    for job in jobs:
        seconds = 0.0 if job.done else job.seconds()
        total += seconds
        state = "done" if job.done else f"{seconds:6.0f} s  (so far {total / 60:.0f} min)"
        print(f"{job.name:60s} {state}")
    print(f"{sum(j.done for j in jobs)} of {len(jobs)} done, {total / 60:.0f} CPU minutes left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="grid", help="name of a file in evidence/configs")
    parser.add_argument("--only", nargs="+", default=[], help="words a run's name must have")
    parser.add_argument("--time-limit", type=float, metavar="MINUTES")
    parser.add_argument("--list", action="store_true", help="jobs and estimated CPU seconds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    evidence = Evidence(read_config(args.config), RESULTS, device=args.device)
    work(evidence.jobs(args.only), minutes=args.time_limit, listed=args.list)


if __name__ == "__main__":
    main()

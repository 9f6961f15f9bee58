"""Is it true? Methods x data sets x sizes x seeds under one API, one JSON file a run.

    python benchmarks/evidence.py --list                     # what is done, and what the rest will take
    python benchmarks/evidence.py --time-limit 90            # start it twice: two processes share the grid
    python benchmarks/evidence.py --only movie_reviews sve   # cells whose path has all of these words
    python benchmarks/evidence.py --config benchmarks/evidence_gpu.toml --device cuda

The grid is benchmarks/evidence.toml. A run that has its file is skipped, so the grid can be interrupted and
gone on with at any time. Each method's rates are chosen by the same number of trials, by their mean NLL on
the validation rows of several drawings (`tuning.seeds`): some as the config has them (`trials`), then changes
of the best of these (`then`), then of the best so far (`last`). A trial has one member, or three where
three cost no more CPU time than about one fully fine-tuned model (`trial_members`). Methods that train the
same thing (a fine-tuned model, with or without a posterior on top) share their trials; a deep ensemble
makes the best of these again with more members (`finals`). Test rows are met once, after that. Where the
config changed, only trials that it does not have yet are made, and runs whose settings are no longer asked
for.

Runs go to benchmarks/results/evidence/DATASET/METHOD-nROWS-seedK.json, trials to
DATASET/tuning-METHOD-nROWS.json; benchmarks/report.py makes the tables. A JSON holds every metric with its
interval, and the test rows' losses packed, so that the report needs nothing else; the members'
probabilities are kept outside of the repository (SKSVE_CACHE, evidence/).

One thread a process. CPU seconds grow with whatever else the machine does, about twofold when it is
crowded: runs of one data set, size and seed follow each other, and costs are compared within these only.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _evidence_data import load_task
from _evidence_methods import backbone_for, fit_and_predict, make_classifier, rows_of
from _evidence_score import score_run
from _grid import Job, planned, read_config, work_off
from _record import RESULTS, provenance
from _trials import best_of, by_settings, key_of, search

from sksve._registry import cache_folder
from sksve.metrics import expected_calibration_error, negative_log_likelihood

HERE = Path(__file__).parent


class Evidence:
    """The grid of one config file."""

    def __init__(self, config: dict[str, Any], results: Path, *, device: str = "cpu") -> None:
        self.config, self.device = config, device
        self.results = results / config.get("results", "evidence")
        self.cache = cache_folder() / self.results.name

    # -- what there is to do -----------------------------------------------------------------------

    def jobs(self, only: Sequence[str] = ()) -> list[Job]:
        """Runs in order, each behind the trials it needs."""
        cells = planned(self.config)
        wanted = set(cells)
        jobs: dict[Path, Job] = {}
        for dataset, method, rows, seed in cells:
            path = self.run_path(dataset, method, rows, seed)
            if not all(word in f"{dataset}/{path.stem}" for word in only):
                continue
            trials = self.tuning_job(dataset, method)
            for job in (*trials.needs, trials):
                jobs.setdefault(job.path, job)
            whole = self.config["methods"][method].get("first_member_of")
            before = jobs.get(self.run_path(dataset, str(whole), rows, seed))
            needs = (trials, before) if before else (trials,)  # which may write this one as well
            parts = [m for m in self._parts_of(method) if (dataset, m, rows, seed) in wanted]
            jobs[path] = self._run_job(dataset, method, rows, seed, parts, needs)
        return list(jobs.values())

    def _parts_of(self, method: str) -> list[str]:
        """Methods whose model is a first member of this one's, if they have its settings."""
        methods = self.config["methods"]
        return [m for m, spec in methods.items() if spec.get("first_member_of") == method]

    def tuning_job(self, dataset: str, method: str) -> Job:
        """Trials that choose the method's settings for a data set."""
        dataset, method = self._stand_in(dataset), self._tuned_as(method)
        return Job(
            self.tuning_path(dataset, method),
            lambda: self.tune(dataset, method),
            lambda: self.seconds_of_tuning(dataset, method),
            needs=(self.tuning_job(dataset, before),)
            if (before := self._finals_of(method))
            else (),
            current=lambda: self._trials_are_current(dataset, method),
        )

    def _run_job(
        self,
        dataset: str,
        method: str,
        rows: int | None,
        seed: int,
        parts: Any,
        needs: tuple[Job, ...],
    ) -> Job:
        return Job(
            self.run_path(dataset, method, rows, seed),
            lambda: self.run_or_adopt(dataset, method, rows, seed, parts),
            lambda: self.seconds_of_run(dataset, method, rows),
            needs=needs,
            current=lambda: self.is_current(dataset, method, rows, seed),
        )

    def is_current(self, dataset: str, method: str, rows: int | None, seed: int) -> bool:
        """Whether a run names the trials that count now, and had the settings they and the config ask for."""
        run = json.loads(self.run_path(dataset, method, rows, seed).read_text())
        named = run["tuning"] == self._tuning_name(dataset, method)
        return named and self._has_settings(run, dataset, method)

    def run_or_adopt(
        self, dataset: str, method: str, rows: int | None, seed: int, parts: Sequence[str] = ()
    ) -> None:
        """Make a run, unless there is one which other trials had given the settings that these chose."""
        chosen = self._chosen(dataset, method)
        parts = [part for part in parts if self._chosen(dataset, part) == chosen]
        paths = {name: self.run_path(dataset, name, rows, seed) for name in (method, *parts)}
        old = {m: json.loads(path.read_text()) for m, path in paths.items() if path.exists()}
        if not all(m in old and self._has_settings(old[m], dataset, m) for m in paths):
            self.run(dataset, method, rows, seed, parts)
            return
        for name in reversed(paths):  # the method's own last: with it the job is done
            self.write(paths[name], old[name] | {"tuning": self._tuning_name(dataset, name)})

    def _tuning_name(self, dataset: str, method: str) -> str:
        path = self.tuning_path(dataset, method)
        return f"{path.parent.name}/{path.name}"

    def _chosen(self, dataset: str, method: str) -> dict[str, Any] | None:
        """Settings that the trials chose; None before there are any."""
        path = self.tuning_path(dataset, method)
        if not path.exists():
            return None
        chosen: dict[str, Any] = json.loads(path.read_text())["chosen"]
        return chosen

    def _has_settings(self, run: dict[str, Any], dataset: str, method: str) -> bool:
        chosen = self._chosen(dataset, method)
        if chosen is None:
            return False
        asked = {**self._fixed_settings(dataset, method), **chosen}
        had = run["parameters"] | ({"n_members": 1} if "derived" in run else {})  # of the whole
        return run["chosen"] == chosen and all(had.get(k, v) == v for k, v in asked.items())

    def _fixed_settings(self, dataset: str, method: str) -> dict[str, Any]:
        """What no trial changes: settings of the method, those shared, of the data set, of images."""
        of_data = self.config["datasets"][dataset]
        return {
            **self.config["methods"][method].get("settings", {}),
            **self.config["shared"],
            **{k: v for k, v in of_data.items() if k not in ("vision", "tokens")},
            **self._vision_settings(dataset, method),
        }

    def _vision_settings(self, dataset: str, method: str) -> dict[str, Any]:
        vision = self.config["datasets"][dataset].get("vision", False)
        found: dict[str, Any] = self.config["methods"][method].get("vision_settings", {})
        return found if vision else {}

    def _stand_in(self, dataset: str) -> str:
        return self.config["tuning"].get("stand_in", {}).get(dataset, dataset)

    def _tuned_as(self, method: str) -> str:
        """The method whose trials count for this one; with finals it has its own."""
        spec = self.config["methods"][method]
        return method if "finals" in spec else spec.get("tuned_as", method)

    def _finals_of(self, method: str) -> str | None:
        """The method whose best trials this one makes again, with more members."""
        spec = self.config["methods"][method]
        return spec["tuned_as"] if "finals" in spec else None

    def _rounds_of(self, dataset: str, method: str) -> list[list[dict[str, Any]]]:
        spec = self.config["methods"][self._tuned_as(method)]
        if "finals" not in spec:
            return [spec["trials"], spec.get("then", []), spec.get("last", [])]
        first = self.tuning_path(dataset, spec["tuned_as"])
        trials = json.loads(first.read_text())["trials"] if first.exists() else []
        return [best_of(trials, spec["finals"]["trials"])]

    def _trial_members(self, method: str) -> int:
        spec = self.config["methods"][self._tuned_as(method)]
        return spec["finals"]["members"] if "finals" in spec else spec.get("trial_members", 1)

    def _fixed_in_trials(self, dataset: str, method: str) -> dict[str, Any]:
        return {
            **self._fixed_settings(dataset, method),
            **self.config["tuning"].get("settings", {}),
        }

    def _trials_are_current(self, dataset: str, method: str) -> bool:
        """Whether the file has the config's trials, all of them and no others."""
        known = self.known_trials(dataset, method)
        try:
            asked = search(
                self._rounds_of(dataset, method), lambda settings: known[key_of(settings)]
            )
        except KeyError:
            return False
        return bool(asked == json.loads(self.tuning_path(dataset, method).read_text())["trials"])

    def known_trials(self, dataset: str, method: str) -> dict[str, dict[str, Any]]:
        """Trials that the file has already, by settings; none if what they share was another."""
        path = self.tuning_path(dataset, method)
        if not path.exists():
            return {}
        old = json.loads(path.read_text())
        fixed = self._fixed_in_trials(self._stand_in(dataset), self._tuned_as(method))
        now = {
            "seeds": self.config["tuning"]["seeds"],
            "fixed": fixed,
            "members": self._trial_members(method),
        }
        return by_settings(old["trials"]) if all(old.get(k) == v for k, v in now.items()) else {}

    def tuning_path(self, dataset: str, method: str) -> Path:
        """Where the trials are that choose the method's settings for a data set."""
        rows = self.config["tuning"]["rows"] or "all"
        name = f"tuning-{self._tuned_as(method)}-n{rows}.json"
        return self.results / self._stand_in(dataset) / name

    def run_path(self, dataset: str, method: str, rows: int | None, seed: int) -> Path:
        """Where a run's result is."""
        return self.results / dataset / f"{method}-n{rows or 'all'}-seed{seed}.json"

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
        )

    def classifier(
        self, dataset: str, method: str, settings: dict[str, Any], seed: int, n_members: int
    ) -> Any:
        """Build a method's classifier: what is shared, of the data set and of the method, then settings."""
        vision = self.config["datasets"][dataset].get("vision", False)
        fixed = self._fixed_settings(dataset, method)
        fixed |= {"backbone": backbone_for(self.config, vision=vision), "device": self.device}
        spec = self.config["methods"][method]
        return make_classifier(spec, {**fixed, **settings}, seed=seed, n_members=n_members)

    def tune(self, dataset: str, method: str) -> None:
        """Try the method's settings with few members on several drawings; keep the best by mean NLL."""
        known = self.known_trials(dataset, method)

        def trial_of(settings: dict[str, Any]) -> dict[str, Any]:
            key = key_of(settings)
            if key not in known:
                known[key] = self._try(dataset, method, settings)
            return known[key]

        trials = search(self._rounds_of(dataset, method), trial_of)
        content = {
            "question": "Which rates? Validation rows of several drawings, few members.",
            "dataset": dataset,
            "method": method,
            "members": self._trial_members(method),
            "fixed": self._fixed_in_trials(dataset, method),
            "rows": self.config["tuning"]["rows"] or None,
            "seeds": self.config["tuning"]["seeds"],
            "chosen": best_of(trials)[0],
            "trials": trials,
        }
        self.write(self.tuning_path(dataset, method), content)

    def _try(self, dataset: str, method: str, settings: dict[str, Any]) -> dict[str, Any]:
        tuning = self.config["tuning"]
        losses, errors, shares, seconds = [], [], [], []
        for seed in tuning["seeds"]:
            task = self.task(dataset, tuning["rows"] or None, seed)
            given = {**tuning.get("settings", {}), **settings}
            clf = self.classifier(dataset, method, given, seed, self._trial_members(method))
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
        chosen = self._chosen(dataset, method) or {}
        m = self.config["members"] if spec.get("members") else 1
        clf = self.classifier(dataset, method, chosen, seed, m)
        fit = fit_and_predict(clf, task, list(rows_of(task)), saved_size=seed == 0)
        self.cache.mkdir(parents=True, exist_ok=True)
        kept = {name.replace("/", "."): p for name, p in fit.probabilities.items()}
        np.savez_compressed(
            self.cache / f"{dataset}-{method}-n{rows or 'all'}-seed{seed}.npz",
            **{name: p.astype(np.float32) for name, p in kept.items()},
        )
        labels = {name: part.y for name, part in rows_of(task).items() if part.y is not None}
        params = {k: v for k, v in clf.get_params(deep=False).items() if k != "backbone"}
        content = {
            "dataset": dataset,
            "method": method,
            "rows": rows,
            "seed": seed,
            "n_train": len(task.train.y),
            "n_classes": task.n_classes,
            "backbone": self._backbone_name(dataset),
            "chosen": chosen,
            "tuning": self._tuning_name(dataset, method),
            "parameters": {k: v for k, v in params.items() if _plain(v)},
            "cost": fit.cost,
        }
        for part in parts:
            first = {name: p[:1] for name, p in fit.probabilities.items()}
            alone = content | {
                "method": part,
                "tuning": self._tuning_name(dataset, part),
                "derived": f"the first member of {method}: the same as a fit of its own, whose cost "
                "is taken as one part in as many",
                "cost": _share(fit.cost, m),
                "scores": score_run(first, labels, task.human_proba),
            }
            self.write(self.run_path(dataset, part, rows, seed), alone)
        content["scores"] = score_run(fit.probabilities, labels, task.human_proba)
        self.write(self.run_path(dataset, method, rows, seed), content)

    def _backbone_name(self, dataset: str) -> str:
        vision = self.config["datasets"][dataset].get("vision", False)
        spec = self.config["backbones"]["vision" if vision else "text"]
        return spec["name"] if isinstance(spec, dict) else str(spec)

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Write a result whole or not at all, with its provenance."""
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {"provenance": {**provenance(), "threads": torch.get_num_threads()}}
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({**made, **content}, indent=1) + "\n")
        temporary.replace(path)

    # -- how long ----------------------------------------------------------------------------------

    def seconds_of_run(self, dataset: str, method: str, rows: int | None) -> float:
        """Median of the like runs that are done, else a guess from counted tokens."""
        like = self.results.glob(f"{dataset}/{method}-n{rows or 'all'}-seed*.json")
        costs = [json.loads(path.read_text())["cost"] for path in like]
        if costs:
            fits = [c["fit"]["cpu_seconds"] for c in costs]
            predicts = [c["predict_test"]["cpu_seconds"] for c in costs]
            return float(np.median(fits) + self._judged(dataset) * np.median(predicts))
        epochs = (self._chosen(dataset, method) or {}).get("max_epochs", 4)
        return self._guess(dataset, method, rows or 5000, epochs, judged=self._judged(dataset))

    def seconds_of_tuning(self, dataset: str, method: str) -> float:
        """Guess what all trials of a method take."""
        tuning = self.config["tuning"]
        return len(tuning["seeds"]) * sum(
            self._guess(
                dataset,
                method,
                tuning["rows"] or 5000,
                trial.get("max_epochs", 4),
                members=self._trial_members(method),
                judged=0.4,
            )
            for trials in self._rounds_of(dataset, method)
            for trial in trials
        )

    def _judged(self, dataset: str) -> float:
        """Rows predicted, in units of test rows."""
        counts = self.config["rows"]
        n_sets = {"movie_reviews": 3, "credit": 0}.get(dataset, 1)
        test = counts["test"] or 5000
        return 1 + (counts["validation"] + n_sets * (counts["foreign"] or 5000)) / test

    def _guess(
        self, dataset: str, method: str, rows: int, epochs: int, *, judged: float, members: int = 0
    ) -> float:
        spec = self.config["methods"][method]
        row = (
            self.config["datasets"][dataset].get("tokens", 30) * 1.1e-3
        )  # s a row, step and member
        members = members or (self.config["members"] if spec.get("members") else 1)
        if spec["class"] == "LinearProbeClassifier":
            epochs, members = 0.3, 1
        draws = members
        if spec["class"] == "MCDropoutClassifier":
            draws = spec["settings"]["n_samples"]
        test = self.config["rows"]["test"] or 5000
        return row * (rows * epochs * members + judged * test * draws / 3) + 3


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=HERE / "evidence.toml")
    parser.add_argument("--only", nargs="+", default=[], help="words a run's path must have")
    parser.add_argument("--time-limit", type=float, metavar="MINUTES")
    parser.add_argument("--list", action="store_true", help="jobs and estimated CPU seconds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    evidence = Evidence(read_config(args.config), RESULTS, device=args.device)
    jobs = evidence.jobs(args.only)
    if args.list:
        total = 0.0
        for job in jobs:
            seconds = 0.0 if job.done else job.seconds()
            total += seconds
            state = "done" if job.done else f"{seconds:6.0f} s  (so far {total / 60:.0f} min)"
            print(f"{job.path.parent.name}/{job.path.stem:40s} {state}")
        print(f"{sum(j.done for j in jobs)} of {len(jobs)} done, {total / 60:.0f} CPU minutes left")
        return
    limit = None if args.time_limit is None else 60 * args.time_limit
    finished = work_off(jobs, seconds=limit, say=lambda line: print(line, flush=True))
    print("all done" if finished else "not all done: the same command goes on")


if __name__ == "__main__":
    main()

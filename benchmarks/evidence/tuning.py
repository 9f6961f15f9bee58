"""Which settings a method has on a data set: those the config fixes, and those that its trials choose."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.common.results import Table

__all__ = ["Tuning", "best_of", "guess", "search", "seconds_of_run"]

Settings = dict[str, Any]
Trial = dict[str, Any]  # "settings", "nll" and what else is worth keeping


# -- rounds of trials, each from the best so far -----------------------------------------------------


def search(
    rounds: Sequence[Sequence[Settings]],
    trial_of: Callable[[Settings], Trial],
    start: Settings | None = None,
) -> list[Trial]:
    """Make all trials: those of the first round as changes of `start`, later ones of the best so far."""
    trials: list[Trial] = []
    for changes in rounds:
        best = best_of(trials)[0] if trials else start or {}
        trials += [trial_of(_changed(best, change)) for change in changes]
    return trials


def _changed(settings: Settings, change: Settings) -> Settings:
    """Settings with some replaced; those under "times" are multiplied by what stands there."""
    factors = change.get("times", {})
    scaled = {name: float(f"{factor * settings[name]:.6g}") for name, factor in factors.items()}
    return {**settings, **scaled, **{k: v for k, v in change.items() if k != "times"}}


def best_of(trials: Sequence[Trial], n: int = 1) -> list[Settings]:
    """Settings with the lowest NLL, the best first."""
    return [trial["settings"] for trial in sorted(trials, key=lambda trial: trial["nll"])[:n]]


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)


# -- a grid's trials ---------------------------------------------------------------------------------


class Tuning:
    """The trials of a grid's config, and the table they are kept in."""

    def __init__(self, config: dict[str, Any], table: Table) -> None:
        self.config = config
        self.table = table

    def fixed(self, dataset: str, method: str) -> Settings:
        """What no trial changes: settings of the method, those shared, of the data set, of its kind."""
        of_data = self.config["datasets"][dataset]
        spec = self.config["methods"][method]
        return {
            **spec.get("settings", {}),
            **self.config["shared"],
            **{k: v for k, v in of_data.items() if k not in ("vision", "tokens")},
            **spec.get("vision_settings" if of_data.get("vision") else "text_settings", {}),
        }

    def chosen(self, dataset: str, method: str) -> Settings | None:
        """Settings that the trials chose; None before there are any."""
        found = self.table.get(self.name(dataset, method))
        return None if found is None else found["chosen"]

    def owner(self, method: str) -> str:
        """The method whose trials count for this one; with finals it has its own."""
        spec = self.config["methods"][method]
        return method if "finals" in spec else spec.get("tuned_as", method)

    def finals_of(self, method: str) -> str | None:
        """The method whose best trials this one makes again, with more members."""
        spec = self.config["methods"][method]
        return spec["tuned_as"] if "finals" in spec else None

    def name(self, dataset: str, method: str) -> str:
        """Name of the trials that choose the method's settings for a data set."""
        rows = self.config["tuning"]["rows"] or "all"
        return f"{dataset}/tuning-{self.owner(method)}-n{rows}"

    def members(self, method: str) -> int:
        """How many members a trial has."""
        spec = self.config["methods"][self.owner(method)]
        return spec["finals"]["members"] if "finals" in spec else spec.get("trial_members", 1)

    def rounds(self, dataset: str, method: str) -> list[list[Settings]]:
        """Changes to try, round by round; finals are one round, of what is best so far elsewhere."""
        spec = self.config["methods"][self.owner(method)]
        if "finals" not in spec:
            vision = self.config["datasets"][dataset].get("vision", False)
            return [
                [_trial(settings, vision) for settings in spec.get(key, [])]
                for key in ("trials", "then", "last")
            ]
        first = self.table.get(self.name(dataset, spec["tuned_as"]))
        return [best_of(first["trials"] if first else [], spec["finals"]["trials"])]

    def start(self, dataset: str, method: str) -> Settings:
        """Settings that the first trials change: what fewer rows chose, where the config asks so."""
        rows = self.config["tuning"].get("start_rows")
        if rows is None:
            return {}
        owner = self.owner(method)
        names = [
            f"{dataset}/tuning-{name}-n{rows}"
            for name in self.config["methods"][owner].get("starts_as", [owner])
        ]
        for name in names:
            if (found := self.table.get(name)) is not None:
                return found["chosen"]
        raise LookupError(
            f"Trials of {owner} on {dataset} begin at what {rows} rows chose, but there is none of "
            f"{', '.join(names)}. Make the trials with {rows} rows first."
        )

    def is_current(self, dataset: str, method: str) -> bool:
        """Whether the table has the config's trials, all of them and no others."""
        known = self._known(dataset, method)
        try:
            start = self.start(dataset, method)
            asked = search(self.rounds(dataset, method), lambda s: known[_key(s)], start)
        except KeyError:
            return False
        return asked == (self.table.get(self.name(dataset, method)) or {}).get("trials")

    def _known(self, dataset: str, method: str) -> dict[str, Trial]:
        """Trials that there are, by settings; none if what they share was another."""
        old = self.table.get(self.name(dataset, method)) or {"trials": []}
        same = all(old.get(k) == v for k, v in self._shared(dataset, method).items())
        return {_key(trial["settings"]): trial for trial in old["trials"]} if same else {}

    def _shared(self, dataset: str, method: str) -> dict[str, Any]:
        tuning, method = self.config["tuning"], self.owner(method)
        return {
            "members": self.members(method),
            "fixed": {**self.fixed(dataset, method), **tuning.get("settings", {})},
            "seeds": tuning["seeds"],
        }

    def made(
        self, dataset: str, method: str, trial_of: Callable[[str, str, Settings], Trial]
    ) -> dict[str, Any]:
        """What is kept of all trials; `trial_of` makes those that are not there yet."""
        known = self._known(dataset, method)

        def known_or_made(settings: Settings) -> Trial:
            if _key(settings) not in known:
                known[_key(settings)] = trial_of(dataset, method, settings)
            return known[_key(settings)]

        trials = search(self.rounds(dataset, method), known_or_made, self.start(dataset, method))
        return {
            "question": "Which rates? Validation rows of several drawings, few members.",
            "dataset": dataset,
            "method": method,
            **self._shared(dataset, method),
            "rows": self.config["tuning"]["rows"] or None,
            "chosen": best_of(trials)[0],
            "trials": trials,
        }

    def seconds(self, dataset: str, method: str) -> float:
        """Guess what all trials of a method take, of CPU time."""
        tuning = self.config["tuning"]
        rows, members = tuning["rows"] or 5000, self.members(method)
        return len(tuning["seeds"]) * sum(
            guess(self.config, dataset, method, rows, epochs, members=members, judged=0.4)
            for trials in self.rounds(dataset, method)
            for epochs in (trial.get("max_epochs", 4) for trial in trials)
        )


def _trial(settings: Settings, vision: bool) -> Settings:
    """The trial itself, or what takes its place on images."""
    if vision:
        return settings.get("vision", settings)
    return {k: v for k, v in settings.items() if k != "vision"}


# -- how long a run will take, in CPU seconds --------------------------------------------------------


def seconds_of_run(
    config: dict[str, Any], table: Table, dataset: str, method: str, rows: int | None, epochs: float
) -> float:
    """Median of the like runs, else a guess from counted tokens."""
    counts = config["rows"]
    n_sets = {"movie_reviews": 3, "credit": 0}.get(dataset, 1)
    # Rows predicted, in units of test rows.
    judged = 1 + (counts["validation"] + n_sets * (counts["foreign"] or 5000)) / (
        counts["test"] or 5000
    )
    start = f"{dataset}/{method}-n{rows or 'all'}-seed"
    costs = [run["cost"] for name, run in table.rows().items() if name.startswith(start)]
    if costs:
        fits, predicts = (
            float(np.median([cost[part]["cpu_seconds"] for cost in costs]))
            for part in ("fit", "predict_test")
        )
        return fits + judged * predicts
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
    draws = spec["settings"]["n_samples"] if spec["class"] == "MCDropoutClassifier" else members
    test = config["rows"]["test"] or 5000
    return float(row * (rows * epochs * members + judged * test * draws / 3) + 3)

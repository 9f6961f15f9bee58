"""Which settings a method has on a data set: those the config fixes, and those that its trials choose."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _evidence_seconds import guess
from _trials import Settings, Trial, best_of, by_settings, key_of, search

__all__ = ["Tuning"]


class Tuning:
    """The trials of a grid's config, and the files they are kept in."""

    def __init__(self, config: dict[str, Any], results: Path) -> None:
        self.config = config
        self.results = results

    # -- settings ----------------------------------------------------------------------------------

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
        path = self.path(dataset, method)
        if not path.exists():
            return None
        chosen: Settings = json.loads(path.read_text())["chosen"]
        return chosen

    # -- whose trials, and where --------------------------------------------------------------------

    def owner(self, method: str) -> str:
        """The method whose trials count for this one; with finals it has its own."""
        spec = self.config["methods"][method]
        owner: str = method if "finals" in spec else spec.get("tuned_as", method)
        return owner

    def finals_of(self, method: str) -> str | None:
        """The method whose best trials this one makes again, with more members."""
        spec = self.config["methods"][method]
        return spec["tuned_as"] if "finals" in spec else None

    def stand_in(self, dataset: str) -> str:
        """The data set whose trials count for this one."""
        stand_in: str = self.config["tuning"].get("stand_in", {}).get(dataset, dataset)
        return stand_in

    def path(self, dataset: str, method: str) -> Path:
        """Where the trials are that choose the method's settings for a data set."""
        rows = self.config["tuning"]["rows"] or "all"
        return self.results / self.stand_in(dataset) / f"tuning-{self.owner(method)}-n{rows}.json"

    def name(self, dataset: str, method: str) -> str:
        """The same, as runs name it."""
        path = self.path(dataset, method)
        return f"{path.parent.name}/{path.name}"

    # -- trials ------------------------------------------------------------------------------------

    def members(self, method: str) -> int:
        """How many members a trial has."""
        spec = self.config["methods"][self.owner(method)]
        n: int = spec["finals"]["members"] if "finals" in spec else spec.get("trial_members", 1)
        return n

    def rounds(self, dataset: str, method: str) -> list[list[Settings]]:
        """Changes to try, round by round; finals are one round, of what is best so far elsewhere."""
        spec = self.config["methods"][self.owner(method)]
        if "finals" not in spec:
            vision = self.config["datasets"][self.stand_in(dataset)].get("vision", False)
            return [
                [_trial(settings, vision) for settings in spec.get(key, [])]
                for key in ("trials", "then", "last")
            ]
        first = self.path(dataset, spec["tuned_as"])
        trials = json.loads(first.read_text())["trials"] if first.exists() else []
        return [best_of(trials, spec["finals"]["trials"])]

    def start(self, dataset: str, method: str) -> Settings:
        """Settings that the first trials change: what fewer rows chose, where the config asks so."""
        rows = self.config["tuning"].get("start_rows")
        if rows is None:
            return {}
        owner = self.owner(method)
        names = self.config["methods"][owner].get("starts_as", [owner])
        folder = self.results / self.stand_in(dataset)
        paths = [folder / f"tuning-{name}-n{rows}.json" for name in names]
        for path in paths:
            if path.exists():
                chosen: Settings = json.loads(path.read_text())["chosen"]
                return chosen
        raise FileNotFoundError(
            f"Trials of {owner} on {dataset} begin at what {rows} rows chose, but there is none of "
            f"{', '.join(path.name for path in paths)}. Make the trials with {rows} rows first."
        )

    def is_current(self, dataset: str, method: str) -> bool:
        """Whether the file has the config's trials, all of them and no others."""
        known = self.known(dataset, method)
        try:
            start = self.start(dataset, method)
            asked = search(self.rounds(dataset, method), lambda s: known[key_of(s)], start)
        except KeyError:
            return False
        return bool(asked == json.loads(self.path(dataset, method).read_text())["trials"])

    def known(self, dataset: str, method: str) -> dict[str, Trial]:
        """Trials that the file has already, by settings; none if what they share was another."""
        path = self.path(dataset, method)
        if not path.exists():
            return {}
        old = json.loads(path.read_text())
        same = all(old.get(k) == v for k, v in self._shared(dataset, method).items())
        return by_settings(old["trials"]) if same else {}

    def _shared(self, dataset: str, method: str) -> dict[str, Any]:
        tuning, dataset, method = self.config["tuning"], self.stand_in(dataset), self.owner(method)
        return {
            "members": self.members(method),
            "fixed": {**self.fixed(dataset, method), **tuning.get("settings", {})},
            "seeds": tuning["seeds"],
        }

    def made(
        self, dataset: str, method: str, trial_of: Callable[[str, str, Settings], Trial]
    ) -> dict[str, Any]:
        """The file's content; `trial_of` makes the trials that it does not have yet."""
        known = self.known(dataset, method)

        def known_or_made(settings: Settings) -> Trial:
            key = key_of(settings)
            if key not in known:
                known[key] = trial_of(dataset, method, settings)
            return known[key]

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
    own: Settings = settings.get("vision", settings)
    return own if vision else {k: v for k, v in settings.items() if k != "vision"}

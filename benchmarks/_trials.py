"""How a method's settings are chosen: rounds of trials, each from the best so far."""

import json
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["best_of", "by_settings", "key_of", "search"]

Settings = dict[str, Any]
Trial = dict[str, Any]  # "settings", "nll" and what else is worth keeping


def search(
    rounds: Sequence[Sequence[Settings]], trial_of: Callable[[Settings], Trial]
) -> list[Trial]:
    """Make all trials: those of the first round as they are, later ones as changes of the best so far."""
    trials: list[Trial] = []
    for changes in rounds:
        best = best_of(trials)[0] if trials else {}
        trials += [trial_of({**best, **change}) for change in changes]
    return trials


def best_of(trials: Sequence[Trial], n: int = 1) -> list[Settings]:
    """Settings with the lowest NLL, the best first."""
    return [trial["settings"] for trial in sorted(trials, key=lambda trial: trial["nll"])[:n]]


def key_of(settings: Settings) -> str:
    """Say settings in one way, so that they can be looked up."""
    return json.dumps(settings, sort_keys=True)


def by_settings(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Trials by :func:`key_of` their settings."""
    return {key_of(trial["settings"]): trial for trial in trials}

"""How a method's settings are chosen: rounds of trials, each from the best so far."""

import json
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["best_of", "by_settings", "changed", "key_of", "search"]

Settings = dict[str, Any]
Trial = dict[str, Any]  # "settings", "nll" and what else is worth keeping


def search(
    rounds: Sequence[Sequence[Settings]],
    trial_of: Callable[[Settings], Trial],
    start: Settings | None = None,
) -> list[Trial]:
    """Make all trials: those of the first round as changes of `start`, later ones of the best so far."""
    trials: list[Trial] = []
    for changes in rounds:
        best = best_of(trials)[0] if trials else start or {}
        trials += [trial_of(changed(best, change)) for change in changes]
    return trials


def changed(settings: Settings, change: Settings) -> Settings:
    """Settings with some replaced; those under "times" are multiplied by what stands there."""
    factors = change.get("times", {})
    scaled = {name: float(f"{factor * settings[name]:.6g}") for name, factor in factors.items()}
    return {**settings, **scaled, **{k: v for k, v in change.items() if k != "times"}}


def best_of(trials: Sequence[Trial], n: int = 1) -> list[Settings]:
    """Settings with the lowest NLL, the best first."""
    return [trial["settings"] for trial in sorted(trials, key=lambda trial: trial["nll"])[:n]]


def key_of(settings: Settings) -> str:
    """Say settings in one way, so that they can be looked up."""
    return json.dumps(settings, sort_keys=True)


def by_settings(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Trials by :func:`key_of` their settings."""
    return {key_of(trial["settings"]): trial for trial in trials}

"""The methods of the evidence, their costs, and what can be read off a fit beside the method itself."""

import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

import sksve
from benchmarks.common.backbones import fetch
from benchmarks.common.estimators import make_estimator, parameters_of
from sksve import TruncationWarning
from sksve.backbones import Backbone

__all__ = ["Fit", "backbone_for", "fit_and_predict", "make_classifier", "rows_of", "warm_up"]


def backbone_for(config: dict[str, Any], *, vision: bool) -> Any:
    """Name of a text backbone, or a vision model with its processor, fetched if need be."""
    spec = config["backbones"]["vision" if vision else "text"]
    if not isinstance(spec, dict):
        return spec  # a folder, or a model with its processor (tests)
    found = fetch(spec["name"])
    return Backbone(found, image_size=spec["image_size"]) if vision else found


def make_classifier(
    method: dict[str, Any], settings: dict[str, Any], *, seed: int, n_members: int
) -> Any:
    """Build the classifier of one run; `settings` go before those of the method."""
    known = parameters_of(method["class"])
    params = {**method.get("settings", {}), **settings, "random_state": seed}
    if method.get("members"):
        params["n_members"] = n_members
    elif "n_members" in known:
        params["n_members"] = 1
    return make_estimator(method["class"], **{k: v for k, v in params.items() if k in known})


class Fit:
    """A fitted classifier's probabilities and what it cost to get them."""

    def __init__(self, probabilities: dict[str, np.ndarray], cost: dict[str, Any]) -> None:
        self.probabilities, self.cost = probabilities, cost


def fit_and_predict(clf: Any, task: Any, parts: list[str], *, saved_size: bool = False) -> Fit:
    """Fit on the task's training rows and predict the parts named.

    CPU seconds are those of this process, all threads together. Other work on the machine lengthens the wall
    time, and these too (about twofold where processes share a core's units and caches), so that only ratios
    of CPU seconds of the same period mean something: when a run began and the machine's load are kept.
    """
    began = {"utc": time.strftime("%Y-%m-%dT%H:%M", time.gmtime()), "load": _load()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        warm_up(clf, task)
        watch = Stopwatch()
        clf.fit(task.train.X, task.train.y)
        cost: dict[str, Any] = {"began": began, "fit": watch.read()}
        rows = rows_of(task)
        probabilities = {}
        for part in parts:
            watch = Stopwatch()
            probabilities[part] = spread(clf, rows[part].X, task.n_classes)
            if part == "test":
                cost["predict_test"] = watch.read()
    report = clf.adapter_report_
    heads = sum(p.numel() for p in clf.net_.module_.heads.parameters())
    cost |= {
        "trainable": report.n_trainable,
        "trainable_without_heads": report.n_trainable - heads,
        "backbone_parameters": report.n_total,
    }
    if saved_size:
        cost["saved_bytes"] = bytes_on_disk(clf)
    return Fit(probabilities, cost)


#: Classes that this process has fitted, with texts or images.
_warm: set[tuple[type, bool]] = set()


def warm_up(clf: Any, task: Any, n_rows: int = 8) -> None:
    """Fit a few rows unless the process has done so: imports and the cached decomposition cost once."""
    if (type(clf), task.vision) in _warm:
        return
    few = clone(clf)
    if "max_epochs" in few.get_params(deep=False):  # else it is solved
        few.set_params(max_epochs=1, training__callbacks=None)
    few.fit(task.train.X[:n_rows], task.train.y[:n_rows])
    _warm.add((type(clf), task.vision))


def rows_of(task: Any) -> dict[str, Any]:
    """Name every part of a task."""
    return {
        "validation": task.validation,
        "test": task.test,
        **{f"shifted/{name}": part for name, part in task.shifted.items()},
        **{f"foreign/{name}": part for name, part in task.foreign.items()},
    }


def spread(clf: Any, X: Any, n_classes: int) -> np.ndarray:
    """Members' probabilities with a column for every class of the data set (codes 0, 1, ...)."""
    found = clf.predict_proba_members(X)
    if found.shape[2] == n_classes:
        return found
    whole = np.zeros((*found.shape[:2], n_classes))
    whole[:, :, clf.classes_] = found
    return whole


class Stopwatch:
    """Wall and CPU seconds and, on Linux, the largest memory since it was made."""

    def __init__(self) -> None:
        self.resets = _reset_peak()
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, Any]:
        return {
            "cpu_seconds": round(time.process_time() - self.cpu, 2),
            "wall_seconds": round(time.perf_counter() - self.wall, 2),
            "peak_megabytes": _peak() if self.resets else None,
        }


def _load() -> float | None:
    """Processes that ran or waited during the last minute, on average."""
    try:
        return round(os.getloadavg()[0], 1)
    except (AttributeError, OSError):  # not on this system
        return None


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def bytes_on_disk(clf: Any) -> int | None:
    """Size of the saved folder; None where the method cannot be saved."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            clf.save_pretrained(Path(folder) / "model")
        except (sksve.PersistenceError, OSError):
            return None
        return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())

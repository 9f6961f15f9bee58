"""The one place where benchmarks build estimators.

Settings are flat and have the names under which results record them, whatever the estimators call them now.
"""

from typing import Any

import sksve
from sksve import baselines

__all__ = ["class_of", "make_estimator", "parameters_of"]


def class_of(name: str) -> Any:
    """An estimator's class, by its name."""
    return getattr(sksve, name, None) or getattr(baselines, name)


#: Names of the results that no estimator has now, and their defaults.
FORMER = {
    "anchored": False, "band_init_scale": 0.0, "core_optimizer": "adamw", "member_batches": "independent",
    "n_iter_no_change": "auto", "pooling": "auto", "target_modules": "auto", "off_diagonals": 0,
}  # fmt: skip
RENAMED = {"core_optimizer": "optimizer", "n_iter_no_change": "patience"}
#: What results of SVEClassifier mean where they name no value, whatever "auto" stands for now.
UNNAMED: dict[str, Any] = {
    "rank": None, "adapt_blocks": None, "direction_pool": None, "max_epochs": 4, "batch_size": 32,
    "lr": 3e-3, "head_lr": 1e-2, "init_scale": 0.1, "head_init_scale": 0.01, "train_bias": True,
    "weight_decay": 0.0, "freeze_out": None, "core_optimizer": "adamw",
}  # fmt: skip


def parameters_of(name: str) -> dict[str, Any]:
    """What a class can be told, and its defaults, under the names of the results."""
    own: dict[str, Any] = class_of(name)().get_params(deep=False)
    return FORMER | (sksve.Training().get_params() if "training" in own else {}) | own


def make_estimator(name: str, **settings: Any) -> Any:
    """Build an estimator of a class."""
    told = {**(UNNAMED if name == "SVEClassifier" else {}), **settings}
    of_the_band = told.pop("band_init_scale", 0.0)
    if of_the_band not in (0.0, told.get("init_scale")):  # one scale now, for all entries of a core
        raise ValueError(f"A band with noise of its own ({of_the_band}) cannot be made any more.")
    if name == "SVEClassifier":
        side = told.pop("off_diagonals", 0)
        told["core"] = "diagonal"
        if side:
            full = told["rank"] is not None and side >= told["rank"] - 1
            told |= {"core": "full"} if full else {"core": "banded", "off_diagonals": side}
    anchored = told.pop("anchored", False)
    if name == "SVEClassifier" and told["weight_decay"]:
        told.setdefault("decay_to", "start" if anchored else "pretrained")
    if told.pop("member_batches", "") == "shared":
        told["shared_batches"] = True
    told = {RENAMED.get(k, k): v for k, v in told.items()}
    how = {k: told.pop(k) for k in ("pooling", "target_modules") if k in told}
    if how:
        told["backbone"] = sksve.Backbone(told.get("backbone", "all-MiniLM-L6-v2"), **how)
    options = {k: told.pop(k) for k in sksve.Training().get_params() if k in told}
    return class_of(name)(**told, **({"training": sksve.Training(**options)} if options else {}))

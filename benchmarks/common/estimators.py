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


#: What results call otherwise than the estimators do now.
_FORMER = {
    "anchored": False, "band_init_scale": 0.0, "core_optimizer": "adamw", "member_batches": "independent",
    "n_iter_no_change": "auto", "pooling": "auto", "target_modules": "auto", "off_diagonals": 0,
}  # fmt: skip


def parameters_of(name: str) -> dict[str, Any]:
    """What a class can be told, and its defaults, under the names of the results."""
    own: dict[str, Any] = class_of(name)().get_params(deep=False)
    return _FORMER | sksve.Training().get_params() | own


def make_estimator(name: str, **settings: Any) -> Any:
    """Build an estimator of a class."""
    told = dict(settings)
    if told.pop("band_init_scale", 0):
        raise ValueError("band_init_scale has gone: the records stay, the run cannot be repeated.")
    side = told.pop("off_diagonals", 0)
    if side and side >= told.get("rank", 0) - 1:
        told["core"] = "full"
    elif side:
        told |= {"core": "banded", "off_diagonals": side}
    if told.pop("anchored", False):
        told["decay_to"] = "start"
    if told.pop("member_batches", "") == "shared":
        told["shared_batches"] = True
    for old, new in (("core_optimizer", "optimizer"), ("n_iter_no_change", "patience")):
        if old in told:
            told[new] = told.pop(old)
    how = {k: told.pop(k) for k in ("pooling", "target_modules") if k in told}
    if how:
        told["backbone"] = sksve.Backbone(told.get("backbone", "all-MiniLM-L6-v2"), **how)
    options = {k: told.pop(k) for k in sksve.Training().get_params() if k in told}
    return class_of(name)(**told, **({"training": sksve.Training(**options)} if options else {}))

"""What "auto" stands for, and which values do something beside which: facts -> settings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from sksve._validation import declared
from sksve.adapters import check_pool
from sksve.training import Settings, Training, is_auto

__all__ = ["BATCH_ENSEMBLE", "LORA", "PROBE", "SVE", "WHOLE", "WHOLE_MEMBERS", "Facts", "resolve"]

# A classifier takes the options of `Training` that its table names, and those that no table names.
_EVERY = {
    "optimizer": "adamw",
    "validation_fraction": 0.1,
    "patience": 3,
    "max_epochs": 4,
    "batch_size": 32,
}
_MEMBERS = {"shared_batches": False, "weight_decay": 0.0, "decay_to": "pretrained"}
_LAYERS = _EVERY | _MEMBERS | {"adapt_blocks": None, "freeze_out": None, "data_parallel": False}
_FACTORS = _LAYERS | {"lr": 3e-3, "head_lr": 1e-2, "init_scale": 0.1, "train_bias": True}

#: Of each classifier: parameter -> what "auto" stands for.
SVE = _FACTORS | {"rank": None, "core": "diagonal", "off_diagonals": 2, "direction_pool": None}
BATCH_ENSEMBLE = _FACTORS
LORA = _LAYERS | {"lr": 1e-4, "head_lr": 1e-3}
PROBE = _EVERY | _MEMBERS | {"max_epochs": 10, "head_lr": 3e-3}
WHOLE = _EVERY | {
    "lr": 1e-4, "head_lr": 1e-3, "weight_decay": 0.01, "decay_to": "zero", "adapt_blocks": None,
}  # fmt: skip
WHOLE_MEMBERS = WHOLE | {"shared_batches": False}
_OF_SOME = SVE.keys() | LORA.keys() | PROBE.keys() | WHOLE_MEMBERS.keys()

_PATTERNS = ("banded", "random", "top_k")  # cores that `off_diagonals` sizes
_FULL_RANK = 42  # of full cores without a rank; two thirds of a pool of directions
_DECAY = 5.0  # to the start, where no weight decay is given


@dataclass(frozen=True)
class Facts:
    """What the rules may look at: never `n_members`, never test data.

    Attributes
    ----------
    n_blocks : int
        Transformer blocks of the backbone.
    """

    n_blocks: int


def resolve(
    method: str,
    user_values: Mapping[str, Any],
    defaults: Mapping[str, Any],
    facts: Facts,
    earlier: Settings | None = None,
) -> Settings:
    """Settle every parameter of a fit. Explicit values stay; what would do nothing raises.

    Parameters
    ----------
    method : str
        Name of the classifier.
    user_values : mapping
        Its parameters and those of its `Training`.
    defaults : mapping
        One of the tables above.
    facts : Facts
    earlier : Settings, optional
        Of a fit whose members stay: "auto" stands for what it stood for there.

    Raises
    ------
    ValueError
        If an option would do nothing here; the message says what, why, and the cure.
    """
    _refuse_options(method, user_values, defaults)
    values = dict(user_values)
    if earlier is not None:
        values |= {
            k: earlier.values[k]
            for k in user_values
            if is_auto(user_values[k]) and k in earlier.values
        }
    if "core" in user_values:
        values |= _settle_core(values)
    if values.get("decay_to") == "start" and is_auto(values["weight_decay"]):
        values["weight_decay"] = _DECAY
    values = {k: defaults[k] if is_auto(v) and k in defaults else v for k, v in values.items()}
    share = values.get("adapt_blocks")
    if isinstance(share, float) or (share is not None and not isinstance(share, Integral)):
        values["adapt_blocks"] = math.ceil(round(float(share) * facts.n_blocks, 9))
    idle = _idle(values, defaults)
    _refuse_idle(user_values, values, idle, facts)
    return Settings(method, {k: v for k, v in values.items() if k not in idle}, idle)


def _settle_core(values: Mapping[str, Any]) -> dict[str, Any]:
    """Core and rank, where one follows from the other or from an explicit value beside them."""
    core, rank, pool = values["core"], values["rank"], values["direction_pool"]
    has_pool = isinstance(pool, Integral)
    if is_auto(core):
        patterned = isinstance(values["off_diagonals"], Integral)
        core = "full" if values["optimizer"] == "muon" else "banded" if patterned else core
    if is_auto(rank) and has_pool:
        rank = max(1, 2 * int(pool) // 3)
    elif is_auto(rank) and core == "full":
        rank = _FULL_RANK
    if has_pool:
        check_pool(pool, rank)
    return {"core": core, "rank": rank}


def _idle(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What does nothing beside the other values, with the value that says so."""
    idle: dict[str, Any] = {
        name: None if is_auto(option.default) else option.default
        for name, option in declared(Training).items()
        if name in _OF_SOME and name not in defaults
    }
    if not values["early_stopping"]:
        idle |= {"patience": None, "validation_fraction": None}
    if values["weight_decay"] == 0:
        idle["decay_to"] = None
    if "core" in values and values["core"] not in _PATTERNS:
        idle["off_diagonals"] = 0
    return idle


def _refuse_options(
    method: str, user_values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Options of `Training` that a classifier does not have."""
    for name, option in declared(Training).items():
        if name in defaults or name not in _OF_SOME or user_values[name] == option.default:
            continue
        raise ValueError(
            f"The option {name!r} of Training does nothing in {method}. Got {user_values[name]!r:.80}. "
            f"Leave it at {option.default!r}."
        )
    if user_values["decay_to"] not in ("auto", "start", defaults["decay_to"]):
        raise ValueError(
            f"The option 'decay_to' of Training must be 'auto', 'start' or {defaults['decay_to']!r} in "
            f"{method}. Got {user_values['decay_to']!r}."
        )
    if user_values["optimizer"] == "muon" and "core" not in defaults:
        raise ValueError(
            f"optimizer='muon' of Training makes steps of full cores orthogonal, and {method} has none. "
            "Leave it at 'auto'."
        )


def _refuse_idle(
    user_values: Mapping[str, Any], values: Mapping[str, Any], idle: Mapping[str, Any], facts: Facts
) -> None:
    """Explicit values that would do nothing."""
    explicit = {name for name in user_values if not is_auto(user_values[name])}
    for name in ("patience", "validation_fraction"):
        if name in explicit & set(idle):
            raise ValueError(
                f"The option {name!r} of Training counts with early_stopping=True only. Got "
                f"{user_values[name]!r} with early_stopping=False. Set early_stopping=True, or leave "
                f"{name} at 'auto'."
            )
    if "decay_to" in explicit & set(idle):
        raise ValueError(
            "The option 'decay_to' of Training says what weight_decay pulls to. Got "
            f"{user_values['decay_to']!r} with weight_decay={values['weight_decay']!r}. Give weight_decay a "
            "number above 0, or leave decay_to at 'auto'."
        )
    if "off_diagonals" in explicit & set(idle):
        raise ValueError(
            f"The 'off_diagonals' parameter counts with core='banded', 'random' or 'top_k' only. Got "
            f"{user_values['off_diagonals']!r} with core={values['core']!r}. Choose one of these cores, or "
            "leave off_diagonals at 'auto'."
        )
    if values["optimizer"] == "muon" and values["core"] != "full":
        raise ValueError(
            "optimizer='muon' of Training makes steps of full cores orthogonal and needs core='full'. Got "
            f"core={values['core']!r}. Set core='full', or leave optimizer at 'auto'."
        )
    if values["max_time"] is not None and values["data_parallel"]:
        raise ValueError(
            "max_time of Training ends a training that one process does: processes of data_parallel=True "
            f"would end at different steps. Got max_time={values['max_time']!r}. Use one of the two."
        )
    adapted = values.get("adapt_blocks")
    adapted = facts.n_blocks if adapted is None else adapted
    if values["freeze_out"] is not None and adapted < 2:
        raise ValueError(
            "The option 'freeze_out' of Training lets the first adapted blocks stop before the last, so "
            f"it needs two. Got {values['freeze_out']!r} with {adapted} adapted of {facts.n_blocks}. "
            "Raise adapt_blocks, or leave freeze_out at None."
        )

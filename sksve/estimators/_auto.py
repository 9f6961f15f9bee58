"""What "auto" stands for: facts of the rows and the backbone -> every setting of a fit.

One rule per setting, in the order of a classifier's table; a rule sees the facts, what the user has typed
and what the rules before it have settled. Its docstring is the line that ``settings_`` shows. Of
``SVEClassifier``:

=============== ======================== =================================================================
setting         noisy ... clear labels   how far (n rows, c classes, d width of the backbone)
=============== ======================== =================================================================
core, rank      full, 42 of a pool of 64 shares of d, which is 384 there; images: 30, without a pool
adapt_blocks    two thirds               4 of 6, 8 of 12
max_epochs      3 (200 / n)^0.4 ... 0.6  at least 2; times (384 / d)^0.5 below a width of 384
batch_size      16 ... 12                moved, so that the steps do not jump where epochs do
lr              0.008                    times (42 / rank)^0.5: the norm of a step stays
weight_decay    10 ... 0                 to the members' starts; times d / 384
head_lr         0.003 ... 0.007          times 384 / d: a step moves a logit by as much
head_init_scale 0.04 ... 0.01            times (384 / d)^0.5: the spread of logits stays
freeze_out      0.5 ... None             images: None
=============== ======================== =================================================================

Labels are noisy with two classes, or where frozen vectors know little of them (up to 0.1 nats, see
``label_information``). From 0.3 nats on they are clear by the share ``log c / log 20``, times
``(n / 50)^0.5`` from 50 rows on, up to 1: few rows of few classes are soon learned by heart. Settings in
between are between those of the table.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from sksve._validation import declared
from sksve.adapters import check_pool
from sksve.estimators._facts import Facts
from sksve.estimators._rivals import LORA, RIVALS_BY_CLARITY, WHOLE_MEMBERS, side_lr
from sksve.training import Settings, Training, is_auto


@dataclass(frozen=True)
class Fit:
    """What a rule sees: the facts, and every setting, where it is settled."""

    facts: Facts
    typed: Mapping[str, Any]  # what the user said, "auto" among it
    values: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def is_auto(self, name: str) -> bool:
        """Whether the user left it to the rules."""
        return is_auto(self.typed[name])

    def is_number(self, name: str) -> bool:
        """Whether the user typed a whole number."""
        return isinstance(self.typed[name], Integral)

    @property
    def clear(self) -> float:
        """How clear the labels are, from 0 to 1; less with few rows of few classes."""
        known = self.facts.information
        if self.facts.n_classes == 2 or known is None:
            return 0.0
        known = min(1.0, max(0.0, (known - _NOISY) / (_CLEAR - _NOISY)))
        many = math.log(self.facts.n_classes) / math.log(_MANY)
        return known * min(1.0, many * max(1.0, self.facts.n_rows / 50) ** 0.5)

    def between(self, noisy: float, clear: float) -> float:
        """A value between that of noisy labels and that of clear ones."""
        return noisy + (clear - noisy) * self.clear


# -- SVEClassifier -------------------------------------------------------------------------------

_NOISY, _CLEAR = 0.1, 0.3  # nats that frozen vectors know
_MANY = 20  # classes
_WIDTH = 384  # where the numbers below were measured: all-MiniLM-L6-v2


def _core(fit: Fit) -> str:
    """full, where rank is "auto" or up to 64; else diagonal"""
    if fit.typed["optimizer"] == "muon":
        return "full"
    if fit.is_number("off_diagonals"):
        return "banded"
    small = fit.is_number("rank") and fit.typed["rank"] <= 64
    return "full" if small or fit.is_auto("rank") else "diagonal"


def _pool_size(facts: Facts) -> int:
    # Narrow backbones are toys: 24 directions, if there are so many.
    return min(facts.width, max(24, round(facts.width / 6)))


def _rank(fit: Fit) -> int | None:
    """Two thirds of the pool; images: d / 12.8; None: all, if core is not full"""
    if fit.is_number("direction_pool"):
        return max(1, 2 * min(int(fit.typed["direction_pool"]), fit.facts.width) // 3)
    if fit["core"] != "full":
        return None
    if fit.facts.images:
        return max(1, round(fit.facts.width / 12.8))
    return 2 * _pool_size(fit.facts) // 3


def _direction_pool(fit: Fit) -> int | None:
    """D / 6, at least 24; None with images, or with a rank or core of yours"""
    whole = fit["core"] == "full" and fit.is_auto("rank") and not fit.facts.images
    return _pool_size(fit.facts) if whole else None


def _adapt_blocks(fit: Fit) -> int | None:
    """Two thirds of the blocks; None: all, if core is not full"""
    if fit["core"] != "full":
        return None
    return math.ceil(round(2 / 3 * fit.facts.n_blocks, 9))


def _passes(fit: Fit) -> float:
    """Epochs of batches of 16, or of 12 with clear labels, before they are rounded."""
    passes = max(2.0, 3 * (200 / fit.facts.n_rows) ** fit.between(0.4, 0.6))
    return passes * max(1.0, (_WIDTH / fit.facts.width) ** 0.5)


def _batch_size(fit: Fit) -> int:
    """16 (noisy) to 12 (clear); moved where max_epochs is rounded"""
    size = fit.between(16, 12)
    if fit.is_auto("max_epochs"):
        size *= round(_passes(fit)) / _passes(fit)
    return max(1, round(size))


def _max_epochs(fit: Fit) -> int:
    """3 (200 / n)^0.4 (noisy) to ^0.6 (clear), at least 2; more if d < 384"""
    return round(_passes(fit))


def _lr(fit: Fit) -> float:
    """0.008 (42 / rank)^0.5 of Muon; 0.003 of AdamW"""
    if fit["core"] != "full" or fit.typed["optimizer"] == "adamw":
        return 3e-3
    rank = fit["rank"] if isinstance(fit["rank"], Integral) else fit.facts.width
    return _digits(8e-3 * (42 / int(rank)) ** 0.5)


def _weight_decay(fit: Fit) -> float:
    """10 d / 384 (noisy) to 0 (clear)"""
    clear = 0.0 if fit.is_auto("decay_to") else 10.0  # what it decays to was typed
    return _digits(fit.between(10.0, clear) * fit.facts.width / _WIDTH)


def _optimizer(fit: Fit) -> str:
    """Muon where the core is full"""
    return "muon" if fit["core"] == "full" else "adamw"


def _head_lr(fit: Fit) -> float:
    """0.003 (noisy) to 0.007 (clear), times 384 / d"""
    return _digits(fit.between(3e-3, 7e-3) * _WIDTH / fit.facts.width)


def _init_scale(fit: Fit) -> float:
    """0 where the core is full, else 0.1"""
    return 0.0 if fit["core"] == "full" else 0.1


def _head_init_scale(fit: Fit) -> float:
    """0.04 (noisy) to 0.01 (clear), times (384 / d)^0.5"""
    return _digits(fit.between(0.04, 0.01) * (_WIDTH / fit.facts.width) ** 0.5)


def _train_bias(fit: Fit) -> bool:
    """Not where the core is full"""
    return bool(fit["core"] != "full")


def _freeze_out(fit: Fit) -> float | None:
    """0.5 (noisy) to None (clear); None with images, or if core is not full"""
    blocks = fit.facts.n_blocks if fit["adapt_blocks"] is None else fit["adapt_blocks"]
    share = _digits(fit.between(0.5, 1.0))
    none = blocks < 2 or share > 0.95 or fit.facts.images or fit["core"] != "full"
    return None if none else share


def _digits(value: float) -> float:
    """Three significant digits: what a person can read and type."""
    return float(f"{value:.3g}")


# -- the table: parameter -> its rule, or the value that "auto" always is; those of the rivals: _rivals.py --
# A classifier takes the options of `Training` that its table names, and those that no table names.

Rule = Callable[[Fit], Any]

SVE: dict[str, Any] = {
    "core": _core,
    "rank": _rank,
    "direction_pool": _direction_pool,
    "off_diagonals": 2,
    "adapt_blocks": _adapt_blocks,
    "batch_size": _batch_size,
    "max_epochs": _max_epochs,
    "lr": _lr,
    "weight_decay": _weight_decay,
    "optimizer": _optimizer,
    "head_lr": _head_lr,
    "side_lr": side_lr,
    "init_scale": _init_scale,
    "head_init_scale": _head_init_scale,
    "train_bias": _train_bias,
    "decay_to": "start",
    "freeze_out": _freeze_out,
    "validation_fraction": 0.1,
    "patience": 3,
    "shared_batches": False,
    "data_parallel": False,
}
_OF_SOME = SVE.keys() | LORA.keys() | WHOLE_MEMBERS.keys()
#: Settings whose rule asks how clear the labels are.
BY_CLARITY = {
    _batch_size, _max_epochs, _weight_decay, _head_lr, _head_init_scale, _freeze_out,
    *RIVALS_BY_CLARITY,
}  # fmt: skip

_PATTERNS = ("banded", "random", "top_k")  # cores that `off_diagonals` sizes


def needs_information(
    user_values: Mapping[str, Any], rules: Mapping[str, Any], facts: Facts, earlier: Settings | None
) -> bool:
    """Whether a rule asks what frozen vectors know of the labels."""
    return facts.n_classes > 2 and any(
        is_auto(user_values.get(name)) and (earlier is None or name not in earlier.values)
        for name, rule in rules.items()
        if callable(rule) and rule in BY_CLARITY
    )


def resolve(
    method: str,
    user_values: Mapping[str, Any],
    rules: Mapping[str, Any],
    facts: Facts,
    earlier: Settings | None = None,
) -> Settings:
    """Settle every parameter of a fit; explicit values stay, and what would do nothing raises.

    `user_values` holds those of the classifier and of its `Training`; `rules` is one of the tables above;
    `earlier` is of a fit whose members stay, and "auto" stands for what it stood for there.
    """
    _refuse_options(method, user_values, rules)
    fit = Fit(facts, user_values, dict(user_values))
    reasons = {}
    for name, rule in rules.items():
        if not is_auto(fit.values.get(name)):
            pass
        elif earlier is not None and name in earlier.values:
            fit.values[name] = earlier.values[name]
            reasons[name] = earlier.reasons.get(name, "")
        else:
            fit.values[name] = rule(fit) if callable(rule) else rule
            reasons[name] = (rule.__doc__ or "") if callable(rule) else "always"
        if name == "adapt_blocks":
            fit.values[name] = _count_blocks(fit[name], facts)
    if isinstance(fit.values.get("direction_pool"), Integral):
        check_pool(fit["direction_pool"], fit["rank"])
    idle = _idle(fit.values, rules)
    _refuse_idle(user_values, fit.values, idle, facts)
    values = {k: v for k, v in fit.values.items() if k not in idle}
    reasons = {k: why for k, why in reasons.items() if k not in idle}
    about = str(facts) if earlier is None else earlier.facts
    if earlier is None and facts.information is not None:
        about += f" (clear: {fit.clear:.2f})"
    return Settings(method, values, idle, reasons=reasons, facts=about)


def check_sizes(settings: Settings, facts: Facts) -> None:
    """Tell of a typed rank or pool that the backbone is too narrow for; refuse a pool without a choice."""
    if "core" not in settings.values:
        return
    rank, pool, width = settings.rank, settings.direction_pool, facts.width
    if pool is not None and min(pool, width) <= rank:
        raise ValueError(
            f"direction_pool={pool} with rank={rank} would do nothing: every member would train all the "
            f"directions it draws from (a layer of this backbone has up to {width}). Lower rank, raise "
            "direction_pool, or set it to None."
        )
    for name, size, cure in (("rank", rank, "rank=None"), ("direction_pool", pool, f"{width}")):
        if isinstance(size, Integral) and int(size) > width and name not in settings.reasons:
            warnings.warn(
                f"{name}={size} is more than the {width} singular directions that a layer of this "
                f"backbone has, and stands for all of them, as {cure} does.",
                UserWarning,
                stacklevel=4,
            )


def _count_blocks(share: Any, facts: Facts) -> Any:
    """Blocks of a share of them; a number stays."""
    if share is None or isinstance(share, Integral):
        return share
    return math.ceil(round(float(share) * facts.n_blocks, 9))


def _idle(values: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, Any]:
    """What does nothing beside the other values, with the value that says so."""
    idle: dict[str, Any] = {
        name: None if is_auto(option.default) else option.default
        for name, option in declared(Training).items()
        if name in _OF_SOME and name not in rules
    }
    if not values["early_stopping"]:
        idle |= {"patience": None, "validation_fraction": None}
    if values["weight_decay"] == 0:
        idle["decay_to"] = None
    if "core" in values and values["core"] not in _PATTERNS:
        idle["off_diagonals"] = 0
    return idle


def _refuse_options(method: str, user_values: Mapping[str, Any], rules: Mapping[str, Any]) -> None:
    """Options of `Training` that a classifier does not have."""
    for name, option in declared(Training).items():
        if name in rules or name not in _OF_SOME or user_values[name] == option.default:
            continue
        raise ValueError(
            f"The option {name!r} of Training does nothing in {method}. Got {user_values[name]!r:.80}. "
            f"Leave it at {option.default!r}."
        )
    pulls_to = "zero" if rules["decay_to"] == "zero" else "pretrained"
    if user_values["decay_to"] not in ("auto", "start", pulls_to):
        raise ValueError(
            f"The option 'decay_to' of Training must be 'auto', 'start' or {pulls_to!r} in "
            f"{method}. Got {user_values['decay_to']!r}."
        )
    if user_values["optimizer"] == "muon" and "core" not in rules:
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
                f"The option {name!r} of Training has an effect only with early_stopping=True. Got "
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
            "The 'off_diagonals' parameter has an effect only with core='banded', 'random' or 'top_k'. Got "
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
            "max_time of Training ends training in one process: several processes (data_parallel=True) "
            f"would end at different steps. Got max_time={values['max_time']!r}. Use one of the two."
        )
    adapted = values.get("adapt_blocks")
    adapted = facts.n_blocks if adapted is None else adapted
    if "freeze_out" in explicit and values["freeze_out"] is not None and adapted < 2:
        raise ValueError(
            "The option 'freeze_out' of Training lets the first adapted blocks stop before the last, so "
            f"it needs two. Got {values['freeze_out']!r} with {adapted} adapted of {facts.n_blocks}. "
            "Raise adapt_blocks, or leave freeze_out at None."
        )

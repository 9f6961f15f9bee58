"""How members learn, as the user says it (`Training`) and as a fit has resolved it (`Settings`)."""

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import StrOptions

from sksve._validation import ListOf, Number, Scope, brief, declared, parameter
from sksve.backbones import Backbone, describe_config, describe_processor

#: Constraint of a parameter that may be left to the rules of ``sksve.estimators``.
AUTO = StrOptions({"auto"})


def is_auto(value: Any) -> bool:
    """Whether a value leaves the choice to the rules."""
    return isinstance(value, str) and value == "auto"


@dataclass(eq=False, repr=False, kw_only=True)
class Training(BaseEstimator):
    """How members learn: the `training` of every classifier with members.

    "auto" stands for what suits the classifier; ``settings_`` says what it was. An option that would do
    nothing (a patience without early stopping, Muon without full cores) is refused by ``fit``.

    Parameters
    ----------
    optimizer : {"auto", "adamw", "muon"}, default="auto"
        What moves full cores. "muon" makes the momentum of each core orthogonal before a step [1]_, so
        that all its directions move alike, an entry by about `lr` in root mean square; it needs
        ``core="full"``. Biases and heads are always AdamW's.
    head_lr : float or "auto", default="auto"
        Learning rate of the heads.
    side_lr : float, None or "auto", default="auto"
        Learning rate of the heads' weights of side features. None: they stay at their start.
    init_scale : float or "auto", default="auto"
        Standard deviation of the members' start, relative for singular values, absolute for biases.
        It adds up over the adapted blocks: on all-MiniLM-L6-v2 0.3 was best with two blocks adapted
        and ruined training with all six, where 0.1 was best. Deeper models want less.
    head_init_scale : float or "auto", default="auto"
        Standard deviation of the heads' initial weights.
    train_bias : bool or "auto", default="auto"
        Whether members train biases.
    decay_to : {"auto", "pretrained", "start", "zero"}, default="auto"
        What `weight_decay` pulls to: the pretrained values and a head of zero, or each member's own
        random start, head included [2]_, so that it does not take back what `init_scale` and
        `head_init_scale` made the members differ by. In ``partial_fit`` the start is where the call
        began. "zero" is what classifiers that train whole models do.
    warmup : float, default=0.1
        Share of all steps in which the rates rise linearly; then they fall linearly to 0.
    max_grad_norm : float or None, default=1.0
        Largest gradient norm of one member.
    validation_fraction : float or "auto", default="auto"
        Share of the training rows held out, with ``early_stopping=True`` and without ``X_val``.
    patience : int or "auto", default="auto"
        Epochs without improvement after which a member stops, with ``early_stopping=True``.
    shared_batches : bool, default=False
        Whether all members see the same mini-batches, in place of each its own.
    freeze_out : float, None or "auto", default="auto"
        Share of all steps, from 0.1 to below 1, after which the first adapted block stops learning [3]_;
        the last learns to the end, those between stop at equal distances. A block that has stopped needs no
        gradient, which at 0.5 saves an eighth of the blocks' products. Its schedule is the whole one, as
        much higher as it is shorter. It costs some quality: little where members learn their rows by
        heart, more where training is short. None: all blocks learn to the end.
    callbacks : list or None, default=None
        skorch callbacks; copied before use.
    checkpoint_dir : str or path-like, default=None
        Folder for checkpoints of fit; the same call after a crash goes on from the last epoch. One fit
        at a time may use it. None: no checkpoints.
    data_parallel : bool, default=False
        Whether the processes started by ``accelerate launch`` or ``torchrun`` train together, each on
        its share of every batch (extra ``accelerate``). Every process is given all data and ends with
        the same members, those of one process up to rounding. In a script started plainly it does
        nothing.
    max_time : float or None, default=None
        Seconds after which training ends as with Ctrl-C: with the members as they are then, and a
        ``ConvergenceWarning``. None: no limit.

    References
    ----------
    .. [1] Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
       https://kellerjordan.github.io/posts/muon
    .. [2] Pearce, Leibfried, Brintrup, Zaki and Neely (2020), "Uncertainty in neural networks:
       approximately Bayesian ensembling", https://arxiv.org/abs/1810.05546
    .. [3] Brock, Lim, Ritchie and Weston (2017), "FreezeOut: accelerate training by progressively
       freezing layers", https://arxiv.org/abs/1706.04983

    Examples
    --------
    >>> from sksve import SVEClassifier, Training
    >>> clf = SVEClassifier(training=Training(head_lr=0.005))
    >>> clf.set_params(training__warmup=0.2).training
    Training(head_lr=0.005, warmup=0.2)
    >>> SVEClassifier().set_params(training__warmup=0.2).training
    Training(warmup=0.2)
    """

    optimizer: str = parameter("auto", StrOptions({"auto", "adamw", "muon"}))
    head_lr: float | str = parameter("auto", Number(Real, 0, None, closed="neither"), AUTO)
    side_lr: float | str | None = parameter(
        "auto", Number(Real, 0, None, closed="neither"), None, AUTO
    )
    init_scale: float | str = parameter(
        "auto", Number(Real, 0, None, closed="left"), AUTO, scope="member"
    )
    head_init_scale: float | str = parameter(
        "auto", Number(Real, 0, None, closed="left"), AUTO, scope="member"
    )
    train_bias: bool | str = parameter("auto", "boolean", AUTO, scope="member")
    decay_to: str = parameter("auto", StrOptions({"auto", "pretrained", "start", "zero"}))
    warmup: float = parameter(0.1, Number(Real, 0, 1, closed="both"))
    max_grad_norm: float | None = parameter(1.0, Number(Real, 0, None, closed="neither"), None)
    validation_fraction: float | str = parameter("auto", Number(Real, 0, 1, closed="neither"), AUTO)
    patience: int | str = parameter("auto", Number(Integral, 1, None, closed="left"), AUTO)
    shared_batches: bool = parameter(False, "boolean")
    freeze_out: float | str | None = parameter(
        "auto", Number(Real, 0.1, 1, closed="left"), None, AUTO
    )
    callbacks: Any = parameter(
        None, ListOf(["on_epoch_end", "on_train_end"]), None, scope="run", saved=False
    )
    checkpoint_dir: Any = parameter(None, str, os.PathLike, None, scope="run", saved=False)
    data_parallel: bool = parameter(False, "boolean", scope="run")
    max_time: float | None = parameter(
        None, Number(Real, 0, None, closed="neither"), None, scope="run"
    )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Training):
            return NotImplemented
        return bool(self.get_params(deep=False) == other.get_params(deep=False))

    __hash__ = None  # type: ignore[assignment]  # set_params changes it


@dataclass(frozen=True, eq=False, repr=False)
class Settings:
    """Every value a fit was made with, "auto" replaced by what it stood for; read-only.

    A value is an attribute: ``settings_.lr``, ``settings_.head_lr``. Values are copies, but for callbacks
    and for the model and processor of a pair, which nobody changes. Records are equal if their values are.

    Attributes
    ----------
    method : str
        Name of the classifier.
    values : mapping of str to object
        By name, those of `Training` among them.
    idle : mapping of str to object
        What the method has no parameter for, or what does nothing beside the other values.
    scopes : mapping of str to str
        What each value decides, see ``sksve._validation.parameter``.
    reasons : mapping of str to str
        Of each value that was "auto", the line of the rules that chose it.
    facts : str
        What the rules looked at.
    """

    method: str
    values: Mapping[str, Any]
    idle: Mapping[str, Any] = field(default_factory=dict)
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    facts: str = ""

    def __post_init__(self) -> None:
        for part in fields(self):
            object.__setattr__(self, part.name, _frozen(getattr(self, part.name)))

    def __reduce__(self) -> tuple[Any, ...]:  # a MappingProxyType goes into no pickle
        return type(self), tuple(_plain(getattr(self, part.name)) for part in fields(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings):
            return NotImplemented
        pairs = zip(self.__reduce__()[1][:4], other.__reduce__()[1])  # whoever chose the values
        return all(same_value(a, b) for a, b in pairs)

    def __hash__(self) -> int:
        values = self.values.items()
        plain = [(k, v) for k, v in values if isinstance(v, Real) and type(v) is not bool]
        return hash((self.method, frozenset(plain)))

    def __getattr__(self, name: str) -> Any:
        for part in ("values", "idle"):
            if name in (held := self.__dict__.get(part, ())):
                return _frozen(held[name])
        raise AttributeError(f"There is no setting {name!r}.")

    def __repr__(self) -> str:
        return self._lines(self.values)

    def _lines(self, names: Iterable[str]) -> str:
        width = max(map(len, names), default=0)
        shown = {name: _one_line(self.values[name]) for name in names}
        column = max((len(shown[name]) for name in names if self.reasons.get(name)), default=0)
        lines = [f"Settings of {self.method}{self.facts and ': '}{self.facts}"]
        for name in names:
            why = self.reasons.get(name, "")
            lines.append(f"  {name:<{width}} = {shown[name]:<{column}}  {why}".rstrip())
        return "\n".join(lines)

    def chosen(self) -> str:
        """Return what the rules chose, one line per setting, with the line of the rules."""
        return self._lines([name for name in self.values if self.reasons.get(name)])

    def of_scope(self, *scopes: Scope) -> dict[str, Any]:
        """Return the values, idle ones among them, that decide one of these."""
        both = {**self.idle, **self.values}
        return {name: value for name, value in both.items() if self.scopes.get(name) in scopes}

    def for_training(self) -> "Settings":
        """Return a copy without what reading the data has used up; it travels to tasks."""
        used = dict.fromkeys(("backbone", "serializer", "side_features", "class_weight"))
        return replace(self, values={**self.values, **used})

    def with_values(self, **changes: Any) -> "Settings":
        """Return a copy with other values, which no rule has chosen."""
        reasons = {name: why for name, why in self.reasons.items() if name not in changes}
        return replace(self, values={**self.values, **changes}, reasons=reasons)

    @property
    def training(self) -> Training:
        """The values of `Training`."""
        names = declared(Training)
        return Training(**{k: v for k, v in self.values.items() if k in names})

    def plain_values(self) -> dict[str, Any]:
        """Return the values as a constructor takes them."""
        return dict(_plain(_frozen(self.values)))

    def to_dict(self) -> dict[str, Any]:
        """Return parameters that reproduce the fit, given the same data.

        The fit is the first one: later calls of ``partial_fit`` do not change the record.

        Returns
        -------
        dict of str to object
            For the classifier's constructor or ``set_params``.

        Raises
        ------
        ValueError
            If there were callbacks: they may hold state of the fit.
        """
        if self.callbacks:
            raise ValueError(
                "The settings of a fit with callbacks do not reproduce it: callbacks are objects with a "
                f"state of their own. Got callbacks={self.callbacks!r:.200}. Fit without them, or keep "
                "the parameters yourself."
            )
        names = declared(Training)
        parameters = {k: v for k, v in self.plain_values().items() if k not in names}
        trains = any(name in names for name in self.values)
        return parameters | ({"training": self.training} if trains else {})


def _frozen(value: Any) -> Any:
    """A copy; models and processors, which are large and which nobody changes, are shared."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    if isinstance(value, tuple | list):
        return tuple(value)
    if isinstance(value, Backbone):
        return copy.copy(value).set_params(
            source=_frozen(value.source), target_modules=_frozen(value.target_modules)
        )
    return clone(value) if isinstance(value, BaseEstimator) else value


def _plain(value: Any) -> Any:
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _one_line(value: Any) -> str:
    words = " ".join(repr(brief(value)).split())
    return words if len(words) <= 80 else f"{words[:80]}..."


def same_value(a: Any, b: Any) -> bool:
    """Whether two values of a parameter are the same; what cannot be compared is not."""
    if a is b:
        return True
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_value(a[key], b[key]) for key in a)
    try:
        if a == b or type(a) is not type(b):
            return bool(a == b)
        if hasattr(a, "get_params"):
            return same_value(a.get_params(deep=False), b.get_params(deep=False))
        if isinstance(a, torch.nn.Module):
            if describe_config(a.config) != describe_config(b.config):
                return False
            one, other = a.state_dict(), b.state_dict()
            same = (torch.equal(one[name].cpu(), other[name].cpu()) for name in one)
            return one.keys() == other.keys() and all(same)
        return callable(a) and describe_processor(a) == describe_processor(b) != {}
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return False

"""Put new layers into a model, all or none, and tell what was adapted and what it costs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from sksve.backbones._plan import AdaptationPlan, is_conv1d

__all__ = ["AdapterReport", "adapter_report", "swap_modules"]


def swap_modules(model: nn.Module, replacements: Mapping[str, nn.Module]) -> None:
    """Put new modules where old ones were, in place, all of them or none.

    Parameters
    ----------
    model : nn.Module
        The model to change; give a copy if the original must stay.
    replacements : mapping of str to nn.Module
        Dotted name in `model` -> the module that comes there.

    Raises
    ------
    ValueError
        If a name does not exist, a module is known under two names (swapping one would part what is
        shared), or the in or out features differ. `model` is then exactly as it was.

    Examples
    --------
    >>> from torch import nn
    >>> from sksve.backbones import swap_modules
    >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 3)))
    >>> swap_modules(model, {"0.0": nn.Identity()})
    >>> model[0][0]
    Identity()
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    names_of: dict[int, list[str]] = {}
    for name, module in modules.items():
        names_of.setdefault(id(module), []).append(name)
    faults = []
    for name, new in replacements.items():
        old = modules.get(name) if name else None
        if old is None:
            faults.append(f"{name!r} is no module of {type(model).__name__}.")
            continue
        if others := [n for n in names_of[id(old)] if n != name]:
            faults.append(f"{name!r} is the same module as {', '.join(map(repr, others))}.")
        before, after = _linear_shape(old), _linear_shape(new)
        if before is not None and after is not None and before != after:
            faults.append(
                f"{name!r} maps {before[0]} to {before[1]} features, "
                f"its replacement {after[0]} to {after[1]}."
            )
    if faults:
        raise ValueError("Nothing was swapped:\n" + "\n".join(f"- {fault}" for fault in faults))
    for name, module in replacements.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)


def _linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Return (in features, out features) of a linear map, Conv1D included; None of others."""
    if isinstance(getattr(module, "in_features", None), int):
        return int(module.in_features), int(module.out_features)
    if is_conv1d(module):
        return int(module.nx), int(module.nf)
    return None


@dataclass(frozen=True)
class AdapterReport:
    """What an ensemble trains and what it leaves alone.

    Attributes
    ----------
    adapted : tuple of str
        Dotted names of the adapted modules.
    skipped : dict of str to str
        Every other linear map -> the reason it is not adapted.
    n_trainable : int
        Trainable parameters of all members together.
    n_trainable_per_member : int
        Trainable parameters of one member.
    n_total : int
        Parameters of the backbone as it came.
    share_percent : float
        100 * n_trainable / n_total.
    n_bytes : int
        Bytes of the trainable parameters.
    ranks : dict of str to int
        Adapted module -> how many of its singular values are trained.
    """

    adapted: tuple[str, ...]
    skipped: dict[str, str]
    n_trainable: int
    n_trainable_per_member: int
    n_total: int
    share_percent: float
    n_bytes: int
    ranks: dict[str, int]

    def __repr__(self) -> str:
        reasons: dict[str, int] = {}
        for reason in self.skipped.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        lines = [
            f"AdapterReport: {len(self.adapted)} modules adapted, {len(self.skipped)} not",
            f"  trainable: {self.n_trainable:,} parameters, "
            f"{self.n_trainable_per_member:,} per member, {self.n_bytes:,} bytes",
            f"  that is {self.share_percent:.3g} % of the backbone's {self.n_total:,}",
        ]
        if self.ranks:
            low, high = min(self.ranks.values()), max(self.ranks.values())
            lines.append(f"  trained rank: {low if low == high else f'{low} to {high}'}")
        lines += [f"  not adapted: {count} {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold."""
        return {**asdict(self), "adapted": list(self.adapted)}


def adapter_report(
    plan: AdaptationPlan,
    parameters: Mapping[str, nn.Parameter],
    *,
    n_members: int,
    n_total: int,
    ranks: Mapping[str, int] | None = None,
) -> AdapterReport:
    """Make the report of an adapted backbone; ValueError if members differ in their number of parameters.

    `parameters` by name, each holding all members; those without a gradient are left out. `n_total`
    counts the backbone's before it was adapted; `ranks`: adapted module -> trained rank.
    """
    trainable = list({id(p): p for p in parameters.values() if p.requires_grad}.values())
    n_trainable = sum(p.numel() for p in trainable)
    if n_trainable % n_members:
        raise ValueError(
            f"Each of {n_members} members must have as many trainable parameters as the others. "
            f"Got {n_trainable} parameters in all."
        )
    return AdapterReport(
        adapted=plan.targets,
        skipped=dict(plan.skipped),
        n_trainable=n_trainable,
        n_trainable_per_member=n_trainable // n_members,
        n_total=n_total,
        share_percent=100.0 * n_trainable / n_total,
        n_bytes=sum(p.numel() * p.element_size() for p in trainable),
        ranks=dict(ranks or {}),
    )

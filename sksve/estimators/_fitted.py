"""What a fit leaves on a classifier, and what of it stays when warm_start adds members."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sksve.backbones import AdaptationPlan, LoadedBackbone, adapter_report
from sksve.estimators._rows import RowReader
from sksve.training import MemberNet, Settings, TrainedMembers

__all__ = ["check_unchanged", "fitted_record", "members_of", "same_value"]


def fitted_record(
    classes: np.ndarray,
    settings: Settings,
    members: TrainedMembers,
    plan: AdaptationPlan,
    backbone: LoadedBackbone,
    reader: RowReader,
    notes: Mapping[str, Any],
) -> dict[str, Any]:
    """Every attribute that a fitted classifier has."""
    module = members.net.module_
    layers = {name: module.split.model.get_submodule(name) for name in plan.targets}
    columns = {n: v for n, v in vars(reader).items() if n.endswith("_")}
    return columns | {
        "classes_": classes,
        "settings_": settings,
        "history_": members.history,
        "n_iter_": len(members.history),
        "net_": members.net,
        "input_kind_": reader.kind,
        "adapter_report_": adapter_report(
            plan,
            dict(module.named_parameters()),
            n_members=len(members.ids),
            n_total=sum(p.numel() for p in backbone.model.parameters()),
            ranks={name: int(x.rank) for name, x in layers.items() if hasattr(x, "rank")},
        ),
        "_reader": reader,
        "_notes": notes,
    }


def check_unchanged(
    changed: Sequence[str],
    old_classes: np.ndarray,
    classes: np.ndarray,
    n_old: int,
    n_members: int,
) -> None:
    """Raise ValueError unless members trained before can stand beside those to be trained."""
    if changed:
        raise ValueError(
            f"warm_start=True keeps the members already trained, so {', '.join(changed)} cannot "
            "change. Set the old value again, or warm_start=False to train anew."
        )
    if not np.array_equal(classes, old_classes):
        raise ValueError(
            "warm_start=True keeps the members already trained, so y must hold the same "
            f"classes: {old_classes.tolist()}. Got {classes.tolist()}."
        )
    if n_members < n_old:
        raise ValueError(
            f"n_members={n_members} must be larger or equal to {n_old}, the number of "
            "members already trained, when warm_start=True."
        )


def members_of(net: MemberNet, history: list[dict[str, np.ndarray]]) -> TrainedMembers:
    """Return the members of a fitted net with copies of what is theirs."""
    state = tuple(t.detach().cpu().clone() for t in net.module_.member_tensors())
    return TrainedMembers(net.member_ids, state, history, net.history)


def same_value(a: Any, b: Any) -> bool:
    """Whether two values of a parameter are the same; what cannot be compared is not."""
    if a is b:
        return True
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same_value(x, y) for x, y in zip(a, b))
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False

"""Which members of a former fit stay when warm_start adds new ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sksve.training import MemberNet, TrainedMembers

__all__ = ["check_unchanged", "members_of", "same_value"]


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

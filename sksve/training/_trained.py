"""Members that have been trained: taken out of their net, and put together."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sksve.training._history import member_history
from sksve.training._interrupt import interrupt_notes
from sksve.training._net import MemberNet

__all__ = ["TrainedMembers", "join", "trained_members", "warn_of"]


@dataclass(frozen=True)
class TrainedMembers:
    """What training leaves behind.

    Attributes
    ----------
    ids : tuple of int
        The members' numbers.
    state : tuple of Tensor
        Their parameters and buffers on the CPU, axis 0 the member, in the order of
        ``EnsembleModule.member_tensors``.
    history : list of dict
        One per epoch; arrays of shape (len(ids),).
    log : History
        skorch's, of the net that trained them.
    net : MemberNet or None
        None: it was another process's, or there were several.
    notes : tuple of str
        What else the user is to be told.
    interrupted : bool
        Whether training was ended before its last step.
    """

    ids: tuple[int, ...]
    state: tuple[Tensor, ...]
    history: list[dict[str, np.ndarray]]
    log: Any
    net: Any = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False


def trained_members(net: MemberNet, since: int = 0) -> TrainedMembers:
    """Take the members out of a net that has been trained.

    Parameters
    ----------
    log : History
        skorch's, of the net that trained them.
    net : MemberNet or None
        None: it was another process's, or there were several.
    since : int, default=0
        First epoch of the history that is wanted.
    """
    state = tuple(t.detach().cpu().clone() for t in net.module_.member_tensors())
    return TrainedMembers(
        tuple(net.member_ids),
        state,
        member_history(net, since),
        net.history,
        net,
        notes=interrupt_notes(net),
        interrupted=net.interrupted_,
    )


def join(first: TrainedMembers, second: TrainedMembers) -> TrainedMembers:
    """Members of both; the log is of those that trained longer.

    An epoch that a member did not run is NaN in its history.
    """
    state = tuple(torch.cat(pair) for pair in zip(first.state, second.state, strict=True))
    history = []
    for epoch in range(max(len(first.history), len(second.history))):
        rows = [
            part.history[epoch] if epoch < len(part.history) else {} for part in (first, second)
        ]
        keys = rows[0] | rows[1]
        history.append(
            {
                key: np.concatenate(
                    [
                        row.get(key, np.full(len(part.ids), np.nan))
                        for row, part in zip(rows, (first, second))
                    ]
                )
                for key in keys
            }
        )
    return TrainedMembers(
        first.ids + second.ids,
        state,
        history,
        max(second.log, first.log, key=len),
        notes=first.notes + second.notes,
        interrupted=first.interrupted or second.interrupted,
    )


def warn_of(members: TrainedMembers) -> None:
    """Say what happened to members on the way, as ConvergenceWarnings."""
    for note in members.notes:
        warnings.warn(note, ConvergenceWarning, stacklevel=2)

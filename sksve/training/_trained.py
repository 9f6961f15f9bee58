"""Members that have been trained: taken out of their net, and put together."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sksve.training._interrupt import interrupt_notes
from sksve.training._net import MemberNet

__all__ = [
    "TrainedMembers",
    "join",
    "member_history",
    "set_member_history",
    "trained_members",
    "warn_of",
]

_NAMES = {
    "member_train_loss": "train_loss",
    "member_valid_loss": "valid_loss",
    "member_valid_accuracy": "valid_accuracy",
    "member_padding": "padding",
}


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


def member_history(net: Any, since: int = 0) -> list[dict[str, np.ndarray]]:
    """One dict per epoch of the net's history from `since` on, values of shape (n_members,)."""
    return [
        {short: np.asarray(row[long]) for long, short in _NAMES.items() if long in row}
        for row in net.history[since:]
    ]


def set_member_history(net: Any, members: list[dict[str, np.ndarray]]) -> None:
    """Give the net's history the values of `members`, what :func:`member_history` returns."""
    for row, values in zip(net.history, members):
        own = {long: values[short].tolist() for long, short in _NAMES.items() if short in values}
        row.update(own)

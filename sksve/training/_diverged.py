"""A member whose loss or gradient is no longer finite: the others do not feel it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sksve._exceptions import NonFiniteLossError

__all__ = ["ATTEMPTS", "NoticesDivergence", "retry_config", "train_survivors", "warn_of"]

#: How often a member that has diverged starts anew before it is left out.
ATTEMPTS = 3


class NoticesDivergence:
    """For a net: members that diverge end its training, or leave it one by one.

    ``diverged_`` maps the position of a member that has left to what happened to it.
    """

    def check_finite(self: Any, values: Tensor, members: Sequence[int] | None, what: str) -> None:
        """Raise, or note the members, if values of shape (m,) are not all finite.

        Raises
        ------
        sksve.NonFiniteLossError
            If the net's ``diverged`` is "raise".
        """
        bad = ~torch.isfinite(values)
        if not bool(bad.any()):
            return
        values = values.detach().cpu()
        for i in bad.nonzero()[:, 0].tolist():
            position = i if members is None else members[i]
            epoch, step = len(self.history), len(self.history[-1].get("batches", ()))
            message = (
                f"The {what} of member {self.member_ids[position]} is {values[i].item()} in epoch "
                f"{epoch}, batch {step}. Training has run away: lower lr (now {self.lr:g}), head_lr "
                f"(now {self.head_lr:g}) or init_scale, or use precision='float32'."
            )
            if self.diverged == "raise":
                raise NonFiniteLossError(message)
            self.diverged_.setdefault(position, message)

    def check_gradients(self: Any, norms: Tensor) -> None:
        """Note members with infinite gradients, and keep these from the optimizer."""
        if not self.diverged_ and bool(torch.isfinite(norms).all()):
            return
        self.check_finite(norms[self.active_], self.active_, "gradient norm")
        lost = list(self.diverged_)
        for p in self.module_.member_parameters():
            if p.grad is not None:
                p.grad[lost] = 0.0

    def check_members(self: Any) -> None:
        """After the last step, note members whose parameters are not finite: no loss has told it."""
        if self.diverged == "raise":  # predict tells
            return
        for position in range(self.module_.n_members):
            whole = all(bool(torch.isfinite(p[position]).all()) for p in self._member_values())
            if not whole:
                self.diverged_.setdefault(
                    position,
                    f"The parameters of member {self.member_ids[position]} are not finite after the "
                    "last step. Training has run away: lower lr, head_lr or init_scale.",
                )

    def _member_values(self: Any) -> list[Tensor]:
        return [p.detach() for p in self.module_.member_parameters()]

    def leave_out_diverged(self: Any) -> None:
        """Stop the members that have diverged in this step."""
        for position in self.diverged_:
            if position in self.active_:
                self.active_.remove(position)


def retry_config(config: Any, attempt: int) -> Any:
    """Settings of a member's next start: half the rates of the one before, other random streams."""
    factor = 0.5**attempt
    return replace(config, lr=config.lr * factor, head_lr=config.head_lr * factor, attempt=attempt)


def train_survivors(
    train_once: Callable[[tuple[int, ...], Any], Any],
    join: Callable[[Any, Any], Any],
    ids: tuple[int, ...],
    config: Any,
) -> Any:
    """Train members jointly, and again those that diverge, if they are to be restarted.

    Members are independent, so a restart beside the others and one after them give the same member.

    Parameters
    ----------
    train_once : callable
        Of members' numbers and settings: ``TrainedMembers``, without those in its ``diverged``.
    join : callable
        Puts two ``TrainedMembers`` together.
    ids : tuple of int
    config : TrainingConfig

    Returns
    -------
    TrainedMembers
        In the order of `ids`; ``diverged`` holds those that were left out.
    """
    members = train_once(ids, config)
    if config.diverged != "restart" or members.interrupted:
        return members
    lost, notes = dict(members.diverged), list(members.notes)
    for k in lost.copy():
        if members.interrupted:
            break
        for attempt in range(1, ATTEMPTS + 1):
            again = train_once((k,), retry_config(config, attempt))
            if again.diverged:
                lost[k] = again.diverged[k]
                continue
            notes.append(
                f"Member {k} has diverged and was trained anew, at {0.5**attempt:g} of the learning "
                f"rates: {lost.pop(k)}"
            )
            members = join(members, again)
            break
    return replace(_in_order(members), diverged=lost, notes=tuple(notes))


def _in_order(members: Any) -> Any:
    order = np.argsort(members.ids, kind="stable")
    if (order == np.arange(len(order))).all():
        return members
    return replace(
        members,
        ids=tuple(members.ids[i] for i in order),
        state=tuple(value[torch.from_numpy(order)] for value in members.state),
        history=[{key: value[order] for key, value in row.items()} for row in members.history],
    )


def warn_of(members: Any) -> None:
    """Say what happened to members on the way; raise if none is left.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning

    Raises
    ------
    sksve.NonFiniteLossError
    """
    if not members.ids:
        first = next(iter(members.diverged.values()))
        raise NonFiniteLossError(f"Every member has diverged. {first}")
    left_out = [
        f"Member {k} has diverged and is left out: {w}" for k, w in members.diverged.items()
    ]
    for note in (*members.notes, *left_out):
        warnings.warn(note, ConvergenceWarning, stacklevel=2)

"""What each member did in each epoch, out of skorch's history."""

from typing import Any

import numpy as np

__all__ = ["member_history", "set_member_history"]

_NAMES = {
    "member_train_loss": "train_loss",
    "member_valid_loss": "valid_loss",
    "member_valid_accuracy": "valid_accuracy",
    "member_padding": "padding",
}


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

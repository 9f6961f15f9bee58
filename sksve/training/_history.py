"""What each member did in each epoch, out of skorch's history."""

from typing import Any

import numpy as np

__all__ = ["member_history", "with_members"]

_NAMES = {
    "member_train_loss": "train_loss",
    "member_valid_loss": "valid_loss",
    "member_valid_accuracy": "valid_accuracy",
    "member_padding": "padding",
}


def member_history(net: Any) -> list[dict[str, np.ndarray]]:
    """One dict per epoch of the net's history, values of shape (n_members,)."""
    return [
        {short: np.asarray(row[long]) for long, short in _NAMES.items() if long in row}
        for row in net.history
    ]


def with_members(log: Any, history: list[dict[str, np.ndarray]]) -> Any:
    """Copy a net's history, and put into its epochs what all members did: it may tell of some only.

    Parameters
    ----------
    log : skorch.history.History
    history : list of dict
        What :func:`member_history` gave, joined over the members.
    """
    long = {short: name for name, short in _NAMES.items()}
    return type(log)(
        {**row, **{long[short]: values.tolist() for short, values in epoch.items()}}
        for row, epoch in zip(log, history)
    )

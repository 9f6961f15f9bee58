"""What each member did in each epoch, out of skorch's history."""

from typing import Any

import numpy as np

__all__ = ["member_history"]

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

"""What a fit does so that it survives: its checkpoints, and members that run away."""

import warnings
from pathlib import Path
from typing import Any

from sksve.estimators._settings import base_seed
from sksve.training import (
    CheckpointSettings,
    TrainedMembers,
    TrainingConfig,
    check_writable,
    clear_checkpoints,
    stored_seed,
)

__all__ = ["checkpoint_folder", "fit_seed", "forget_checkpoints", "survival_settings"]


def checkpoint_folder(clf: Any) -> Path | None:
    """Where the checkpoints of a fit go: absolute, so that a worker elsewhere means the same folder."""
    given = clf.checkpoint_dir
    return None if given is None else Path(given).expanduser().resolve()


def fit_seed(clf: Any) -> int:
    """Seed of a fit: where `random_state` leaves it open, that of the fit which its checkpoint is of."""
    folder = checkpoint_folder(clf)
    if clf.random_state is None and folder is not None:
        known = stored_seed(folder)
        if known is not None:
            return known
    return base_seed(clf.random_state)


def survival_settings(clf: Any) -> dict[str, Any]:
    """Fields of :class:`TrainingConfig` that say what a fit survives, and how.

    Raises
    ------
    OSError
        If checkpoints cannot be written.
    """
    folder = checkpoint_folder(clf)
    settings = None
    if folder is not None:
        check_writable(folder)
        settings = CheckpointSettings(folder, clf.checkpoint_every)
    return {"diverged": clf.diverged_members, "checkpoint": settings}


def forget_checkpoints(config: TrainingConfig, members: TrainedMembers) -> None:
    """Remove the checkpoints of a fit that is complete: the next one is a new fit.

    Warns
    -----
    UserWarning
        If they cannot be removed.
    """
    if config.checkpoint is None or members.interrupted:
        return
    try:
        if config.processes.is_main:
            clear_checkpoints(config.checkpoint.folder)
        config.processes.wait()  # nobody begins the next fit with these still there
    except OSError as error:
        warnings.warn(
            f"The checkpoints of this fit could not be removed: {error}. Remove them, or the same "
            "fit called again takes its result from them.",
            UserWarning,
            stacklevel=4,
        )

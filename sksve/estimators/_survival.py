"""The checkpoints of a fit, as the estimators use them."""

from pathlib import Path
from typing import Any

from sksve.estimators._settings import base_seed
from sksve.training import (
    TrainedMembers,
    TrainingConfig,
    check_writable,
    clear_checkpoints,
    stored_seed,
)

__all__ = ["fit_seed", "forget_checkpoints", "writable_folder"]


def _folder(clf: Any) -> Path | None:
    """Where checkpoints go: absolute, so that a worker elsewhere means the same folder."""
    given = clf.checkpoint_dir
    return None if given is None else Path(given).expanduser().resolve()


def fit_seed(clf: Any) -> int:
    """Seed of a fit: where `random_state` leaves it open, that of the fit it continues."""
    folder = _folder(clf)
    known = None
    if clf.random_state is None and folder is not None:
        known = stored_seed(folder)
    return base_seed(clf.random_state) if known is None else known


def writable_folder(clf: Any) -> Path | None:
    """Folder of the checkpoints, if any; OSError if they cannot be written."""
    folder = _folder(clf)
    if folder is not None:
        check_writable(folder)
    return folder


def forget_checkpoints(config: TrainingConfig, members: TrainedMembers) -> None:
    """Remove the checkpoints of a fit that is complete: the next one is a new fit."""
    if config.checkpoint_dir is None or members.interrupted:
        return
    if config.processes.is_main:
        clear_checkpoints(config.checkpoint_dir)
    config.processes.gather(None)  # nobody begins the next fit with these still there

"""What of a fit is the machine's, not the method's: seed, device, precision."""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sksve.training import (
    Run,
    TrainedMembers,
    Training,
    clear_checkpoints,
    stored_seed,
)

__all__ = [
    "Precision",
    "base_seed",
    "checkpoint_folder",
    "choose_device",
    "fit_seed",
    "forget_checkpoints",
    "run_of",
]


def base_seed(random_state: Any) -> int:
    """Draw the seed from which every member's streams derive; None means fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, Integral):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    return int(random_state.randint(2**31 - 1))


def checkpoint_folder(training: Training) -> Path | None:
    """Where checkpoints go: absolute, so that a worker elsewhere means the same folder."""
    given = training.checkpoint_dir
    return None if given is None else Path(given).expanduser().resolve()


def fit_seed(random_state: Any, checkpoints: Path | None) -> int:
    """Seed of a fit: where `random_state` leaves it open, that of the fit it continues."""
    known = None
    if random_state is None and checkpoints is not None:
        known = stored_seed(checkpoints)
    return base_seed(random_state) if known is None else known


def forget_checkpoints(run: Run, members: TrainedMembers) -> None:
    """Remove the checkpoints of a fit that is complete: the next one is a new fit."""
    if run.checkpoint_dir is None or members.interrupted:
        return
    if run.processes.is_main:
        clear_checkpoints(run.checkpoint_dir)
    run.processes.gather(None)  # nobody begins the next fit with these still there


def choose_device(device: Any) -> str:
    """Turn "auto" into "cuda" or "cpu"; ValueError if torch cannot reach another."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"The 'device' parameter must be 'auto' or a device that torch can reach here. Got "
            f"{device!r} instead ({str(error).splitlines()[0]})"
        ) from error
    return str(chosen)


@dataclass(frozen=True)
class Precision:
    """Dtype of weights and results, and of the autocast forward pass in training and prediction."""

    dtype: torch.dtype
    training: torch.dtype | None
    prediction: torch.dtype | None

    @classmethod
    def choose(cls, precision: str, device: str) -> "Precision":
        """Resolve ``"auto"``: float32, and bfloat16 autocast for training on CUDA."""
        if precision == "float64":
            return cls(torch.float64, None, None)
        if precision == "bfloat16":
            return cls(torch.float32, torch.bfloat16, torch.bfloat16)
        fast = precision == "auto" and device.startswith("cuda")
        return cls(torch.float32, torch.bfloat16 if fast else None, None)


def run_of(n_classes: int, device: str, precision: Precision) -> Run:
    """Tell the training room what is the machine's and the data's."""
    return Run(n_classes, device, precision.dtype, precision.training)

"""From user-level parameters to settings: seed, device, precision, layers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import nn

from sksve.adapters import SVDLinear
from sksve.backbones import Backbone

__all__ = ["CONSTRAINTS", "Precision", "SVDFactory", "base_seed", "choose_device"]


class _Number(Interval):
    """An interval of numbers; scikit-learn's own takes True for 1."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool) and super().is_satisfied_by(val)


class _ListOf(HasMethods):
    """A list of objects or classes with these methods, each alone or as (name, object)."""

    def is_satisfied_by(self, val: Any) -> bool:
        return isinstance(val, (list, tuple)) and all(
            super(_ListOf, self).is_satisfied_by(self._without_name(item)) for item in val
        )

    @staticmethod
    def _without_name(item: Any) -> Any:
        named = isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)
        return item[1] if named else item

    def __str__(self) -> str:
        return "a list of skorch callbacks or of (name, callback) pairs"


_POSITIVE = _Number(Real, 0, None, closed="neither")
_NON_NEGATIVE = _Number(Real, 0, None, closed="left")

#: scikit-learn constraints of every parameter.
CONSTRAINTS: dict[str, list[Any]] = {
    "backbone": [str, os.PathLike, tuple, list, Backbone],
    "n_members": [_Number(Integral, 1, None, closed="left")],
    "rank": [
        _Number(Integral, 1, None, closed="left"),
        _Number(Real, 0, 1, closed="neither"),
        None,
    ],
    "off_diagonals": [_Number(Integral, 0, None, closed="left")],
    "direction_pool": [_Number(Integral, 1, None, closed="left"), None],
    "target_modules": [str, list, tuple],
    "adapt_blocks": [_Number(Integral, 1, None, closed="left"), None],
    "init_scale": [_NON_NEGATIVE],
    "band_init_scale": [_NON_NEGATIVE],
    "train_bias": ["boolean"],
    "member_batches": [StrOptions({"independent", "shared"})],
    "max_epochs": [_Number(Integral, 1, None, closed="left")],
    "batch_size": [_Number(Integral, 1, None, closed="left")],
    "lr": [_POSITIVE],
    "head_lr": [_POSITIVE],
    "head_init_scale": [_NON_NEGATIVE],
    "weight_decay": [_NON_NEGATIVE],
    "anchored": ["boolean"],
    "freeze_out": [_Number(Real, 0, 1, closed="right"), None],
    "core_optimizer": [StrOptions({"adamw", "muon"})],
    "warmup": [_Number(Real, 0, 1, closed="both")],
    "max_grad_norm": [_POSITIVE, None],
    "early_stopping": ["boolean"],
    "validation_fraction": [_Number(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [_Number(Integral, 1, None, closed="left")],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "max_length": [_Number(Integral, 1, None, closed="left")],
    "pooling": [StrOptions({"auto", "mean", "cls", "last"})],
    "serializer": [HasMethods(["fit", "transform"]), StrOptions({"pair"}), None],
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", "float32", "float64", "bfloat16"})],
    "n_jobs": [
        _Number(Integral, 1, None, closed="left"),
        _Number(Integral, None, -1, closed="right"),
        None,
    ],
    "data_parallel": ["boolean"],
    "callbacks": [_ListOf(["on_epoch_end", "on_train_end"]), None],
    "verbose": ["verbose"],
    "checkpoint_dir": [str, os.PathLike, None],
    "warm_start": ["boolean"],
    "random_state": ["random_state", np.random.Generator],
}


def base_seed(random_state: Any) -> int:
    """Draw the seed from which every member's streams derive.

    numpy's global generator is neither read nor moved: None means fresh entropy.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, Integral):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    return int(random_state.randint(2**31 - 1))


def choose_device(device: Any) -> str:
    """Turn ``"auto"`` into ``"cuda"`` where there is one, else ``"cpu"``; check any other name.

    Raises
    ------
    ValueError
        If torch does not know the device or cannot reach it.
    """
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


@dataclass(frozen=True)
class SVDFactory:
    """Makes the layers of a singular value ensemble; a class, so that it can be pickled."""

    rank: int | float | None
    off_diagonals: int
    init_scale: float
    band_init_scale: float
    train_bias: bool
    direction_pool: int | None = None

    def __call__(self, linear: nn.Module, generators: Sequence[torch.Generator]) -> nn.Module:
        core, off_diagonals = "banded" if self.off_diagonals else "diagonal", self.off_diagonals
        if core == "banded" and isinstance(self.rank, Integral) and off_diagonals >= self.rank - 1:
            core, off_diagonals = "full", 0
        return SVDLinear.from_linear(
            linear,
            len(generators),
            rank=self.rank,
            core=core,  # type: ignore[arg-type]
            off_diagonals=off_diagonals,
            direction_pool=self.direction_pool,
            init_scale=self.init_scale,
            train_bias=self.train_bias,
            generator=generators,
        )

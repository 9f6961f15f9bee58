"""Every parameter of the classifiers, declared once: its default, what it may be, and what it decides."""

import os
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, StrOptions

from sksve._validation import Number, parameter
from sksve.backbones import Backbone
from sksve.training import AUTO, Training

__all__ = [
    "AT_LEAST_ONE",
    "POSITIVE",
    "SHARE",
    "AdaptedParameters",
    "CommonParameters",
    "EnsembleParameters",
]

AT_LEAST_ONE = Number(Integral, 1, None, closed="left")
POSITIVE = Number(Real, 0, None, closed="neither")
SHARE = Number(Real, 0, 1, closed="neither")


@dataclass(eq=False, repr=False)
class CommonParameters:
    """What every classifier has."""

    backbone: Any = parameter(
        "all-MiniLM-L6-v2", str, os.PathLike, tuple, list, Backbone, scope="member", saved=False
    )
    _: KW_ONLY
    max_epochs: int | str = parameter("auto", AT_LEAST_ONE, AUTO)
    batch_size: int | str = parameter("auto", AT_LEAST_ONE, AUTO)
    weight_decay: float | str = parameter("auto", Number(Real, 0, None, closed="left"), AUTO)
    early_stopping: bool = parameter(False, "boolean")
    class_weight: Any = parameter(None, dict, StrOptions({"balanced"}), None)
    max_length: int = parameter(128, AT_LEAST_ONE, scope="member")
    serializer: Any = parameter(
        None,
        HasMethods(["fit", "transform"]),
        StrOptions({"pair"}),
        None,
        scope="member",
        saved=False,
    )
    training: Training | None = parameter(None, Training, None)
    device: Any = parameter("auto", str, torch.device, scope="run", saved=False)
    precision: str = parameter(
        "auto", StrOptions({"auto", "float32", "float64", "bfloat16"}), scope="member"
    )
    verbose: int = parameter(0, "verbose", scope="run")
    random_state: Any = parameter(None, "random_state", np.random.Generator, scope="run")


@dataclass(eq=False, repr=False, kw_only=True)
class AdaptedParameters:
    """What classifiers have whose backbone learns."""

    adapt_blocks: int | float | str | None = parameter(
        "auto", AT_LEAST_ONE, Number(Real, 0, 1, closed="right"), None, AUTO, scope="member"
    )
    lr: float | str = parameter("auto", POSITIVE, AUTO)


@dataclass(eq=False, repr=False, kw_only=True)
class EnsembleParameters:
    """What classifiers have that train several members."""

    n_members: int = parameter(5, AT_LEAST_ONE, scope="run")
    n_jobs: int | None = parameter(
        None, AT_LEAST_ONE, Number(Integral, None, -1, closed="right"), None, scope="run"
    )
    warm_start: bool = parameter(False, "boolean", scope="run")

"""Every parameter of the classifiers, declared once: its default, what it may be, and what it decides."""

import copy
import os
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, StrOptions

from sksve._validation import SEED, Number, check_parameters, parameter
from sksve.backbones import Backbone, as_backbone
from sksve.training import AUTO, Training

AT_LEAST_ONE = Number(Integral, 1, None, closed="left")
POSITIVE = Number(Real, 0, None, closed="neither")
SHARE = Number(Real, 0, 1, closed="neither")
LONG_TEXTS = StrOptions({"truncate", "windows"})


class _Hints:  # a base of its own, so that signatures are those of __init__
    def __new__(cls, *args: Any, **params: Any) -> Self:
        for name in params:
            if hint := _moved(cls, name):
                raise TypeError(hint)
        return super().__new__(cls)


@dataclass(eq=False, repr=False)
class CommonParameters(_Hints):
    """What every classifier has."""

    backbone: Any = parameter(
        "all-MiniLM-L6-v2", str, os.PathLike, tuple, list, Backbone, scope="member", saved=False
    )
    _: KW_ONLY
    class_weight: Any = parameter(None, dict, StrOptions({"balanced"}), None)
    max_length: int = parameter(128, AT_LEAST_ONE, scope="member")
    long_texts: str = parameter("truncate", LONG_TEXTS, scope="member")
    serializer: Any = parameter(
        None,
        HasMethods(["fit", "transform"]),
        StrOptions({"pair"}),
        None,
        scope="member",
        saved=False,
    )
    side_features: Any = parameter(
        "auto", HasMethods(["fit", "transform"]), AUTO, None, scope="member"
    )
    device: Any = parameter("auto", str, torch.device, scope="run", saved=False)
    precision: str = parameter(
        "auto", StrOptions({"auto", "float32", "float64", "bfloat16"}), scope="member"
    )
    # Not saved: a loaded model does not print.
    verbose: int = parameter(0, "verbose", scope="run", saved=False)
    random_state: Any = parameter(None, *SEED, np.random.Generator, scope="run")


@dataclass(eq=False, repr=False, kw_only=True)
class AdaptedParameters:
    """What classifiers have whose backbone learns."""

    adapt_blocks: int | float | str | None = parameter(
        "auto", AT_LEAST_ONE, Number(Real, 0, 1, closed="right"), None, AUTO, scope="member"
    )
    max_epochs: int | str = parameter("auto", AT_LEAST_ONE, AUTO)
    batch_size: int | str = parameter("auto", AT_LEAST_ONE, AUTO)
    lr: float | str = parameter("auto", POSITIVE, AUTO)
    weight_decay: float | str = parameter("auto", Number(Real, 0, None, closed="left"), AUTO)
    early_stopping: bool = parameter(False, "boolean")
    training: Training | None = parameter(None, Training, None)


@dataclass(eq=False, repr=False, kw_only=True)
class EnsembleParameters:
    """What classifiers have that train several members."""

    n_members: int = parameter(5, AT_LEAST_ONE, scope="run")
    n_jobs: int | None = parameter(
        None, AT_LEAST_ONE, Number(Integral, None, -1, closed="right"), None, scope="run"
    )
    warm_start: bool = parameter(False, "boolean", scope="run")


class NestedOptions:
    """Options of `training` and `backbone`, which are set by name: ``training__head_lr``."""

    def get_params(self: Any, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether the options of `training` are among them, as ``training__<name>``; where it is None,
            with their defaults. Likewise the options of a ``Backbone``.

        Returns
        -------
        dict of str to object
        """
        params: dict[str, Any] = super().get_params(deep)  # type: ignore[misc]
        if deep and params.get("training", "none of its own") is None:
            params |= {
                f"training__{name}": value for name, value in Training().get_params().items()
            }
        return params

    def set_params(self: Any, **params: Any) -> Any:
        """Set parameters; those of `training` and `backbone` as ``training__<name>``, ``backbone__<name>``.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self
        """
        for name in params:
            if hint := _moved(type(self), name):
                raise ValueError(hint)
        for name in ("training", "backbone"):
            start = f"{name}__"
            options = {k.removeprefix(start): v for k, v in params.items() if k.startswith(start)}
            if options:
                value = params.get(name, getattr(self, name))
                value = self._checked_training(value) if name == "training" else as_backbone(value)
                params = {k: v for k, v in params.items() if not k.startswith(start)}
                # A copy: whoever shares it (another classifier, a preset) keeps theirs.
                params[name] = copy.copy(value).set_params(**options)
        return super().set_params(**params)  # type: ignore[misc]

    def _checked_training(self, value: Any) -> Training:
        allowed = {"training": [Training, None]}
        check_parameters(allowed, {"training": value}, owner=type(self).__name__)
        return Training() if value is None else value


def _moved(cls: Any, name: str) -> str:
    """Where a parameter is that `cls` does not have itself; empty if nowhere."""
    for owner, place in ((Training, "training"), (Backbone, "backbone")):
        own = cls._get_param_names()
        if place in own and name in owner._get_param_names() and name not in own:
            return (
                f"{cls.__name__} has no parameter {name!r}: it is an option of {owner.__name__}. Set it as "
                f"{place}={owner.__name__}(..., {name}=...), or with set_params({place}__{name}=...)."
            )
    return ""

"""The one place where benchmarks build estimators.

Settings are flat and have the names under which results record them, whatever the estimators call them now.
"""

from typing import Any

import sksve
from sksve import baselines

__all__ = ["class_of", "make_estimator", "parameters_of"]


def class_of(name: str) -> Any:
    """An estimator's class, by its name."""
    return getattr(sksve, name, None) or getattr(baselines, name)


def parameters_of(name: str) -> dict[str, Any]:
    """What a class can be told, and its defaults, under the names of the results."""
    defaults: dict[str, Any] = class_of(name)().get_params(deep=False)
    return defaults


def make_estimator(name: str, **settings: Any) -> Any:
    """Build an estimator of a class."""
    return class_of(name)(**settings)

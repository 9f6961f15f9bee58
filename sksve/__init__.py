"""Singular value ensembles and calibration behind scikit-learn's API.

Importing :mod:`sksve` is cheap: a name is imported when it is first used, so that
``import sksve.metrics`` loads neither torch nor transformers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

# Public name -> the module that defines it.
_LAZY = {
    "Backbone": "sksve.backbones",
    "MemberSearchCV": "sksve.estimators",
    "NoveltyDetector": "sksve.estimators",
    "SVEClassifier": "sksve.estimators",
    "Training": "sksve.estimators",
    "CalibrationComparison": "sksve.comparison",
    "compare_calibration": "sksve.comparison",
    "load": "sksve.persistence._savable",
    "predict_uncertainty": "sksve.metrics._predict_uncertainty",
    "show_versions": "sksve._versions",
    "BackboneNotFoundError": "sksve._exceptions",
    "CalibrationWarning": "sksve._exceptions",
    "FetchError": "sksve._exceptions",
    "IntegrityError": "sksve._exceptions",
    "NonFiniteLossError": "sksve._exceptions",
    "PersistenceError": "sksve._exceptions",
    "SksveError": "sksve._exceptions",
    "TruncationWarning": "sksve._exceptions",
}
_ROOMS = (
    "adapters",
    "backbones",
    "baselines",
    "calibration",
    "comparison",
    "datasets",
    "diagnostics",
    "estimators",
    "metrics",
    "onnx",
    "persistence",
    "plotting",
    "preprocessing",
)

__all__ = ["__version__", *_LAZY, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

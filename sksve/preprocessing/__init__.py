"""From tables to texts, and from texts, tables and images to vectors, for scikit-learn's pipelines."""

from importlib import import_module
from typing import Any

from sksve.preprocessing._tabular_to_text import TabularToText

__all__ = ["BackboneFeatures", "TabularToText"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: it needs torch, and rooms that themselves read tables with this one.
    if name == "BackboneFeatures":
        return import_module("sksve.estimators._features").BackboneFeatures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

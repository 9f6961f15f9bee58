"""Saved models: one folder of safetensors, strict JSON and a model card, replaced in one step.

The room knows no estimator and loads no torch: what is saved comes as a :class:`SavedModel` of values and
numpy arrays, and the rooms above say what is in it.
"""

from sksve.persistence._card import CardFacts
from sksve.persistence._folder import probe_folder, read_folder, replace_file, write_folder
from sksve.persistence._savable import Savable
from sksve.persistence._values import (
    SavedModel,
    class_named,
    decode,
    dumps,
    encode,
    loads,
    set_fitted,
)

__all__ = [
    "CardFacts",
    "Savable",
    "SavedModel",
    "class_named",
    "decode",
    "dumps",
    "encode",
    "loads",
    "probe_folder",
    "read_folder",
    "replace_file",
    "set_fitted",
    "write_folder",
]

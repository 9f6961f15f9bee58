"""Saved models: one folder of safetensors, strict JSON and a model card, replaced in one step.

The room knows no estimator and loads no torch: what is saved comes as plain values and numpy arrays.
"""

from sksve.persistence._card import CardFacts, check_metrics, model_card
from sksve.persistence._classes import class_named
from sksve.persistence._files import TEMPORARY, replace_file, sweep_temporary, sync_folder
from sksve.persistence._folder import (
    SCHEMA_VERSION,
    SavedModel,
    check_target,
    read_folder,
    write_folder,
)
from sksve.persistence._hub import check_hub, push_folder
from sksve.persistence._json import dumps, loads
from sksve.persistence._objects import check_learned_name, decode_object, encode_object
from sksve.persistence._savable import Savable
from sksve.persistence._values import decode, encode

__all__ = [
    "SCHEMA_VERSION",
    "TEMPORARY",
    "CardFacts",
    "Savable",
    "SavedModel",
    "check_hub",
    "check_learned_name",
    "check_metrics",
    "check_target",
    "class_named",
    "decode",
    "decode_object",
    "dumps",
    "encode",
    "encode_object",
    "loads",
    "model_card",
    "push_folder",
    "read_folder",
    "replace_file",
    "sweep_temporary",
    "sync_folder",
    "write_folder",
]

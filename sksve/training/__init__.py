"""Joint training of independent members on a skorch net, and the inference sweep.

No formula of the method (that is ``sksve.adapters``) and no scikit-learn face (``sksve.estimators``).
"""

from sksve.training._data import TokenDataset
from sksve.training._fit import (
    LayerFactory,
    TrainedMembers,
    TrainingConfig,
    assemble,
    build_module,
    join,
    train,
)
from sksve.training._inference import predict_logits, softmax64
from sksve.training._merged import MemberModel, merged_model
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet
from sksve.training._restore import describe_frozen, restore_net, saved_state

__all__ = [
    "EnsembleModule",
    "LayerFactory",
    "MemberModel",
    "MemberNet",
    "TokenDataset",
    "TrainedMembers",
    "TrainingConfig",
    "assemble",
    "build_module",
    "describe_frozen",
    "join",
    "merged_model",
    "predict_logits",
    "restore_net",
    "saved_state",
    "softmax64",
    "train",
]

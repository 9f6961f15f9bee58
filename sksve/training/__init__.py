"""Joint training of independent members on a skorch net, and the inference sweep.

No formula of the method (that is ``sksve.adapters``) and no scikit-learn face (``sksve.estimators``).
"""

from sksve.training._continue import train_further
from sksve.training._data import TokenDataset
from sksve.training._feature_cache import feature_cache
from sksve.training._first import take_first
from sksve.training._fit import (
    LayerFactory,
    MemberFactory,
    TrainedMembers,
    TrainingConfig,
    assemble,
    build_module,
    join,
    train,
)
from sksve.training._image_data import ImageDataset
from sksve.training._inference import compute_features, predict_logits, softmax64
from sksve.training._merged import MemberModel, merged_model
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet
from sksve.training._pooled import pooled_vectors
from sksve.training._processes import Processes, join_processes
from sksve.training._restore import describe_frozen, restore_net, saved_state
from sksve.training._seeds import sample_seeds
from sksve.training._whole import WholeBackbone

__all__ = [
    "EnsembleModule",
    "ImageDataset",
    "LayerFactory",
    "MemberFactory",
    "MemberModel",
    "MemberNet",
    "Processes",
    "TokenDataset",
    "TrainedMembers",
    "TrainingConfig",
    "WholeBackbone",
    "assemble",
    "build_module",
    "compute_features",
    "describe_frozen",
    "feature_cache",
    "join",
    "join_processes",
    "merged_model",
    "pooled_vectors",
    "predict_logits",
    "restore_net",
    "sample_seeds",
    "saved_state",
    "softmax64",
    "take_first",
    "train",
    "train_further",
]

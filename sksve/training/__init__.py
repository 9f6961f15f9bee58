"""Joint training of independent members on a skorch net, and the inference sweep.

No formula of the method (that is ``sksve.adapters``) and no scikit-learn face (``sksve.estimators``).
"""

from sksve.training._continue import train_further
from sksve.training._data import TokenDataset
from sksve.training._first import take_first
from sksve.training._fit import (
    LayerFactory,
    TrainedMembers,
    TrainingConfig,
    assemble,
    build_module,
    join,
    train,
)
from sksve.training._image_data import ImageDataset
from sksve.training._inference import predict_logits, softmax64
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet

__all__ = [
    "EnsembleModule",
    "ImageDataset",
    "LayerFactory",
    "MemberNet",
    "TokenDataset",
    "TrainedMembers",
    "TrainingConfig",
    "assemble",
    "build_module",
    "join",
    "predict_logits",
    "softmax64",
    "take_first",
    "train",
    "train_further",
]

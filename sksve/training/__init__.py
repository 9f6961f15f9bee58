"""Joint training of independent members on a skorch net, and the inference sweep.

No formula of the method (that is ``sksve.adapters``) and no scikit-learn face (``sksve.estimators``).
"""

from sksve.training._data import TokenDataset
from sksve.training._feature_cache import feature_cache
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
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet
from sksve.training._pooled import pooled_vectors
from sksve.training._seeds import sample_seeds
from sksve.training._whole import WholeBackbone

__all__ = [
    "EnsembleModule",
    "ImageDataset",
    "LayerFactory",
    "MemberFactory",
    "MemberNet",
    "TokenDataset",
    "TrainedMembers",
    "TrainingConfig",
    "WholeBackbone",
    "assemble",
    "build_module",
    "compute_features",
    "feature_cache",
    "join",
    "pooled_vectors",
    "predict_logits",
    "sample_seeds",
    "softmax64",
    "train",
]

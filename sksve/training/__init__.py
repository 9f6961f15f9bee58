"""Joint training of independent members on a skorch net, and the inference sweep.

No formula of the method (that is ``sksve.adapters``) and no scikit-learn face (``sksve.estimators``).
"""

from sksve.training._callbacks import check_callbacks
from sksve.training._checkpoint import check_writable, clear_checkpoints, stored_seed
from sksve.training._data import ImageDataset, MemberDataset, TokenDataset
from sksve.training._fit import (
    MemberFactory,
    TrainedMembers,
    assemble,
    build_module,
    make_net,
    train,
)
from sksve.training._frozen import (
    LayerVectors,
    compute_features,
    frozen_vectors,
    layer_vectors,
    unit_rows,
)
from sksve.training._inference import (
    Progress,
    pooled_vectors,
    predict_logits,
    softmax64,
)
from sksve.training._module import WholeBackbone
from sksve.training._net import MemberNet
from sksve.training._regression import RegressionRows, bootstrap_weights, choose_strength
from sksve.training._reuse import (
    MemberModel,
    merged_model,
    restore_net,
    take_first,
    train_further,
)
from sksve.training._run import (
    Precision,
    Processes,
    Run,
    base_seed,
    choose_device,
    sample_seeds,
)
from sksve.training._settings import AUTO, Settings, Training, is_auto, same_value

__all__ = [
    "AUTO",
    "ImageDataset",
    "LayerVectors",
    "MemberDataset",
    "MemberFactory",
    "MemberModel",
    "MemberNet",
    "Precision",
    "Processes",
    "Progress",
    "RegressionRows",
    "Run",
    "Settings",
    "TokenDataset",
    "TrainedMembers",
    "Training",
    "WholeBackbone",
    "assemble",
    "base_seed",
    "bootstrap_weights",
    "build_module",
    "check_callbacks",
    "check_writable",
    "choose_device",
    "choose_strength",
    "clear_checkpoints",
    "compute_features",
    "frozen_vectors",
    "is_auto",
    "layer_vectors",
    "make_net",
    "merged_model",
    "pooled_vectors",
    "predict_logits",
    "restore_net",
    "same_value",
    "sample_seeds",
    "softmax64",
    "stored_seed",
    "take_first",
    "train",
    "train_further",
    "unit_rows",
]

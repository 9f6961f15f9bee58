"""The mathematics: singular value decomposition and the layers whose members share a weight.

Everything here is torch only and knows neither transformers nor scikit-learn. A layer works on
stacked members, member axis outermost: its input has ``n_members * b`` rows, the first ``b`` of
them belonging to member 0.
"""

from sksve.adapters._basis import (
    BasisMismatchError,
    align_basis,
    near_equal_groups,
    project_basis,
    restore_basis,
    saved_basis,
)
from sksve.adapters._batch_ensemble import BatchEnsembleLinear, batch_ensemble_linear
from sksve.adapters._cache import (
    SVDCache,
    cached_decompose,
    clear_svd_cache,
    mark_frozen,
    svd_cache,
    weight_key,
)
from sksve.adapters._decompose import decompose
from sksve.adapters._dropout import FeatureDropout, dropout_layers, fixed_masks
from sksve.adapters._lora import LoRALinear, lora_linear
from sksve.adapters._member_linear import MemberLinear, MemberModule
from sksve.adapters._rank import energy_rank, numerical_rank, resolve_rank
from sksve.adapters._svd_linear import SVDLinear
from sksve.adapters._switch import WeightBuffers, member_layers, merged_member, use_members

__all__ = [
    "BasisMismatchError",
    "BatchEnsembleLinear",
    "FeatureDropout",
    "LoRALinear",
    "MemberLinear",
    "MemberModule",
    "SVDCache",
    "SVDLinear",
    "WeightBuffers",
    "align_basis",
    "batch_ensemble_linear",
    "cached_decompose",
    "clear_svd_cache",
    "decompose",
    "dropout_layers",
    "energy_rank",
    "fixed_masks",
    "lora_linear",
    "mark_frozen",
    "member_layers",
    "merged_member",
    "near_equal_groups",
    "numerical_rank",
    "project_basis",
    "resolve_rank",
    "restore_basis",
    "saved_basis",
    "svd_cache",
    "use_members",
    "weight_key",
]

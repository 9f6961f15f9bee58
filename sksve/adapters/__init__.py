"""The mathematics: singular value decomposition and the layers whose members share a weight.

Everything here is torch only and knows neither transformers nor scikit-learn. A layer works on
stacked members, member axis outermost: its input has ``n_members * b`` rows, the first ``b`` of
them belonging to member 0.
"""

from sksve.adapters._basis import BasisMismatchError
from sksve.adapters._decompose import (
    SVDCache,
    check_pool,
    clear_svd_cache,
    decompose,
    mark_frozen,
    svd_cache,
)
from sksve.adapters._members import (
    MemberLinear,
    MemberModule,
    member_layers,
    merged_member,
    pretrained_layers,
    use_members,
)
from sksve.adapters._rivals import (
    BatchEnsembleLinear,
    FeatureDropout,
    LoRALinear,
    dropout_layers,
    fixed_masks,
)
from sksve.adapters._svd_linear import SVDLinear

__all__ = [
    "BasisMismatchError",
    "BatchEnsembleLinear",
    "FeatureDropout",
    "LoRALinear",
    "MemberLinear",
    "MemberModule",
    "SVDCache",
    "SVDLinear",
    "check_pool",
    "clear_svd_cache",
    "decompose",
    "dropout_layers",
    "fixed_masks",
    "mark_frozen",
    "member_layers",
    "merged_member",
    "pretrained_layers",
    "svd_cache",
    "use_members",
]

"""The mathematics: singular value decomposition and the layers whose members share its vectors.

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
from sksve.adapters._cache import SVDCache, cached_decompose, svd_cache, weight_key
from sksve.adapters._decompose import decompose
from sksve.adapters._functional import apply_band, band_size, sve_linear
from sksve.adapters._rank import energy_rank, numerical_rank, resolve_rank
from sksve.adapters._svd_linear import SVDLinear
from sksve.adapters._switch import merged_member, svd_layers, use_members

__all__ = [
    "BasisMismatchError",
    "SVDCache",
    "SVDLinear",
    "align_basis",
    "apply_band",
    "band_size",
    "cached_decompose",
    "decompose",
    "energy_rank",
    "merged_member",
    "near_equal_groups",
    "numerical_rank",
    "project_basis",
    "resolve_rank",
    "restore_basis",
    "saved_basis",
    "svd_cache",
    "svd_layers",
    "sve_linear",
    "use_members",
    "weight_key",
]

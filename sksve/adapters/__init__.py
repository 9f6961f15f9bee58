"""The mathematics: singular value decomposition and the layers whose members share its vectors.

Everything here is torch only and knows neither transformers nor scikit-learn. A layer works on
stacked members, member axis outermost: its input has ``n_members * b`` rows, the first ``b`` of
them belonging to member 0.
"""

from sksve.adapters._cache import SVDCache, cached_decompose, svd_cache
from sksve.adapters._decompose import decompose
from sksve.adapters._functional import apply_band, band_size, sve_linear
from sksve.adapters._rank import energy_rank, numerical_rank, resolve_rank
from sksve.adapters._routes import choose_route
from sksve.adapters._svd_linear import SVDLinear
from sksve.adapters._switch import merged_member, svd_layers, use_members

__all__ = [
    "SVDCache",
    "SVDLinear",
    "apply_band",
    "band_size",
    "cached_decompose",
    "choose_route",
    "decompose",
    "energy_rank",
    "merged_member",
    "numerical_rank",
    "resolve_rank",
    "svd_cache",
    "svd_layers",
    "sve_linear",
    "use_members",
]

"""Pretrained transformers: found, loaded as private copies, planned, adapted and cut in two.

name, folder or pair -> :func:`resolve_backbone` -> :func:`load_backbone` -> :func:`plan_adaptation`
-> :func:`swap_modules` -> :class:`SplitBackbone`. transformers is imported when first needed.
"""

from sksve.backbones._adapt import (
    AdapterReport,
    adapter_report,
    swap_modules,
)
from sksve.backbones._backbone import Backbone, as_backbone
from sksve.backbones._copies import MemberCopies
from sksve.backbones._fetch import fetch_backbone
from sksve.backbones._identity import check_identity, describe_config, describe_processor
from sksve.backbones._load import LoadedBackbone, load_backbone
from sksve.backbones._plan import (
    AdaptationPlan,
    plan_adaptation,
    plan_from_config,
)
from sksve.backbones._pooling import is_vision, pool_tokens
from sksve.backbones._resolve import ResolvedBackbone, resolve_backbone
from sksve.backbones._split import (
    SplitBackbone,
    count_image_tokens,
    entry_replaces_inputs,
    eval_mode,
    run_model,
)
from sksve.backbones._tiny import TINY_FAMILIES, TINY_VISION_FAMILIES, make_tiny_backbone

__all__ = [
    "TINY_FAMILIES",
    "TINY_VISION_FAMILIES",
    "AdaptationPlan",
    "AdapterReport",
    "Backbone",
    "LoadedBackbone",
    "MemberCopies",
    "ResolvedBackbone",
    "SplitBackbone",
    "adapter_report",
    "as_backbone",
    "check_identity",
    "count_image_tokens",
    "describe_config",
    "describe_processor",
    "entry_replaces_inputs",
    "eval_mode",
    "fetch_backbone",
    "is_vision",
    "load_backbone",
    "make_tiny_backbone",
    "plan_adaptation",
    "plan_from_config",
    "pool_tokens",
    "resolve_backbone",
    "run_model",
    "swap_modules",
]

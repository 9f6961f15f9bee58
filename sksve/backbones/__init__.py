"""Pretrained transformers: found, loaded as private copies, planned, adapted and cut in two.

name, folder or pair -> :func:`resolve_backbone` -> :func:`load_backbone` -> :func:`plan_adaptation`
-> :func:`swap_modules` -> :class:`SplitBackbone`. transformers is imported when first needed.
"""

from sksve.backbones._copies import MemberCopies
from sksve.backbones._fetch import fetch_backbone
from sksve.backbones._identity import check_identity, describe_config, describe_processor
from sksve.backbones._load import LoadedBackbone, load_backbone
from sksve.backbones._plan import (
    AdaptationPlan,
    blocks_of,
    plan_adaptation,
    swap_modules,
)
from sksve.backbones._pooling import pool_tokens
from sksve.backbones._probe import run_model
from sksve.backbones._proof import prove
from sksve.backbones._report import AdapterReport
from sksve.backbones._resolve import Backbone, ResolvedBackbone, as_backbone, resolve_backbone
from sksve.backbones._runs import count_image_tokens
from sksve.backbones._split import SplitBackbone, eval_mode
from sksve.backbones._tiny import make_tiny_backbone
from sksve.backbones._windows import Windows, in_windows

__all__ = [
    "AdaptationPlan",
    "AdapterReport",
    "Backbone",
    "LoadedBackbone",
    "MemberCopies",
    "ResolvedBackbone",
    "SplitBackbone",
    "Windows",
    "as_backbone",
    "blocks_of",
    "check_identity",
    "count_image_tokens",
    "describe_config",
    "describe_processor",
    "eval_mode",
    "fetch_backbone",
    "in_windows",
    "load_backbone",
    "make_tiny_backbone",
    "plan_adaptation",
    "pool_tokens",
    "prove",
    "resolve_backbone",
    "run_model",
    "swap_modules",
]

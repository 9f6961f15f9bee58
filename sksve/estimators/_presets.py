"""Settings that won on several data sets and are too many to type.

Examples
--------
They go wherever parameters go, and what differs stands beside them:

>>> from sksve import RANDOM_SUBSPACES, SVEClassifier
>>> clf = SVEClassifier(n_members=3, **RANDOM_SUBSPACES)
>>> clf.set_params(head_lr=0.0015, weight_decay=15.0, anchored=True, head_init_scale=0.04).weight_decay
15.0
>>> SVEClassifier(**RANDOM_SUBSPACES | {"head_lr": 0.007, "weight_decay": 0.0, "batch_size": 12}).lr
0.008
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["RANDOM_SUBSPACES"]

#: `SVEClassifier` for some hundred rows, on a backbone of six blocks: cores of two thirds of the blocks, in
#: directions each member draws for itself, moved by Muon, the lower blocks for a part of the steps. What
#: ``docs/evidence.md`` calls random subspaces; of its trials `head_lr` is the middle one. Images (twelve
#: blocks) had ``adapt_blocks=8, rank=30, off_diagonals=29, direction_pool=30, freeze_out=None`` there.
RANDOM_SUBSPACES: Mapping[str, Any] = MappingProxyType(
    {
        "adapt_blocks": 4,
        "rank": 42,
        "off_diagonals": 41,
        "direction_pool": 64,
        "init_scale": 0.0,
        "train_bias": False,
        "core_optimizer": "muon",
        "freeze_out": 0.5,
        "lr": 8e-3,
        "head_lr": 5e-3,
        "weight_decay": 5.0,
        "max_epochs": 3,
        "batch_size": 16,
    }
)

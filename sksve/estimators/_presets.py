"""Settings that won on several data sets and are too many to type.

Examples
--------
They go wherever parameters go, and what differs stands beside them:

>>> from sksve import RANDOM_SUBSPACES, SVEClassifier
>>> clf = SVEClassifier(n_members=3, **RANDOM_SUBSPACES)
>>> clf.set_params(weight_decay=15.0, training__decay_to="start", training__head_lr=0.0015).training
Training(decay_to='start', freeze_out=0.5, head_lr=0.0015, init_scale=0.0,
         optimizer='muon', train_bias=False)
>>> SVEClassifier(**RANDOM_SUBSPACES | {"weight_decay": 0.0, "batch_size": 12}).lr
0.008
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sksve.training import Training

__all__ = ["RANDOM_SUBSPACES"]

#: `SVEClassifier` for some hundred rows, on a backbone of six blocks: full cores of two thirds of the
#: blocks, in directions each member draws for itself, moved by Muon, the lower blocks for a part of the
#: steps. What ``docs/evidence.md`` calls random subspaces; of its trials `head_lr` is the median. Images
#: (twelve blocks) had ``adapt_blocks=8, rank=30, direction_pool=30``, all blocks learning to the end.
RANDOM_SUBSPACES: Mapping[str, Any] = MappingProxyType(
    {
        "adapt_blocks": 4,
        "rank": 42,
        "core": "full",
        "direction_pool": 64,
        "lr": 8e-3,
        "weight_decay": 5.0,
        "max_epochs": 3,
        "batch_size": 16,
        "training": Training(
            optimizer="muon", head_lr=5e-3, init_scale=0.0, train_bias=False, freeze_out=0.5
        ),
    }
)

"""Members that are whole models: the other kind of factory, beside those that replace layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sksve.backbones import MemberCopies, SplitBackbone, add_dropout

__all__ = ["WholeBackbone"]


@dataclass(frozen=True)
class WholeBackbone:
    """Gives each member a copy of the backbone to fine-tune.

    Such members are trained one after the other, so that only one optimizer state is held at a time.

    Parameters
    ----------
    dropout : float or None, default=None
        Rate of dropout in training, on the features at the model's own places; None: no dropout.
    """

    dropout: float | None = None

    def __call__(
        self, split: SplitBackbone, generators: Sequence[torch.Generator], /
    ) -> MemberCopies:
        """Make the copies; `split` is used, not copied."""
        pooled = None
        if self.dropout is not None:
            pooled = add_dropout(split, self.dropout, generators[0])
        return MemberCopies(split, len(generators), pooled_dropout=pooled)

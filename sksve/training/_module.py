"""The module that is trained: frozen part, adapted part, one head per member."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sksve.adapters import use_members
from sksve.backbones import MemberCopies, SplitBackbone

__all__ = ["EnsembleModule", "MemberHeads", "WholeBackbone"]


class MemberHeads(nn.Module):
    """One linear head per member: weights are N(0, init_std ** 2), biases 0."""

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        generators: Sequence[torch.Generator],  # one per member
        *,
        init_std: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        weight = torch.stack(
            [
                init_std * torch.randn(n_classes, in_features, generator=g, dtype=torch.float64)
                for g in generators
            ]
        )
        self.weight = nn.Parameter(weight.to(dtype))
        self.bias = nn.Parameter(torch.zeros(len(generators), n_classes, dtype=dtype))

    def forward(self, pooled: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """Logits (m, b, c) of pooled vectors (m, b, d)."""
        weight, bias = self.weight, self.bias
        if members is not None:
            index = torch.tensor(list(members), device=weight.device)
            weight, bias = weight[index], bias[index]
        return torch.baddbmm(bias[:, None, :], pooled, weight.transpose(1, 2))


class EnsembleModule(nn.Module):
    """Backbone with adapted layers, and the members' heads.

    Parameters
    ----------
    split : SplitBackbone or MemberCopies
        Frozen prefix, adapted suffix, pooling.
    heads : MemberHeads
    """

    def __init__(self, split: Any, heads: MemberHeads) -> None:
        super().__init__()
        self.split = split
        self.heads = heads

    @property
    def n_members(self) -> int:
        """Number of members."""
        return self.heads.weight.shape[0]

    def adapter_parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters inside the backbone; axis 0 is the member."""
        return [p for p in self.split.parameters() if p.requires_grad]

    def member_parameters(self) -> list[nn.Parameter]:
        """Return every trainable parameter; axis 0 is the member."""
        return [*self.adapter_parameters(), *self.heads.parameters()]

    def member_tensors(self) -> list[Tensor]:
        """Return all that members differ by: their parameters and their buffers; axis 0 is the member."""
        buffers = [
            value
            for layer in self.split.modules()
            for name in getattr(layer, "member_buffers", ())
            if (value := getattr(layer, name)) is not None
        ]
        return [*self.member_parameters(), *buffers]

    def logits(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        features: Tensor | None = None,
        members: Sequence[int] | None = None,
        n_frozen: int = 0,
    ) -> Tensor:
        """Logits of each member for its own rows.

        Parameters
        ----------
        input_ids, attention_mask : Tensor
            As in :class:`MemberBatch`.
        features : Tensor of shape (m * b, t, d), optional
            As ``SplitBackbone.features`` returns, where it is at hand.
        members : sequence of int, optional
            Positions of the m members.
        n_frozen : int, default=0
            So many adapted blocks, the first, give no gradient.

        Returns
        -------
        Tensor of shape (m, b, c)
        """
        if features is None:
            features = self.split.features(input_ids, attention_mask)
        if self.split.has_suffix:
            frozen = {"n_frozen": n_frozen} if n_frozen else {}  # whole copies have no such blocks
            with use_members(self.split, members):
                hidden = self.split.suffix(features, input_ids, attention_mask, **frozen)
                pooled = self.split.pool(hidden, attention_mask)
        else:
            assert features is not None
            pooled = features[:, 0]
        m = self.n_members if members is None else len(members)
        pooled = pooled.to(self.heads.weight.dtype)
        return self.heads(pooled.reshape(m, -1, pooled.shape[-1]), members)

    forward = logits


@dataclass(frozen=True)
class WholeBackbone:
    """Factory of members that are whole models: each fine-tunes a copy of the backbone.

    Such members are trained one after the other, so that only one optimizer state is held at a time.
    """

    dropout: float | None = None  # as in MemberCopies

    def __call__(
        self, split: SplitBackbone, generators: Sequence[torch.Generator], /
    ) -> MemberCopies:
        """Make the copies; `split` is used, not copied."""
        return MemberCopies(split, len(generators), dropout=self.dropout, generator=generators[0])

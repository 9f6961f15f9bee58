"""DeBERTa-v2 with members: each member projects the relative positions with its own weights.

DeBERTa's attention sends one table of relative positions through the same query and key projections
as the tokens (all released DeBERTa-v3 models do), as a single row, and repeats the result over the
batch. A layer with M members needs M rows there, and each member's result belongs to its own rows.
The class below stands in for transformers' own; without members it computes exactly the same.

This module is imported only for DeBERTa models: it needs transformers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention

_SHARED, _SEPARATE = ("query_proj", "key_proj"), ("pos_query_proj", "pos_key_proj")


def give_members_their_positions(model: nn.Module) -> None:
    """Let each self-attention of a private copy of a model handle layers with members, in place."""
    for module in model.modules():
        if type(module) is DisentangledSelfAttention:
            module.__class__ = MemberwiseSelfAttention


class MemberwiseSelfAttention(DisentangledSelfAttention):
    """Self-attention whose projections may be layers with members."""

    def disentangled_attention_bias(
        self,
        query_layer: Tensor,
        key_layer: Tensor,
        relative_pos: Tensor | None,
        rel_embeddings: Tensor,
        scale_factor: int,
    ) -> Tensor:
        """Bias of relative positions, of shape (m * b * heads, t, t), member by member."""
        bias = super().disentangled_attention_bias
        rest = (relative_pos, rel_embeddings, scale_factor)
        names = _SHARED if self.share_att_key else _SEPARATE
        layers = {name: getattr(self, name) for name in names if hasattr(self, name)}
        m = max(getattr(layer, "n_active", 1) for layer in self.children())
        if m == 1:
            return bias(query_layer, key_layer, *rest)
        table = rel_embeddings[: self.pos_ebd_size * 2].expand(m, -1, -1)
        projected = {name: layer(table) for name, layer in layers.items()}
        views = [
            _MemberView(self, {name: rows[k : k + 1] for name, rows in projected.items()})
            for k in range(m)
        ]
        parts = zip(views, query_layer.chunk(m), key_layer.chunk(m))
        function = DisentangledSelfAttention.disentangled_attention_bias
        return torch.cat([function(member, q, k, *rest) for member, q, k in parts])


class _MemberView:
    """An attention module as one member sees it: its projections of the table are known already."""

    def __init__(self, attention: nn.Module, projected: dict[str, Tensor]) -> None:
        self._attention = attention
        for name, rows in projected.items():
            setattr(self, name, lambda table, rows=rows: rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attention, name)

"""A backbone in two parts: the frozen prefix, computed once, and the suffix that is trained.

How the cut is made stands in ``_shell.py``.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sksve.backbones._class_token import reads_class_token
from sksve.backbones._entry import entry_readers
from sksve.backbones._load import LoadedBackbone
from sksve.backbones._plan import AdaptationPlan
from sksve.backbones._pooling import pool_tokens
from sksve.backbones._shell import (
    Cut,
    outputs_of_first_block,
    run_from,
    run_model,
    run_until,
    run_whole,
)
from sksve.backbones._swap import is_conv1d

__all__ = ["SplitBackbone"]


class SplitBackbone(nn.Module):
    """A backbone cut before its first adapted block.

    Parameters
    ----------
    backbone : LoadedBackbone
        What :func:`load_backbone` gave; its model is used, not copied, so the adapted layers may be
        swapped in before or after.
    plan : AdaptationPlan
        Says where the blocks are and which is the first that may be adapted.

    Attributes
    ----------
    model : nn.Module
        The backbone's model. It stays in eval mode whatever ``train`` is told.
    pooling : {"mean", "cls", "last"}
        How :meth:`pool` pools.
    first_block : int
        The cut: blocks before it are the prefix.
    readers : tuple of str
        Adapted projections of the first adapted block, by their names in it, whose input no adapted layer
        reaches: what the pretrained ones give can be computed once.
    can_split : bool
        False if the model hands more than hidden states from block to block. Prefix and suffix then
        still give the right result together, but the suffix runs the whole model.

    Examples
    --------
    >>> import torch
    >>> from sksve.backbones import SplitBackbone, load_backbone, make_tiny_backbone
    >>> from sksve.backbones import plan_adaptation, resolve_backbone
    >>> backbone = load_backbone(resolve_backbone(make_tiny_backbone("bert")))
    >>> split = SplitBackbone(backbone, plan_adaptation(backbone.model, adapt_blocks=1))
    >>> batch = backbone.processor(["a good film", "bad"], padding=True, return_tensors="pt")
    >>> ids, mask = batch["input_ids"], batch["attention_mask"]
    >>> hidden = split.prefix(ids, mask)
    >>> split.pool(split.suffix(hidden, ids, mask), mask).shape
    torch.Size([2, 16])
    """

    def __init__(self, backbone: LoadedBackbone, plan: AdaptationPlan) -> None:
        super().__init__()
        self.model = backbone.model
        self.pooling = backbone.pooling
        self.blocks = plan.blocks
        self.n_blocks = plan.n_blocks
        self.hidden_size = backbone.hidden_size
        self.first_block = plan.first_block
        self._outputs: int | None = 0
        if 0 < self.first_block < self.n_blocks:
            self._outputs = outputs_of_first_block(self.model, self.blocks)
        self.can_split = self._outputs is not None
        splits = self.can_split and self.first_block < self.n_blocks
        self.readers = entry_readers(plan.targets, plan.blocks, plan.first_block) if splits else ()
        super().train(False)

    def train(self, mode: bool = True) -> "SplitBackbone":
        """Do nothing but remember `mode`: the backbone stays in eval mode, its dropout off."""
        self.training = bool(mode)
        # Layers give back at the end of training what only its steps need: not before each of them.
        if not mode or any(module.training for module in self.model.modules()):
            self.model.eval()
        return self

    @property
    def products_width(self) -> int:
        """Numbers a token that :meth:`prefix` adds with `products`; 0: there are none."""
        return sum(self._widths())

    @torch.no_grad()
    def prefix(
        self, input_ids: Tensor, attention_mask: Tensor | None, *, products: bool = False
    ) -> Tensor:
        """Hidden states that enter the first adapted block; no gradient.

        Parameters
        ----------
        input_ids : Tensor of shape (b, t), (b, 2, t) or (b, c, h, w)
            Token ids, padded on the right; token ids over token types; or pixel values.
        attention_mask : Tensor of shape (b, t) or None
            1 for a token, 0 for padding; None: no padding.
        products : bool, default=False
            Let what the pretrained queries, keys and values of that block make of them stand behind
            them, so that :meth:`suffix` need not compute it again. To be asked for before layers are
            swapped.

        Returns
        -------
        Tensor of shape (b, t, d), or (b, t, d + products_width)
            Input of block ``first_block``; with ``first_block == n_blocks`` the model's last hidden
            state. Of shape (b, t, 0) where ``can_split`` is False: there is nothing to keep.
        """
        if not self.can_split:
            shape = (len(input_ids), input_ids.shape[-1], 0)
            return torch.empty(shape, device=input_ids.device)
        if self.first_block == self.n_blocks:
            return run_model(self.model, input_ids, attention_mask)
        readers = self.readers if products else ()
        return run_until(self.model, self._cut(), input_ids, attention_mask, readers)

    def suffix(
        self,
        hidden: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        still: int = 0,
    ) -> Tensor:
        """Run the rest of the model on the prefix's hidden states.

        Parameters
        ----------
        hidden : Tensor of shape (b, t, d) or (b, t, d + products_width), or None
            What :meth:`prefix` gave for the same rows; None is allowed where there is no prefix
            (``first_block == 0``) and is then an ordinary forward pass. With M members the rows are
            those of member 0, then those of member 1, and so on, here and in the other arguments.
        input_ids : Tensor
            What :meth:`prefix` was given for the same rows.
        attention_mask : Tensor of shape (b, t) or None
            Their mask.
        still : int, default=0
            So many of the suffix's blocks, the first, run without gradients.

        Returns
        -------
        Tensor of shape (b, t, d)
            The model's last hidden state; gradients flow to whatever is trainable in the blocks
            that are not still.

        Raises
        ------
        ValueError
            If `hidden` and `input_ids` differ in rows or tokens, or `hidden` is missing.
        """
        return self._run(self._cut(), hidden, input_ids, attention_mask, still)

    def vectors(
        self,
        hidden: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        still: int = 0,
    ) -> Tensor:
        """Give what ``pool(suffix(...))`` gives, without what pooling would not read.

        The last block of a ViT or DINOv2 that is pooled by its class token runs for that token only, which
        spares three quarters of the block.

        Parameters
        ----------
        hidden, input_ids, attention_mask, still
            As in :meth:`suffix`.

        Returns
        -------
        Tensor of shape (b, d)

        Raises
        ------
        ValueError
            As in :meth:`suffix`.
        """
        alone = attention_mask is None and reads_class_token(self.model, self.pooling)
        cut = self._cut()._replace(class_token=alone)
        behind = self._run(cut, hidden, input_ids, attention_mask, still)
        return self.pool(behind, attention_mask)

    def _run(
        self,
        cut: Cut,
        hidden: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        still: int,
    ) -> Tensor:
        if hidden is None and self.first_block > 0:
            raise ValueError(
                f"hidden must be what prefix() gave: {self.first_block} of {self.n_blocks} blocks "
                "are in the prefix. Got None instead."
            )
        if hidden is None or not self.can_split:
            if still or cut.class_token:
                return run_whole(self.model, cut, input_ids, attention_mask, still)
            return run_model(self.model, input_ids, attention_mask)
        tokens = hidden.shape[1] if input_ids.ndim == 4 else input_ids.shape[-1]
        if hidden.shape[:2] != (len(input_ids), tokens):
            raise ValueError(
                "hidden and input_ids must have the same rows and tokens. "
                f"Got shapes {tuple(hidden.shape)} and {tuple(input_ids.shape)} instead."
            )
        if self.first_block == self.n_blocks or hidden.shape[1] == 0:
            return hidden
        known = {}
        if hidden.shape[-1] > self.hidden_size:
            hidden, *products = hidden.split([self.hidden_size, *self._widths()], dim=-1)
            known = dict(zip(self.readers, products, strict=True))
        return run_from(self.model, cut, hidden, input_ids, attention_mask, still, known)

    def _widths(self) -> list[int]:
        """Outputs of each of the projections that read the first adapted block's input."""
        block = f"{self.blocks}.{self.first_block}"
        layers: list[Any] = [self.model.get_submodule(f"{block}.{name}") for name in self.readers]
        return [layer.nf if is_conv1d(layer) else layer.out_features for layer in layers]

    def _cut(self) -> Cut:
        return Cut(self.blocks, self.first_block, self._outputs or 0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Run prefix, suffix and pooling: one vector a row, of shape (b, d)."""
        hidden = self.prefix(input_ids, attention_mask) if self.first_block else None
        return self.vectors(hidden, input_ids, attention_mask)

    def pool(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Pool token vectors (b, t, d) into (b, d); see :func:`pool_tokens`."""
        return pool_tokens(hidden, attention_mask, self.pooling)

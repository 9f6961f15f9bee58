"""A backbone in two parts: the frozen prefix, computed once, and the suffix that is trained."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters import use_members
from sksve.backbones._load import LoadedBackbone
from sksve.backbones._plan import AdaptationPlan
from sksve.backbones._pooling import pool_tokens
from sksve.backbones._probe import run_model
from sksve.backbones._proof import prove
from sksve.backbones._runs import Cut, run_from, run_until, running_members
from sksve.backbones._windows import Windows, in_windows


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
    blocks : str
        Dotted name of the list of transformer blocks.
    n_blocks, first_block : int
        How many there are; blocks before ``first_block`` are the prefix.
    can_split : bool
        Whether suffix and prefix were proven to be the model. If not, they still give the right result
        together, but the suffix runs the whole model.

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
        self.first_block = plan.first_block
        self.plan = plan if plan.proven else prove(backbone, plan, members=False)
        self.can_split = self.plan.outputs is not None
        self._cut = Cut(
            self.blocks, self.first_block, self.plan.outputs or 0, self.plan.entry_suffices
        )
        super().train(False)

    def train(self, mode: bool = True) -> "SplitBackbone":
        """Do nothing but remember `mode`: the backbone stays in eval mode, its dropout off."""
        self.training = bool(mode)
        return self

    @property
    def has_prefix(self) -> bool:
        """Whether leading blocks are frozen: their output is the same for all members."""
        return self.first_block > 0

    @property
    def has_suffix(self) -> bool:
        """Whether any block is adapted."""
        return self.first_block < self.n_blocks

    @torch.no_grad()
    def prefix(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Hidden states that enter the first adapted block; no gradient.

        Token ids (b, t), padded on the right, token ids over token types (b, 2, t), or pixel values
        (b, c, h, w), with a mask (b, t) of 1 for a token or None -> (b, t, d): the input of block
        ``first_block``, or, if all is frozen, the last hidden state. Of shape (b, t, 0) where
        ``can_split`` is False: there is nothing to keep.
        """
        if not self.can_split:
            shape = (len(input_ids), input_ids.shape[-1], 0)
            return torch.empty(shape, device=input_ids.device)

        def run(_: Tensor | None, ids: Tensor, mask: Tensor | None) -> Tensor:
            if not self.has_suffix:
                return run_model(self.model, ids, mask)
            return run_until(self.model, self._cut, ids, mask)

        return self._in_parts(run, None, input_ids, attention_mask, [None])

    @torch.no_grad()
    def features(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        """Output of the frozen part, the same for every member; inputs as in :meth:`prefix`.

        Shape (b, t, d), or (b, 1, d) if all is frozen (already pooled); None if nothing is frozen.
        """
        if not self.has_prefix:
            return None
        hidden = self.prefix(input_ids, attention_mask)
        return hidden if self.has_suffix else self.pool(hidden, attention_mask)[:, None, :]

    def suffix(
        self,
        hidden: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        n_frozen: int = 0,
    ) -> Tensor:
        """Run the rest of the model on the prefix's hidden states; give its last ones (b, t, d).

        `hidden` is what :meth:`prefix` gave for the same inputs; None where there is no prefix: an ordinary
        forward pass. With M members the rows are those of member 0, then those of member 1, and so on. The
        first `n_frozen` of the suffix's blocks run without gradients. ValueError if `hidden` is missing, or
        its rows or tokens are not those of the inputs.
        """
        if hidden is None and self.has_prefix:
            raise ValueError(
                f"hidden must be what prefix() returned: {self.first_block} of {self.n_blocks} blocks "
                "are in the prefix. Got None instead."
            )

        def run(hidden: Tensor | None, ids: Tensor, mask: Tensor | None) -> Tensor:
            return run_from(self.model, self._cut, hidden, ids, mask, n_frozen)

        active = running_members(self.model)
        members: list[int | None] = [None] if self.plan.joint else active
        if hidden is None or not self.can_split:
            return self._in_parts(run, None, input_ids, attention_mask, members, len(active))
        tokens = hidden.shape[1] if input_ids.ndim == 4 else input_ids.shape[-1]
        n_rows = input_ids.shape[0]  # len() would fix the rows of an exported graph
        if hidden.shape[:2] != (n_rows, tokens):
            raise ValueError(
                "hidden and input_ids must have the same rows and tokens. "
                f"Got shapes {tuple(hidden.shape)} and {tuple(input_ids.shape)} instead."
            )
        if not self.has_suffix or hidden.shape[1] == 0:
            return hidden
        return self._in_parts(run, hidden, input_ids, attention_mask, members, len(active))

    def _in_parts(
        self,
        run: Callable[..., Tensor],
        hidden: Tensor | None,
        ids: Tensor,
        mask: Tensor | None,
        members: list[int | None],
        n_groups: int = 1,
    ) -> Tensor:
        """Run members, and rows of one length, that were not proven to share a pass one after the other.

        The windows of long texts are rows of their own; `n_groups` members have as many rows each.
        """
        if in_windows(mask) and mask is not None:
            windows = Windows(mask, n_groups)
            inside = None if hidden is None else windows.take(hidden)
            return windows.give(
                self._in_parts(run, inside, windows.take(ids), windows.mask, members)
            )
        padded = not self.plan.pads and mask is not None and not bool(mask.all())
        if len(members) == 1 and not padded:
            return run(hidden, ids, mask)
        done, places = [], []
        for k, rows in zip(members, torch.arange(len(ids), device=ids.device).chunk(len(members))):
            lengths = mask[rows].sum(dim=1) if padded and mask is not None else None
            for n in [None] if lengths is None else lengths.unique().tolist():
                part = rows if n is None else rows[lengths == n]
                t = None if n is None else max(n, 1)
                inputs = (
                    None if hidden is None else hidden[part, :t],
                    ids[part] if t is None else ids[part, ..., :t],
                    None if mask is None else mask[part, :t],
                )
                with nullcontext() if k is None else use_members(self.model, [k]):
                    out = run(*inputs)
                gap = 0 if t is None or mask is None else mask.shape[1] - t
                done.append(F.pad(out, (0, 0, 0, gap)) if gap else out)
                places.append(part)
        return torch.cat(done)[torch.cat(places).argsort()]

    def pool(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Pool token vectors (b, t, d) into (b, d); see :func:`pool_tokens`. Of windows, their mean."""
        if in_windows(attention_mask) and attention_mask is not None:
            windows = Windows(attention_mask)
            return windows.mean(pool_tokens(windows.take(hidden), windows.mask, self.pooling))
        return pool_tokens(hidden, attention_mask, self.pooling)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Run prefix, suffix and pooling: one vector a row, of shape (b, d)."""
        hidden = self.prefix(input_ids, attention_mask) if self.has_prefix else None
        return self.pool(self.suffix(hidden, input_ids, attention_mask), attention_mask)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module that is being trained in eval mode; of another, nothing that threads share changes."""
    was_training = module.training
    if was_training:
        module.eval()
    try:
        yield
    finally:
        if was_training:
            module.train()

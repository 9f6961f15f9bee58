"""A backbone in two parts: the frozen prefix, computed once, and the suffix that is trained.

How the cut is made. The model's own ``forward`` runs each part, so that masks, rotary and relative
positions are the model's business. Each call runs on a throw-away *shell*: shallow copies of the few
modules on the path to the list of blocks, and that list with one block replaced. In the prefix the
block at the cut is a ``_Stop`` that ends the run with what it was given; in the suffix it is an
``_Inject`` that enters the cached hidden states. Weights are shared with the model, nothing of the
model is changed and nothing is registered on it: calls may overlap in threads, copies and pickles
need no care, and every block keeps its index, on which some families' masks depend.
"""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from sksve.backbones._load import Backbone
from sksve.backbones._plan import AdaptationPlan
from sksve.backbones._pooling import pool_tokens

__all__ = ["SplitBackbone"]

# Families whose `embeddings` module gives exactly what enters block 0: the suffix need not compute it.
_EMBEDDINGS_ARE_ENTRY = frozenset(
    {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "deberta-v2"}
)


class SplitBackbone(nn.Module):
    """A backbone cut before its first adapted block.

    Parameters
    ----------
    backbone : Backbone
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

    def __init__(self, backbone: Backbone, plan: AdaptationPlan) -> None:
        super().__init__()
        self.model = backbone.model
        self.pooling = backbone.pooling
        self.blocks = plan.blocks
        self.n_blocks = plan.n_blocks
        self.first_block = plan.first_block
        self._wrapped: int | None = None
        self.can_split = True
        if 0 < self.first_block < self.n_blocks:
            self._wrapped = _outputs_of_first_block(self.model, self.blocks)
            self.can_split = self._wrapped is not None
        super().train(False)

    def train(self, mode: bool = True) -> "SplitBackbone":
        """Do nothing but remember `mode`: the backbone stays in eval mode, its dropout off."""
        self.training = bool(mode)
        self.model.eval()
        return self

    @torch.no_grad()
    def prefix(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Hidden states that enter the first adapted block; no gradient.

        Parameters
        ----------
        input_ids : Tensor of shape (b, t)
            Token ids, padded on the right (pixel values for a model of images).
        attention_mask : Tensor of shape (b, t) or None
            1 for a token, 0 for padding; None: no padding.

        Returns
        -------
        Tensor of shape (b, t, d)
            Input of block ``first_block``; with ``first_block == n_blocks`` the model's last hidden
            state. Of shape (b, t, 0) where ``can_split`` is False: there is nothing to keep.
        """
        if not self.can_split:
            return torch.empty(*input_ids.shape[:2], 0, device=input_ids.device)
        if self.first_block == self.n_blocks:
            return _run(self.model, input_ids, attention_mask)
        blocks = list(self.model.get_submodule(self.blocks))
        blocks[self.first_block] = _Stop(blocks[self.first_block])
        try:
            _run(_shell(self.model, self.blocks, blocks), input_ids, attention_mask)
        except _Stopped as stopped:
            return stopped.hidden
        raise RuntimeError(f"{type(self.model).__name__} never reached block {self.first_block}.")

    def suffix(
        self, hidden: Tensor | None, input_ids: Tensor, attention_mask: Tensor | None
    ) -> Tensor:
        """Run the rest of the model on the prefix's hidden states.

        Parameters
        ----------
        hidden : Tensor of shape (b, t, d) or None
            What :meth:`prefix` gave for the same rows; None is allowed where there is no prefix
            (``first_block == 0``) and is then an ordinary forward pass. With M members the rows are
            those of member 0, then those of member 1, and so on, here and in the other arguments.
        input_ids : Tensor of shape (b, t)
            Token ids of the same rows.
        attention_mask : Tensor of shape (b, t) or None
            Their mask.

        Returns
        -------
        Tensor of shape (b, t, d)
            The model's last hidden state; gradients flow to whatever is trainable in the suffix.

        Raises
        ------
        ValueError
            If `hidden` and `input_ids` differ in rows or tokens, or `hidden` is missing.
        """
        if hidden is None and self.first_block > 0:
            raise ValueError(
                f"hidden must be what prefix() gave: {self.first_block} of {self.n_blocks} blocks "
                "are in the prefix. Got None instead."
            )
        if hidden is None or not self.can_split:
            return _run(self.model, input_ids, attention_mask)
        if input_ids.ndim == 2 and hidden.shape[:2] != input_ids.shape:
            raise ValueError(
                "hidden and input_ids must have the same rows and tokens. "
                f"Got shapes {tuple(hidden.shape)} and {tuple(input_ids.shape)} instead."
            )
        if self.first_block == self.n_blocks or hidden.shape[1] == 0:
            return hidden
        blocks: list[nn.Module] = [
            _Skip(b, self._wrapped) for b in self.model.get_submodule(self.blocks)
        ]
        blocks[self.first_block :] = list(self.model.get_submodule(self.blocks))[self.first_block :]
        blocks[self.first_block] = _Inject(blocks[self.first_block], hidden)
        shell = _shell(self.model, self.blocks, blocks)
        kind = getattr(self.model.config, "model_type", None)
        if kind in _EMBEDDINGS_ARE_ENTRY:
            shell._modules["embeddings"] = _Given(hidden)
        return _run(shell, input_ids, attention_mask)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Run prefix, suffix and pooling: one vector a row, of shape (b, d)."""
        hidden = self.prefix(input_ids, attention_mask) if self.first_block else None
        return self.pool(self.suffix(hidden, input_ids, attention_mask), attention_mask)

    def pool(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Pool token vectors (b, t, d) into (b, d); see :func:`pool_tokens`."""
        return pool_tokens(hidden, attention_mask, self.pooling)


def _run(model: Any, inputs: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Run a model's own forward pass; give its last hidden state.

    A row without any token attends to its first, padded place: softmax over nothing would be NaN,
    in the gradient too. Pooling leaves such a row out.
    """
    if inputs.ndim == 2 and inputs.shape[1] == 0:
        return torch.zeros(
            *inputs.shape, model.config.hidden_size, dtype=model.dtype, device=inputs.device
        )
    named: dict[str, Any] = {getattr(model, "main_input_name", "input_ids"): inputs}
    if attention_mask is not None:
        mask = attention_mask.clone()
        mask[:, 0] = 1
        named["attention_mask"] = mask
    if "use_cache" in inspect.signature(model.forward).parameters:
        named["use_cache"] = False
    return model(**named).last_hidden_state


def _shell(model: nn.Module, blocks_name: str, blocks: list[nn.Module]) -> nn.Module:
    """Copy the modules on the path to the blocks, shallowly, and put other blocks at its end."""
    top = _shallow(model)
    if "pooler" in top._modules:
        top._modules["pooler"] = None  # its output is not used
    here = top
    *path, last = blocks_name.split(".")
    for name in path:
        below = _shallow(getattr(here, name))
        here._modules[name] = below
        here = below
    here._modules[last] = nn.ModuleList(blocks)
    return top


def _shallow(module: nn.Module) -> nn.Module:
    """Return a second object with the same parameters, buffers and children."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin


def _outputs_of_first_block(model: nn.Module, blocks_name: str) -> int | None:
    """Run block 0 on one token: 0 if it gives a tensor, k if a k-tuple; None if it hands on more.

    Block 0 is frozen whenever this is asked, so that one row is a legal batch.
    """
    blocks = list(model.get_submodule(blocks_name))
    probe = _Probe(blocks[0])
    inputs, mask = _smallest_inputs(model)
    try:
        with torch.no_grad():
            _run(_shell(model, blocks_name, [probe, *blocks[1:]]), inputs, mask)
    except _Stopped:
        pass
    output = probe.output
    if isinstance(output, Tensor):
        return 0
    alone = isinstance(output, tuple) and all(rest is None for rest in output[1:])
    return len(output) if alone else None


def _smallest_inputs(model: Any) -> tuple[Tensor, Tensor | None]:
    config = model.config
    if getattr(model, "main_input_name", "input_ids") == "pixel_values":
        size = config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        shape = (1, getattr(config, "num_channels", 3), height, width)
        return torch.zeros(shape, dtype=model.dtype, device=model.device), None
    ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    return ids, torch.ones_like(ids)


class _Stopped(Exception):
    """Ends a forward pass; carries the hidden states that reached the cut."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class _Stand(nn.Module):
    """Stands for a block for one call; what it has not, the block answers (``attention_type``)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.__dict__["block"] = block

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["block"], name)


class _Stop(_Stand):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise _Stopped(_hidden_of(args, kwargs))


class _Probe(_Stand):
    output: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.__dict__["output"] = self.__dict__["block"](*args, **kwargs)
        raise _Stopped(_hidden_of(args, kwargs))


class _Skip(_Stand):
    def __init__(self, block: nn.Module, wrapped: int | None) -> None:
        super().__init__(block)
        self.__dict__["wrapped"] = wrapped

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden, wrapped = _hidden_of(args, kwargs), self.__dict__["wrapped"]
        return (hidden, *[None] * (wrapped - 1)) if wrapped else hidden


class _Inject(_Stand):
    def __init__(self, block: nn.Module, hidden: Tensor) -> None:
        super().__init__(block)
        self.__dict__["hidden"] = hidden

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden, block = self.__dict__["hidden"], self.__dict__["block"]
        if "hidden_states" in kwargs:
            return block(*args, **{**kwargs, "hidden_states": hidden})
        return block(hidden, *args[1:], **kwargs)


class _Given(nn.Module):
    """Stands for the embeddings where their output is known already."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.__dict__["hidden"] = hidden

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.__dict__["hidden"]


def _hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]

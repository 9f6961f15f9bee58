"""A backbone in two parts: the frozen prefix, computed once, and the suffix that is trained.

Each part runs by the model's ``forward``, so that masks, rotary and relative positions stay the
model's business. A call runs on a throw-away *shell*: shallow copies of the few modules on the path to
the list of blocks, and that list with some blocks replaced. In the prefix the block at the cut is a
``_Stop`` that ends the run with what it was given; in the suffix it is an ``_Inject`` that enters the
hidden states, and the blocks before it are skipped. Weights are shared with the model and nothing is
registered on it: calls may overlap in threads, copies and pickles need no care, and every block keeps
its index, on which some families' masks depend.
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sksve.backbones._load import LoadedBackbone
from sksve.backbones._plan import AdaptationPlan
from sksve.backbones._pooling import pool_tokens
from sksve.backbones._resolve import base_model

# Families whose `embeddings` give exactly what enters block 0: the suffix need not compute them.
_EMBEDDINGS_ARE_ENTRY = frozenset(
    {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "deberta-v2"}
    | {"vit", "dinov2", "dinov2_with_registers"}
)


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
        self.first_block = plan.first_block
        outputs: int | None = 0
        if 0 < self.first_block < self.n_blocks:
            outputs = _outputs_of_first_block(self.model, self.blocks)
        self.can_split = outputs is not None
        self._cut = _Cut(self.blocks, self.first_block, outputs or 0)
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
        if not self.has_suffix:
            return run_model(self.model, input_ids, attention_mask)
        return _run_until(self.model, self._cut, input_ids, attention_mask)

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
        if hidden is None or not self.can_split:
            return _run_from(self.model, self._cut, None, input_ids, attention_mask, n_frozen)
        tokens = hidden.shape[1] if input_ids.ndim == 4 else input_ids.shape[-1]
        if hidden.shape[:2] != (len(input_ids), tokens):
            raise ValueError(
                "hidden and input_ids must have the same rows and tokens. "
                f"Got shapes {tuple(hidden.shape)} and {tuple(input_ids.shape)} instead."
            )
        if not self.has_suffix or hidden.shape[1] == 0:
            return hidden
        return _run_from(self.model, self._cut, hidden, input_ids, attention_mask, n_frozen)

    def pool(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Pool token vectors (b, t, d) into (b, d); see :func:`pool_tokens`."""
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


def entry_replaces_inputs(model: Any) -> bool:
    """Whether what enters a block is all that the blocks from there on need: no ids, no pixels."""
    return getattr(model.config, "model_type", None) in _EMBEDDINGS_ARE_ENTRY


def count_image_tokens(model: nn.Module, blocks: str, shape: tuple[int, ...]) -> int:
    """Count the tokens of an image of a shape (c, h, w): patches, class token and registers.

    `blocks` is the dotted name of the list of blocks. A ValueError says that the model does not take
    such images.
    """
    base: Any = base_model(model)
    weight = next(base.parameters())
    pixels = torch.zeros((1, *shape), dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad():
            return _run_until(base, _Cut(blocks, 0, 0), pixels, None).shape[1]
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(base).__name__} does not take images of {shape}: {error} Choose a size: "
            "backbone=sksve.Backbone(..., image_size=...)."
        ) from error


def run_model(model: Any, inputs: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Run a model's forward pass; give its last hidden state.

    `inputs` are token ids (b, t), token ids over token types (b, 2, t), or pixel values (b, c, h, w).
    A row without any token attends to its first, padded place: softmax over nothing would be NaN,
    in the gradient too. Pooling leaves such a row out.
    """
    types = None
    if inputs.ndim == 3:
        inputs, types = inputs.unbind(1)
    if inputs.ndim == 2 and inputs.shape[1] == 0:
        return torch.zeros(
            *inputs.shape, model.config.hidden_size, dtype=model.dtype, device=inputs.device
        )
    named: dict[str, Any] = {getattr(model, "main_input_name", "input_ids"): inputs}
    if attention_mask is not None:
        mask = attention_mask.clone()
        mask[:, 0] = 1
        named["attention_mask"] = mask
    accepted = inspect.signature(model.forward).parameters
    if types is not None and "token_type_ids" in accepted:
        named["token_type_ids"] = types
    if "interpolate_pos_encoding" in accepted:
        # Other sizes than the pretrained one; at that size this is no interpolation.
        named["interpolate_pos_encoding"] = inputs.ndim == 4
    if "use_cache" in accepted:
        named["use_cache"] = False
    return model(**named).last_hidden_state


# -- runs of parts of a model ----------------------------------------------------------------------


class _Cut(NamedTuple):
    """Where a model is cut, and what its blocks give back."""

    blocks: str  # dotted name of the list of blocks
    at: int  # the first block behind the cut
    outputs: int  # 0: a block gives a tensor; k: a tuple of k items


def _run_until(model: nn.Module, cut: _Cut, inputs: Tensor, mask: Tensor | None) -> Tensor:
    """Run a model up to the cut; give the hidden states that enter the block behind it."""
    if inputs.ndim == 2 and inputs.shape[1] == 0:
        return run_model(model, inputs, mask)
    blocks = list(model.get_submodule(cut.blocks))
    blocks[cut.at] = _Stop(blocks[cut.at])
    try:
        run_model(_shell(model, cut.blocks, blocks), inputs, mask)
    except _Stopped as stopped:
        return stopped.hidden
    raise RuntimeError(f"{type(model).__name__} never reached block {cut.at}.")


def _run_from(
    model: Any,
    cut: _Cut,
    hidden: Tensor | None,
    inputs: Tensor,
    mask: Tensor | None,
    n_frozen: int,
) -> Tensor:
    """Run a model from the cut on, or all of it without `hidden`; give its last hidden state."""
    blocks = list(model.get_submodule(cut.blocks))
    stop = cut.at + n_frozen
    blocks[cut.at : stop] = [_NoGrad(block) for block in blocks[cut.at : stop]]
    if hidden is None:
        return run_model(_shell(model, cut.blocks, blocks), inputs, mask)
    blocks[: cut.at] = [_Skip(block, outputs=cut.outputs) for block in blocks[: cut.at]]
    blocks[cut.at] = _Inject(blocks[cut.at], hidden=hidden)
    shell = _shell(model, cut.blocks, blocks)
    if entry_replaces_inputs(model):
        shell._modules["embeddings"] = _Given(shell._modules["embeddings"], hidden=hidden)
    return run_model(shell, inputs, mask)


def _shell(model: nn.Module, blocks_name: str, blocks: list[nn.Module]) -> nn.Module:
    """Return a twin of the model with other blocks, which shares everything else with it."""
    shell = _shallow(model)
    here = shell
    *path, last = blocks_name.split(".")
    for step in path:
        here._modules[step] = _shallow(getattr(here, step))
        here = getattr(here, step)
    here._modules[last] = nn.ModuleList(blocks)
    if "pooler" in model._modules:
        shell._modules["pooler"] = None  # its output is not used
    return shell


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
    with torch.no_grad(), suppress(_Stopped):
        run_model(_shell(model, blocks_name, [probe, *blocks[1:]]), inputs, mask)
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


class _BlockProxy(nn.Module):
    """In a block's place for one call; what it lacks, the block answers (``attention_type``)."""

    def __init__(self, block: Any, **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(block=block, **attributes)  # unregistered: nobody's parameters

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["block"], name)

    @staticmethod
    def hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]


class _Stop(_BlockProxy):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise _Stopped(self.hidden_of(args, kwargs))


class _Probe(_BlockProxy):
    output: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self.block(*args, **kwargs)
        raise _Stopped(self.hidden_of(args, kwargs))


class _NoGrad(_BlockProxy):
    """A block that gives no gradient: what is before it learns nothing either."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return self.block(*args, **kwargs)


class _Skip(_BlockProxy):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = self.hidden_of(args, kwargs)
        return (hidden, *[None] * (self.outputs - 1)) if self.outputs else hidden


class _Inject(_BlockProxy):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if "hidden_states" in kwargs:
            return self.block(*args, **{**kwargs, "hidden_states": self.hidden})
        return self.block(self.hidden, *args[1:], **kwargs)


class _Given(_BlockProxy):
    """In the place of the embeddings, whose output is known already."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.hidden

"""Run part of a model by the model's own ``forward``.

Masks, rotary and relative positions stay the model's business that way. Each call runs on a
throw-away *shell*: shallow copies of the few modules on the path to the list of blocks, and that
list with some blocks replaced. In the prefix the block at the cut is a ``_Stop`` that ends the run
with what it was given; in the suffix it is an ``_Inject`` that enters the cached hidden states, and
the blocks before it are skipped. Weights are shared with the model, nothing of the model is changed
and nothing is registered on it: calls may overlap in threads, copies and pickles need no care, and
every block keeps its index, on which some families' masks depend.
"""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sksve.backbones._class_token import ClassTokenBlock
from sksve.backbones._entry import AllKnown, KnowsProduct, Recorder
from sksve.backbones._twin import with_parts

__all__ = [
    "Cut",
    "entry_replaces_inputs",
    "outputs_of_first_block",
    "run_from",
    "run_model",
    "run_until",
    "run_whole",
]

# Families whose `embeddings` give exactly what enters block 0: the suffix need not compute them.
_EMBEDDINGS_ARE_ENTRY = frozenset(
    {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "deberta-v2"}
    | {"vit", "dinov2", "dinov2_with_registers"}
)


class Cut(NamedTuple):
    """Where a model is cut, and what its blocks give back."""

    blocks: str  # dotted name of the list of blocks
    at: int  # the first block behind the cut
    outputs: int  # 0: a block gives a tensor; k: a tuple of k items
    class_token: bool = False  # whether the last block gives the class token's hidden state alone


def run_until(
    model: nn.Module,
    cut: Cut,
    inputs: Tensor,
    attention_mask: Tensor | None,
    readers: Sequence[str] = (),
) -> Tensor:
    """Run a model up to the cut; give the hidden states that enter the block behind it.

    Behind them, in the last axis, stands what the projections `readers` of that block make of them.
    """
    if inputs.ndim == 2 and inputs.shape[1] == 0:
        return run_model(model, inputs, attention_mask)
    blocks = list(model.get_submodule(cut.blocks))
    blocks[cut.at] = _Stop(blocks[cut.at], readers)
    try:
        run_model(_shell(model, cut.blocks, blocks), inputs, attention_mask)
    except _Stopped as stopped:
        return stopped.hidden
    raise RuntimeError(f"{type(model).__name__} never reached block {cut.at}.")


def run_from(
    model: Any,
    cut: Cut,
    hidden: Tensor,
    inputs: Tensor,
    attention_mask: Tensor | None,
    still: int = 0,
    known: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Run a model from the cut on, `still` blocks of it without gradients; give its last hidden state.

    Products that are `known`, by the names of projections in the first block, are not computed again.
    """
    blocks = _blocks_behind(model, cut, still, known or {})
    blocks[: cut.at] = [_Skip(block, cut.outputs) for block in blocks[: cut.at]]
    blocks[cut.at] = _Inject(blocks[cut.at], hidden)
    shell = _shell(model, cut.blocks, blocks)
    if entry_replaces_inputs(model):
        shell._modules["embeddings"] = _Given(shell._modules["embeddings"], hidden)
    return run_model(shell, inputs, attention_mask)


def run_whole(
    model: Any, cut: Cut, inputs: Tensor, attention_mask: Tensor | None, still: int
) -> Tensor:
    """Run a whole model, `still` blocks behind the cut without gradients; give its last hidden state."""
    blocks = _blocks_behind(model, cut, still, {})
    return run_model(_shell(model, cut.blocks, blocks), inputs, attention_mask)


def _blocks_behind(
    model: Any, cut: Cut, still: int, known: Mapping[str, Tensor]
) -> list[nn.Module]:
    """All blocks, those behind the cut as they are to run."""
    blocks = list(model.get_submodule(cut.blocks))
    if known:
        first = blocks[cut.at]
        parts = {n: KnowsProduct(first.get_submodule(n), product) for n, product in known.items()}
        blocks[cut.at] = with_parts(first, parts)
    if cut.class_token:
        blocks[-1] = ClassTokenBlock(blocks[-1], model.config.model_type)
    stop = cut.at + still
    blocks[cut.at : stop] = [_Still(block) for block in blocks[cut.at : stop]]
    return blocks


def entry_replaces_inputs(model: Any) -> bool:
    """Whether what enters a block is all that the blocks from there on need: no ids, no pixels."""
    return getattr(model.config, "model_type", None) in _EMBEDDINGS_ARE_ENTRY


def run_model(model: Any, inputs: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Run a model's own forward pass; give its last hidden state.

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


def _shell(model: nn.Module, blocks_name: str, blocks: list[nn.Module]) -> nn.Module:
    """Return a twin of the model with other blocks."""
    parts: dict[str, nn.Module | None] = {blocks_name: nn.ModuleList(blocks)}
    if "pooler" in model._modules:
        parts["pooler"] = None  # its output is not used
    return with_parts(model, parts)


def outputs_of_first_block(model: nn.Module, blocks_name: str) -> int | None:
    """Run block 0 on one token: 0 if it gives a tensor, k if a k-tuple; None if it hands on more.

    Block 0 is frozen whenever this is asked, so that one row is a legal batch.
    """
    blocks = list(model.get_submodule(blocks_name))
    probe = _Probe(blocks[0])
    inputs, mask = _smallest_inputs(model)
    try:
        with torch.no_grad():
            run_model(_shell(model, blocks_name, [probe, *blocks[1:]]), inputs, mask)
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
    def __init__(self, block: nn.Module, readers: Sequence[str]) -> None:
        super().__init__(block)
        self.__dict__["readers"] = readers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = _hidden_of(args, kwargs)
        if self.readers:
            hidden = torch.cat([hidden, *self._products(args, kwargs)], dim=-1)
        raise _Stopped(hidden)

    def _products(self, args: Any, kwargs: Any) -> list[Tensor]:
        found: dict[str, Tensor] = {}
        n = len(self.readers)
        parts = {k: Recorder(self.block.get_submodule(k), k, found, n) for k in self.readers}
        with contextlib.suppress(AllKnown):
            with_parts(self.block, parts)(*args, **kwargs)
        return [found[name] for name in self.readers]


class _Probe(_Stand):
    output: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self.block(*args, **kwargs)
        raise _Stopped(_hidden_of(args, kwargs))


class _Still(_Stand):
    """A block that gives no gradient: what is before it learns nothing either."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return self.block(*args, **kwargs)


class _Skip(_Stand):
    def __init__(self, block: nn.Module, outputs: int) -> None:
        super().__init__(block)
        self.__dict__["outputs"] = outputs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = _hidden_of(args, kwargs)
        return (hidden, *[None] * (self.outputs - 1)) if self.outputs else hidden


class _Inject(_Stand):
    def __init__(self, block: nn.Module, hidden: Tensor) -> None:
        super().__init__(block)
        self.__dict__["hidden"] = hidden

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if "hidden_states" in kwargs:
            return self.block(*args, **{**kwargs, "hidden_states": self.hidden})
        return self.block(self.hidden, *args[1:], **kwargs)


class _Given(_Stand):
    """Stands for the embeddings where their output is known already."""

    def __init__(self, block: Any, hidden: Tensor) -> None:
        super().__init__(block)
        self.__dict__["hidden"] = hidden

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.hidden


def _hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]

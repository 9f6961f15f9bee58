"""Runs of parts of a model.

Each part runs by the model's ``forward``, so that masks, rotary and relative positions stay the
model's business. A call runs on a throw-away *shell*: shallow copies of the few modules on the path to
the list of blocks, and that list with some blocks replaced. In the prefix the block at the cut is a
``_Stop`` that ends the run with what it was given; in the suffix it is an ``_Inject`` that enters the
hidden states, and the blocks before it are skipped. Weights are shared with the model and nothing is
registered on it: calls may overlap in threads, copies and pickles need no care, and every block keeps
its index, on which some families' masks depend.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sksve.adapters import MemberModule
from sksve.backbones._plan import blocks_of
from sksve.backbones._probe import run_model
from sksve.backbones._resolve import base_model


class Cut(NamedTuple):
    """Where a model is cut, and what its blocks give back."""

    blocks: str  # dotted name of the list of blocks
    at: int  # the first block behind the cut
    outputs: int  # 0: a block gives a tensor; k: a tuple of k items
    entry: bool  # whether the hidden states replace what `embeddings` gives


def run_until(model: nn.Module, cut: Cut, inputs: Tensor, mask: Tensor | None) -> Tensor:
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


def run_from(
    model: Any,
    cut: Cut,
    hidden: Tensor | None,
    inputs: Tensor,
    mask: Tensor | None,
    n_frozen: int,
) -> Tensor:
    """Run a model from the cut on, or all of it without `hidden`; give its last hidden state."""
    blocks = blocks_of(model, cut.blocks)
    stop = cut.at + n_frozen
    blocks[cut.at : stop] = [_NoGrad(block) for block in blocks[cut.at : stop]]
    if hidden is None:
        return run_model(_shell(model, cut.blocks, blocks), inputs, mask)
    blocks[: cut.at] = [_Skip(block, outputs=cut.outputs) for block in blocks[: cut.at]]
    blocks[cut.at] = _Inject(blocks[cut.at], hidden=hidden)
    shell = _shell(model, cut.blocks, blocks)
    if cut.entry:
        shell._modules["embeddings"] = _Given(shell._modules["embeddings"], hidden=hidden)
    return run_model(shell, inputs, mask)


def _shell(model: nn.Module, blocks_name: str, blocks: list[nn.Module]) -> nn.Module:
    """Return a twin of the model with other blocks, which shares everything else with it."""
    shell = _shallow(model)
    if blocks_name:
        here = shell
        *path, last = blocks_name.split(".")
        for step in path:
            here._modules[step] = _shallow(getattr(here, step))
            here = getattr(here, step)
        here._modules[last] = nn.ModuleList(blocks)
    if "pooler" in model._modules:
        shell._modules["pooler"] = nn.Identity()  # its output is not used
    return shell


def _shallow(module: nn.Module) -> nn.Module:
    """Return a second object with the same parameters, buffers and children."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin


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


def running_members(model: nn.Module) -> list[int | None]:
    """Members whose rows are stacked now; [None] where there is nothing to part."""
    layer = next((m for m in model.modules() if isinstance(m, MemberModule)), None)
    if layer is None or layer.n_active == 1:
        return [None]
    return list(range(layer.n_members)) if layer._members is None else layer._members.tolist()


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
            if not blocks:
                return run_model(base, pixels, None).shape[1]
            return run_until(base, Cut(blocks, 0, 0, False), pixels, None).shape[1]
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(base).__name__} does not take images of {shape}: {error} Choose a size: "
            "backbone=sksve.Backbone(..., image_size=...)."
        ) from error

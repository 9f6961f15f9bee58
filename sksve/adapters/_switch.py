"""Run some members only, or one member through dense weights, for the time of a ``with`` block.

A block concerns the thread that runs it: other threads may use the same module meanwhile.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from sksve.adapters._member_linear import MemberLinear, MemberModule

__all__ = ["member_layers", "merged_member", "use_members"]


def member_layers(module: nn.Module) -> list[MemberLinear]:
    """Return every linear layer with members inside `module`, in module order."""
    return [m for m in module.modules() if isinstance(m, MemberLinear)]


@contextmanager
def use_members(module: nn.Module, members: Sequence[int] | None) -> Iterator[None]:
    """Let everything with members inside `module` run these members only, in this order.

    Parameters
    ----------
    module : torch.nn.Module
    members : sequence of int, or None
        Indices; the input then has ``len(members) * b`` rows. None: all members.
    """
    layers = [m for m in module.modules() if isinstance(m, MemberModule)]
    try:
        for layer in layers:
            if members is not None:
                device = next(layer.parameters()).device
                layer._members = torch.tensor(list(members), device=device)
        yield
    finally:
        for layer in layers:
            layer._members = None


@contextmanager
def merged_member(module: nn.Module, member: int, tokens: int | None = None) -> Iterator[None]:
    """Let every linear layer with members inside `module` act as `member`, through dense weights.

    The same function as with ``use_members(module, [member])``, cheaper for many rows: one dense
    product per layer in place of two thin ones. The dense weights live as long as the block, so they
    are never stale and never pickled.

    Parameters
    ----------
    module : torch.nn.Module
    member : int
    tokens : int, optional
        What the block is for: a layer whose dense weight does not pay for so many tokens stays as it
        is. All layers are merged without it.
    """
    layers = member_layers(module)
    try:
        for layer in layers:
            layer._members = torch.tensor([member], device=next(layer.parameters()).device)
            thin, merged = (1, 0) if tokens is None else layer.multiply_adds(tokens)
            if merged < thin:
                layer._merged = layer.dense(member)
        yield
    finally:
        for layer in layers:
            layer._merged = layer._members = None

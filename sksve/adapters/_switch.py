"""Run some members only, or one member through dense weights, for the time of a ``with`` block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from sksve.adapters._svd_linear import SVDLinear

__all__ = ["merged_member", "svd_layers", "use_members"]


def svd_layers(module: nn.Module) -> list[SVDLinear]:
    """Return every :class:`SVDLinear` inside `module`, in module order."""
    return [m for m in module.modules() if isinstance(m, SVDLinear)]


@contextmanager
def use_members(module: nn.Module, members: Sequence[int] | None) -> Iterator[None]:
    """Let every :class:`SVDLinear` inside `module` run these members only, in this order.

    Parameters
    ----------
    module : torch.nn.Module
    members : sequence of int, or None
        Indices; the input then has ``len(members) * b`` rows. None: all members.
    """
    layers = svd_layers(module)
    try:
        for layer in layers:
            if members is not None:
                layer._members = torch.tensor(list(members), device=layer.S.device)
        yield
    finally:
        for layer in layers:
            layer._members = None


@contextmanager
def merged_member(module: nn.Module, member: int, tokens: int | None = None) -> Iterator[None]:
    """Let every :class:`SVDLinear` inside `module` act as `member`, through dense weights.

    The same function as with ``use_members(module, [member])``, cheaper for many rows: one dense
    product per layer in place of two thin ones. The dense weights live as long as the block, so they
    are never stale and never pickled.

    Parameters
    ----------
    module : torch.nn.Module
    member : int
    tokens : int, optional
        What the block is for: layers whose dense weight does not pay for so many tokens stay as they
        are. All layers are merged without it.
    """
    layers = svd_layers(module)
    try:
        for layer in layers:
            if tokens is None or layer.route(tokens, train=False) == "dense":
                layer._merged = layer.dense(member)
            else:
                layer._members = torch.tensor([member], device=layer.S.device)
        yield
    finally:
        for layer in layers:
            layer._merged = layer._members = None

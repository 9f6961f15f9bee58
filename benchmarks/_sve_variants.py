"""Variants of SVE as skorch callbacks: what is tried before it becomes an option, and what is frozen.

Each is given to ``SVEClassifier(callbacks=[...])`` and acts on the members' parameters: ``delta`` (relative
change of singular values), ``bias_delta``, and the heads' ``weight`` and ``bias``, member axis first.
"""

from collections.abc import Iterator
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from sksve.adapters import SVDLinear

__all__ = [
    "Anchored",
    "DepthScaled",
    "Freeze",
    "MirroredStart",
    "OrthogonalStart",
    "SharedHead",
    "WeightAverage",
]


def layers_of(net: Any) -> Iterator[SVDLinear]:
    """Adapted layers, first block first."""
    return (layer for layer in net.module_.split.modules() if isinstance(layer, SVDLinear))


def starts_of(net: Any) -> Iterator[nn.Parameter]:
    """Parameters that start at noise inside the backbone."""
    for layer in layers_of(net):
        yield layer.delta
        if layer.bias_delta is not None:
            yield layer.bias_delta


class Freeze(Callback):
    """Keep a kind of parameters at its start: "delta", "bias_delta" or "heads"; it stays random."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        if self.kind == "heads":
            self.frozen_ = list(net.module_.heads.parameters())
        else:
            found = (getattr(layer, self.kind) for layer in layers_of(net))
            self.frozen_ = [p for p in found if p is not None]

    def on_grad_computed(self, net: Any, **kwargs: Any) -> None:
        for p in self.frozen_:
            p.grad = None  # AdamW passes it over, weight decay and all

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        del self.frozen_


class SharedHead(Callback):
    """One head for all members: it starts as the first one's and moves by the mean of the gradients."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        _tie(net.module_.heads)

    def on_grad_computed(self, net: Any, **kwargs: Any) -> None:
        for p in net.module_.heads.parameters():
            if p.grad is not None:
                p.grad.copy_(p.grad.mean(dim=0, keepdim=True).expand_as(p.grad))


@torch.no_grad()
def _tie(heads: nn.Module) -> None:
    for p in heads.parameters():
        p.copy_(p[:1].expand_as(p).clone())


class DepthScaled(Callback):
    r"""Divide the start's noise by the square root of the number of adapted blocks.

    Independent disturbances of the blocks of a residual stream add up in variance.
    """

    @torch.no_grad()
    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        split = getattr(net.module_.split, "split", net.module_.split)
        n_blocks = split.n_blocks - split.first_block
        for p in starts_of(net):
            p /= n_blocks**0.5


class MirroredStart(Callback):
    """Members in pairs of opposite noise (antithetic): each pair's mean is the pretrained model."""

    @torch.no_grad()
    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        for p in starts_of(net):
            n_pairs = len(p) // 2
            p[1 : 2 * n_pairs : 2] = -p[0 : 2 * n_pairs : 2]


class OrthogonalStart(Callback):
    """Members' noise orthogonal to each other's in each layer, of unchanged length."""

    @torch.no_grad()
    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        for p in starts_of(net):
            if 1 < len(p) <= p.shape[1]:
                p.copy_(orthogonal_rows(p))


def orthogonal_rows(noise: Tensor) -> Tensor:
    """Rows in the order given, each without its part along those before, at its old length."""
    q, r = torch.linalg.qr(noise.double().T)
    q = q * torch.sign(torch.diagonal(r))
    return (q.T * noise.double().norm(dim=1, keepdim=True)).to(noise)


class Anchored(Callback):
    """Pull each member to its own random start (randomised MAP), by so much of the distance a step.

    Decoupled from the gradient, as AdamW's weight decay is: p -= lr * strength * (p - start).
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.anchors_ = [(p, p.detach().clone()) for p in starts_of(net)]

    @torch.no_grad()
    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training and net.optimizer_.param_groups:
            lr = net.optimizer_.param_groups[0]["lr"]
            for p, start in self.anchors_:
                p.lerp_(start, min(lr * self.strength, 1.0))

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        del self.anchors_


class WeightAverage(Callback):
    """Replace each member by the mean of its weights over the last epochs' steps (SWA)."""

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.n_, self.sums_ = 0, None

    @torch.no_grad()
    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if not training or len(net.history) <= (1 - self.share) * net.max_epochs:
            return
        parameters = net.module_.member_parameters()
        if self.sums_ is None:
            self.sums_ = [torch.zeros_like(p) for p in parameters]
        for total, p in zip(self.sums_, parameters):
            total += p
        self.n_ += 1

    @torch.no_grad()
    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        if self.sums_ is not None:
            for p, total in zip(net.module_.member_parameters(), self.sums_):
                p.copy_(total / self.n_)
        del self.sums_, self.n_

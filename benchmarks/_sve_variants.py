"""Variants of SVE as skorch callbacks: what is tried before it becomes an option, and what is frozen.

Each is given to ``SVEClassifier(callbacks=[...])`` and acts on the members' parameters: ``values`` (relative
change of singular values), ``bias_delta``, and the heads' ``weight`` and ``bias``, member axis first.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from sksve.adapters import SVDLinear

__all__ = [
    "Anchored",
    "DepthScaled",
    "FisherSpread",
    "Freeze",
    "MemberScales",
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
        yield layer.values
        if layer.bias_delta is not None:
            yield layer.bias_delta


class Freeze(Callback):
    """Keep a kind of parameters at its start: "values", "bias_delta" or "heads"; it stays random."""

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


class MemberScales(Callback):
    """Noise of another size for each member: the first factor for the first one, and so on."""

    def __init__(self, *factors: float) -> None:
        self.factors = factors

    @torch.no_grad()
    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        for p in starts_of(net):
            for member, factor in enumerate(self.factors[: len(p)]):
                p[member] *= factor


class FisherSpread(Callback):
    """Noise of each singular value by its Fisher weight, at unchanged length in each layer.

    The Fisher weight of a direction is the mean square of the loss's derivative, row by row, at the
    pretrained values. A positive `power` spreads members where the loss is sensitive, a negative one
    where it is not, as a posterior would.
    """

    def __init__(self, power: float = 0.5, n_rows: int = 60) -> None:
        self.power = power
        self.n_rows = n_rows

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        deltas = [layer.values for layer in layers_of(net)]
        noise = [p.detach().clone() for p in starts_of(net)]
        with torch.no_grad():
            for p in starts_of(net):
                p.zero_()
        squares = self._squares(net, X, deltas)
        with torch.no_grad():
            for p, start in zip(starts_of(net), noise):
                p.copy_(start)
            for p, square in zip(deltas, squares):
                p.copy_(weighted_noise(p, square, self.power))

    def _squares(self, net: Any, X: Any, deltas: list[nn.Parameter]) -> list[Tensor]:
        m = len(deltas[0])
        rows = np.linspace(0, len(X) - 1, m * max(1, min(self.n_rows, len(X)) // m)).astype(int)
        squares = [torch.zeros_like(p[0]) for p in deltas]
        for chunk in rows.reshape(-1, m, 1):  # a row a member: each gradient is one row's
            net.optimizer_.zero_grad(set_to_none=True)
            net.backward(*X.collate(chunk, None))
            for square, p in zip(squares, deltas):
                square += (p.grad**2).sum(dim=0)
        net.optimizer_.zero_grad(set_to_none=True)
        return squares


def weighted_noise(noise: Tensor, square: Tensor, power: float) -> Tensor:
    """Noise (m, r) times ``square ** power``, each member's at its old length."""
    weighted = noise * (square / square.max().clamp_min(1e-30) + 1e-4) ** power
    length = noise.norm(dim=1, keepdim=True) / weighted.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return weighted * length


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

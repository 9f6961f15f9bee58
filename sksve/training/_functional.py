"""Loss, gradient clipping and schedule of an ensemble, as functions of one member at a time."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "WarmupLinear",
    "clip_member_gradients",
    "member_cross_entropy",
    "member_gradient_norms",
    "member_hits",
]


def member_cross_entropy(logits: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Return each member's own loss: its weighted cross-entropies over the rows of its batch.

    Parameters
    ----------
    logits : Tensor of shape (m, b, c)
    y : Tensor of shape (m, b) or (b,), or with a further axis of c probabilities
        Encoded targets, or soft ones.
    weight : Tensor of shape (m, b)
        Sample weights, of mean 1 over the whole data.

    Returns
    -------
    Tensor of shape (m,)
        ``sum(weight * cross_entropy) / b``, in nats; float32 or better.
    """
    m, b, c = logits.shape
    # Half precision is good enough for the layers, not for a log-sum-exp.
    logits = logits if logits.dtype == torch.float64 else logits.float()
    soft = y.is_floating_point()
    target = y.expand(m, b, c).reshape(m * b, c) if soft else y.expand(m, b).reshape(-1)
    target = target.to(logits.dtype) if soft else target
    losses = F.cross_entropy(logits.reshape(m * b, c), target, reduction="none")
    return (losses.reshape(m, b) * weight).sum(dim=1) / b


def member_hits(logits: Tensor, y: Tensor) -> Tensor:
    """Count the rows each member gets right; of soft targets, the expected number.

    Parameters
    ----------
    logits : Tensor of shape (m, b, c)
    y : Tensor of shape (m, b) or (b,), or with a further axis of c probabilities

    Returns
    -------
    Tensor of shape (m,), float64
    """
    chosen = logits.argmax(dim=-1)
    if y.is_floating_point():
        right = y.expand(logits.shape).gather(-1, chosen[..., None])[..., 0]
    else:
        right = chosen == y
    return right.double().sum(dim=1)


def member_gradient_norms(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of each member's gradient over all its parameters, shape (n_members,).

    Parameters
    ----------
    parameters : iterable of Parameter
        Axis 0 of each is the member; parameters without gradient are passed over.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(0)
    square = torch.stack([g.reshape(g.shape[0], -1).square().sum(dim=1) for g in grads]).sum(dim=0)
    return square.sqrt()


def clip_member_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale each member's gradient to at most `max_norm`, on its own.

    A joint clip, as in the published code, lets one member's large gradient shrink all others'.

    Parameters
    ----------
    parameters : iterable of Parameter
        Axis 0 of each is the member; parameters without gradient are passed over.
    max_norm : float
        Largest Euclidean norm of one member's gradient over all its parameters.

    Returns
    -------
    Tensor of shape (n_members,)
        The norms before clipping.
    """
    parameters = list(parameters)
    norm = member_gradient_norms(parameters)
    scale = (max_norm / norm.clamp(min=torch.finfo(norm.dtype).tiny)).clamp(max=1.0)
    for g in (p.grad for p in parameters if p.grad is not None):
        g.mul_(scale.reshape(-1, *[1] * (g.ndim - 1)))
    return norm


class WarmupLinear:
    """Factor of the learning rate: up linearly for a share of all steps, then linearly to 0.

    A class, not a lambda, so that a fitted net can be pickled.

    Parameters
    ----------
    n_steps : int
        Steps of the whole training.
    warmup : float
        Share of them, in [0, 1].
    stop : int, optional
        Step at which the factor is 0 already. The schedule is as much higher as it is shorter, so that
        its sum is about the same.

    Examples
    --------
    >>> factor = WarmupLinear(10, 0.2)
    >>> [round(factor(step), 3) for step in range(11)]
    [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]
    >>> factor = WarmupLinear(10, 0.2, stop=5)
    >>> [factor(step) for step in range(11)]
    [2.0, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, n_steps: int, warmup: float, stop: int | None = None) -> None:
        self.stop = n_steps if stop is None else stop
        self.n_warmup = round(warmup * self.stop)
        self.height = n_steps / self.stop

    def __call__(self, step: int) -> float:
        if step < self.n_warmup:
            return self.height * (step + 1) / self.n_warmup
        rest = self.stop - self.n_warmup
        return self.height * max(0.0, (self.stop - step) / rest) if rest else 0.0

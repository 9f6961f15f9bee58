"""Loss, gradient clipping, schedule, freeze-out and anchored decay of an ensemble."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "WarmupLinear",
    "adapted_blocks",
    "clip_member_gradients",
    "decay_to_start",
    "member_cross_entropy",
    "member_gradient_norms",
    "member_hits",
    "members_at_once",
    "stopping_steps",
]


# Tokens of a forward and backward pass. Members of a step with more take turns: activations, not
# weights, are what fills the memory. On two cores passes of 1,024 tokens took 1.2 times as long as
# larger ones (threads wait for each other at every call); 4,096 to 7,168 took the same time, but the
# heap, whose pieces are of another size at each step, grew to 1.5 times a plain fine-tune's with 7,168.
STEP_TOKENS_CPU, STEP_TOKENS_GPU = 4096, 2**18


def members_at_once(n_members: int, tokens: int, device: torch.device) -> int:
    """Members that share a pass, in groups as equal as can be; `tokens` are those of each, padded."""
    most = STEP_TOKENS_CPU if device.type == "cpu" else STEP_TOKENS_GPU
    n_groups = -(-n_members // max(1, most // max(tokens, 1)))
    return -(-n_members // n_groups)


def member_cross_entropy(logits: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """``sum(weight * cross_entropy) / b`` of each member in nats: (m, b, c), (m, b) or (b,) -> (m,)."""
    m, b, c = logits.shape
    # Half precision is good enough for the layers, not for a log-sum-exp.
    logits = logits if logits.dtype == torch.float64 else logits.float()
    soft = y.is_floating_point()
    target = y.expand(m, b, c).reshape(m * b, c) if soft else y.expand(m, b).reshape(-1)
    target = target.to(logits.dtype) if soft else target
    losses = F.cross_entropy(logits.reshape(m * b, c), target, reduction="none")
    return (losses.reshape(m, b) * weight).sum(dim=1) / b


def member_hits(logits: Tensor, y: Tensor) -> Tensor:
    """Rows each member gets right, shape (m,); of soft targets, the expected number."""
    chosen = logits.argmax(dim=-1)
    if y.is_floating_point():
        right = y.expand(logits.shape).gather(-1, chosen[..., None])[..., 0]
    else:
        right = chosen == y
    return right.double().sum(dim=1)


def member_gradient_norms(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of each member's gradient over all its parameters, shape (n_members,)."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(0)
    square = torch.stack([g.reshape(g.shape[0], -1).square().sum(dim=1) for g in grads]).sum(dim=0)
    return square.sqrt()


def clip_member_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale each member's gradient to a norm of at most `max_norm`; return the norms before, (m,)."""
    # A joint clip, as in the published code, lets one member's large gradient shrink all others'.
    parameters = list(parameters)
    norm = member_gradient_norms(parameters)
    scale = (max_norm / norm.clamp(min=torch.finfo(norm.dtype).tiny)).clamp(max=1.0)
    for g in (p.grad for p in parameters if p.grad is not None):
        g.mul_(scale.reshape(-1, *[1] * (g.ndim - 1)))
    return norm


class WarmupLinear:
    """Factor of the learning rate: up linearly for a share of all steps, then linearly to 0.

    With `stop`, it is 0 from that step on, and as much higher as it is shorter: its sum stays the same. A
    class, not a lambda, so that a fitted net can be pickled.

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


def stopping_steps(n_blocks: int, freeze_out: float | None, n_steps: int) -> list[int]:
    """Steps after which each adapted block stops learning: the first at `freeze_out`, the last never.

    Brock, Lim, Ritchie and Weston (2017), "FreezeOut", https://arxiv.org/abs/1706.04983

    >>> stopping_steps(4, 0.4, 30)
    [12, 18, 24, 30]
    >>> stopping_steps(1, 0.4, 30)
    [30]
    """
    first = 1.0 if freeze_out is None or n_blocks == 1 else freeze_out
    between = max(1, n_blocks - 1)
    shares = [first + (1.0 - first) * k / between for k in range(n_blocks)]
    fewest = -(-n_steps // 10)  # a rate is at most ten times as high as it is without
    return [max(fewest, round(share * n_steps)) for share in shares]


def adapted_blocks(split: Any) -> Sequence[nn.Module]:
    """Blocks of a ``SplitBackbone`` that are not in its prefix."""
    return list(split.model.get_submodule(split.blocks))[split.first_block :]


def decay_to_start(optimizer: torch.optim.AdamW) -> None:
    """Let weight decay pull to the parameters' present values instead of to zero.

    Pearce et al. (2020), "Uncertainty in neural networks: approximately Bayesian ensembling",
    https://arxiv.org/abs/1810.05546
    """
    # A step takes lr * decay * p off a parameter; lr * decay * p_0 is given back after it.
    starts = [
        [(p, p.detach().clone()) for p in group["params"]] if group["weight_decay"] else []
        for group in optimizer.param_groups
    ]

    @torch.no_grad()
    def give_back(stepped: Any, *_: Any) -> None:
        for group, pairs in zip(stepped.param_groups, starts, strict=True):
            for p, start in pairs:
                if p.grad is not None:  # else the step has passed it over, decay and all
                    p.add_(start, alpha=group["lr"] * group["weight_decay"])

    optimizer.register_step_post_hook(give_back)

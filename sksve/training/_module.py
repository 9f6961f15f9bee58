"""The module that is trained (frozen part, adapted part, heads) and the formulas of its training."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters import use_members
from sksve.backbones import MemberCopies, SplitBackbone, blocks_of


class MemberHeads(nn.Module):
    """One linear head per member: weights are N(0, init_std ** 2), biases and weights of side features 0.

    With `normalize`, pooled vectors are scaled to Euclidean length 1; side features stand after them.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        generators: Sequence[torch.Generator],  # one per member
        *,
        init_std: float,
        dtype: torch.dtype = torch.float32,
        normalize: bool = False,
        n_side: int = 0,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        weight = torch.stack(
            [
                init_std * torch.randn(n_classes, in_features, generator=g, dtype=torch.float64)
                for g in generators
            ]
        )
        self.weight = nn.Parameter(weight.to(dtype))
        self.bias = nn.Parameter(torch.zeros(len(generators), n_classes, dtype=dtype))
        side = torch.zeros(len(generators), n_classes, n_side, dtype=dtype)
        self.side = nn.Parameter(side) if n_side else None  # a parameter, for a rate of its own

    @property
    def matrix(self) -> Tensor:
        """Weights (m, c, d + s) of pooled vectors and side features."""
        return self.weight if self.side is None else torch.cat([self.weight, self.side], dim=-1)

    def joined(self, pooled: Tensor, side: Tensor | None) -> Tensor:
        """What the heads take: pooled vectors and, if there are, side features."""
        pooled = F.normalize(pooled, dim=-1) if self.normalize else pooled
        return pooled if side is None else torch.cat([pooled, side.to(pooled.dtype)], dim=-1)

    def forward(self, joined: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """Logits (m, b, c) of what `joined` gives, (m, b, d + s)."""
        weight, bias = self.matrix, self.bias
        if members is not None:
            index = torch.tensor(list(members), device=weight.device)
            weight, bias = weight[index], bias[index]
        return torch.baddbmm(bias[:, None, :], joined, weight.transpose(1, 2))


class EnsembleModule(nn.Module):
    """Backbone with adapted layers, and the members' heads."""

    def __init__(self, split: Any, heads: MemberHeads) -> None:
        super().__init__()
        self.split = split  # SplitBackbone or MemberCopies: frozen prefix, adapted suffix, pooling
        self.heads = heads

    @property
    def n_members(self) -> int:
        """Number of members."""
        return self.heads.weight.shape[0]

    def adapter_parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters inside the backbone; axis 0 is the member."""
        return [p for p in self.split.parameters() if p.requires_grad]

    def member_parameters(self) -> list[nn.Parameter]:
        """Return every trainable parameter; axis 0 is the member."""
        return [*self.adapter_parameters(), *self.heads.parameters()]

    def member_tensors(self) -> list[Tensor]:
        """Return all that members differ by: their parameters and their buffers; axis 0 is the member."""
        buffers = [
            value
            for layer in self.split.modules()
            for name in getattr(layer, "member_buffers", ())
            if (value := getattr(layer, name)) is not None
        ]
        return [*self.member_parameters(), *buffers]

    def logits(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        features: Tensor | None = None,
        members: Sequence[int] | None = None,
        n_frozen: int = 0,
        side: Tensor | None = None,
    ) -> Tensor:
        """Logits (m, b, c) of members, by position, for their own rows, which are as in :class:`MemberBatch`.

        `features` is what ``SplitBackbone.features`` returns, where it is at hand. The first `n_frozen`
        adapted blocks give no gradient. `side` are the rows' side features (m * b, s).
        """
        if features is None:
            features = self.split.features(input_ids, attention_mask)
        if self.split.has_suffix:
            frozen = {"n_frozen": n_frozen} if n_frozen else {}  # whole copies have no such blocks
            with use_members(self.split, members):
                hidden = self.split.suffix(features, input_ids, attention_mask, **frozen)
                pooled = self.split.pool(hidden, attention_mask)
        else:
            assert features is not None
            pooled = features[:, 0]
        m = self.n_members if members is None else len(members)
        pooled = self.heads.joined(pooled.to(self.heads.weight.dtype), side)
        return self.heads(pooled.reshape(m, -1, pooled.shape[-1]), members)

    forward = logits

    # -- what a saved model holds

    def saving_layers(self) -> Iterator[tuple[str, Any]]:
        """Layers that save more than their parameters, by dotted name."""
        yield from ((n, m) for n, m in self.named_modules() if hasattr(m, "saved_tensors"))

    def saved_state(self) -> dict[str, np.ndarray]:
        """Tensors that make the members, by dotted name in the module; the backbone is not saved.

        The parameters that learn, the members' buffers, and what a layer's ``saved_tensors()`` adds; such a
        layer has ``align(saved)``, which brings a fresh layer to the saved state or raises a ValueError.
        """
        tensors = {name: p for name, p in self.named_parameters() if p.requires_grad}
        for name, layer in self.saving_layers():
            buffers = {key: getattr(layer, key) for key in getattr(layer, "member_buffers", ())}
            saved = {
                key: value for key, value in buffers.items() if value is not None
            } | layer.saved_tensors()
            tensors |= {f"{name}.{key}": value for key, value in saved.items()}
        return {name: value.detach().cpu().numpy() for name, value in tensors.items()}

    def describe_frozen(self) -> dict[str, str]:
        """Hash the frozen weights under the members, those that layers compute anew left out.

        Name of an adapted matrix -> its ``weight_hash``, and under ``""`` one SHA-256 of all other frozen
        floating tensors of the model, the unused pooler left out.
        """
        model = self.split.model
        hashes = {}
        skipped = {name for name, p in model.named_parameters() if p.requires_grad}
        for name, layer in model.named_modules():
            skipped |= {f"{name}.{buffer}" for buffer in getattr(layer, "recomputed", ())}
            if weight_hash := getattr(layer, "weight_hash", ""):
                hashes[name] = weight_hash
        digest = hashlib.sha256()
        for name, value in sorted(model.state_dict().items()):
            if name in skipped or name.startswith("pooler.") or not value.is_floating_point():
                continue
            value = value.detach().cpu().contiguous()
            digest.update(f"{name}|{tuple(value.shape)}|{value.dtype}|".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return hashes | {"": digest.hexdigest()}


@dataclass(frozen=True)
class WholeBackbone:
    """Factory of members that are whole models: each fine-tunes a copy of the backbone.

    Such members are trained one after the other, so that only one optimizer state is held at a time.
    """

    dropout: float | None = None  # as in MemberCopies

    def __call__(
        self, split: SplitBackbone, generators: Sequence[torch.Generator], /
    ) -> MemberCopies:
        """Make the copies; `split` is used, not copied."""
        return MemberCopies(split, len(generators), dropout=self.dropout, generator=generators[0])


# -- loss, gradient clipping, schedule, freeze-out and anchored decay ------------------------------

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
    return blocks_of(split.model, split.blocks)[split.first_block :]


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

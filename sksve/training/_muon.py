"""Muon for the members' full cores, AdamW for all else."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

# A quintic whose repetition brings singular values from (0, 1] near 1, reference [1] of CoreMuon.
QUINTIC = (3.4445, -4.7750, 2.0315)


def _orthogonalized(matrices: Tensor, n_steps: int = 5) -> Tensor:
    """Bring the singular values of matrices (..., r, r) near 1 and keep their vectors; zeros stay."""
    # Five steps bring values above a hundredth of the norm to between 0.6 and 1.3; 1 is not needed.
    a, b, c = QUINTIC
    tiny = torch.finfo(matrices.dtype).tiny
    x = matrices / torch.linalg.matrix_norm(matrices)[..., None, None].clamp_min(tiny)
    for _ in range(n_steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x


class CoreMuon(Optimizer):
    r"""Move full cores by their orthogonalized momentum, and other parameters as AdamW does.

    With momentum :math:`B_t = \mu B_{t-1} + G_t` of a member's core of size r, a step is :math:`C \gets
    (1 - \eta \lambda) C - \eta \sqrt{r}\, \mathrm{orth}(G_t + \mu B_t)`: all directions of the core move
    alike, however small their gradient, and an entry moves by about :math:`\eta` in root mean square, so
    that AdamW's rates are of the right size. torch's own Muon has no batches of matrices.

    `cores` are the `values` (m, r * r) of ``SVDLinear`` layers whose core is "full", `groups` are AdamW's,
    `stages` the parameter group that each core is in, from 0, so that they may have rates of their own.

    References
    ----------
    .. [1] Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
       https://kellerjordan.github.io/posts/muon
    .. [2] Liu et al. (2025), "Muon is scalable for LLM training", https://arxiv.org/abs/2502.16982
    """

    def __init__(
        self,
        cores: Iterable[nn.Parameter],
        groups: list[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        stages: Sequence[int] | None = None,
    ) -> None:
        cores = list(cores)
        stages = [0] * len(cores) if stages is None else stages
        core_groups: list[dict[str, Any]] = [
            {"params": [p for p, k in zip(cores, stages, strict=True) if k == stage], "lr": lr}
            | {"stage": stage}
            for stage in range(1 + max(stages, default=0))
        ]
        self.momentum, self.n_core_groups = momentum, len(core_groups)
        super().__init__([*core_groups, *groups], {"lr": lr, "weight_decay": weight_decay})
        self.adamw = AdamW(
            self.param_groups[self.n_core_groups :], weight_decay=weight_decay, fused=True
        )
        self._share()

    def _share(self) -> None:
        """Let AdamW use these very groups, which schedules write to, and this state, which is saved."""
        self.adamw.param_groups = self.param_groups[self.n_core_groups :]
        self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        by_size: dict[int, list[tuple[Tensor, dict[str, Any]]]] = {}
        for group in self.param_groups[: self.n_core_groups]:
            for p in group["params"]:
                if p.grad is not None:
                    by_size.setdefault(p.shape[1], []).append((p, group))
        for size, cores in by_size.items():  # all of one size together
            r = round(size**0.5)
            ahead = torch.stack([self._look_ahead(p).view(-1, r, r) for p, _ in cores])
            for (p, group), direction in zip(cores, _orthogonalized(ahead)):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(direction.reshape(p.shape), alpha=group["lr"] * r**0.5)
        self.adamw.step()
        return loss

    def _look_ahead(self, p: Tensor) -> Tensor:
        """Take the gradient into the momentum; where Nesterov's method looks."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum: Tensor = state["momentum"].mul_(self.momentum).add_(p.grad)
        return p.grad + self.momentum * momentum

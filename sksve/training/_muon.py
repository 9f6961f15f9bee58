"""Muon for the members' cores, AdamW for all else."""

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from sksve.adapters import band_core, band_entries

__all__ = ["Core", "CoreMuon", "check_whole_cores", "orthogonalized"]

#: A member's cores, one a layer: diagonals (m, r), and all else of an r x r matrix, or None if r is 1.
Core = tuple[nn.Parameter, nn.Parameter | None]

NOT_WHOLE = "core_optimizer='muon' makes steps of whole cores orthogonal and needs off_diagonals >= rank - 1"

# A quintic whose repetition brings singular values from (0, 1] near 1, reference [1] below.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrices: Tensor, n_steps: int = 5) -> Tensor:
    r"""Bring all singular values of matrices near 1 and keep their singular vectors.

    Parameters
    ----------
    matrices : Tensor of shape (..., r, r)
    n_steps : int, default=5
        Repetitions of the quintic iteration. Five bring values above a hundredth of the Frobenius norm
        to between 0.6 and 1.3; exactly 1 is not needed.

    Returns
    -------
    Tensor of shape (..., r, r)
        Zero where a matrix is.

    References
    ----------
    .. [1] Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
       https://kellerjordan.github.io/posts/muon

    Examples
    --------
    >>> import torch
    >>> from sksve.training import orthogonalized
    >>> flat = orthogonalized(torch.diag(torch.tensor([4.0, -0.5, 1.0])))
    >>> bool((flat.diagonal().abs() - 1).abs().max() < 0.4)
    True
    """
    a, b, c = QUINTIC
    tiny = torch.finfo(matrices.dtype).tiny
    x = matrices / torch.linalg.matrix_norm(matrices)[..., None, None].clamp_min(tiny)
    for _ in range(n_steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x


class CoreMuon(Optimizer):
    r"""Move cores by their orthogonalized momentum, and other parameters as AdamW does.

    With momentum :math:`B_t = \mu B_{t-1} + G_t` of a member's core of size r, a step is :math:`C \gets
    (1 - \eta \lambda) C - \eta \sqrt{r}\, \mathrm{orth}(G_t + \mu B_t)`: all directions of the core move
    alike, however small their gradient, and an entry moves by about :math:`\eta` in root mean square, so
    that AdamW's rates are of the right size. torch's own Muon has no batches of matrices.

    Parameters
    ----------
    cores : iterable of (diagonal, rest)
        Parameters of shapes (m, r) and (m, r (r - 1)), the latter in the order of ``apply_band``.
    groups : list of dict
        AdamW's parameter groups.
    lr : float
        Learning rate of the cores.
    weight_decay : float, default=0.0
    momentum : float, default=0.9
    stages : sequence of int, optional
        Number of the parameter group that each core is in, from 0, so that they may have rates of their
        own. None: one group. AdamW's groups come behind these.

    Raises
    ------
    ValueError
        If a core is not a whole matrix.

    References
    ----------
    .. [1] Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
       https://kellerjordan.github.io/posts/muon
    .. [2] Liu et al. (2025), "Muon is scalable for LLM training", https://arxiv.org/abs/2502.16982
    """

    def __init__(
        self,
        cores: Iterable[Core],
        groups: list[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        stages: Sequence[int] | None = None,
    ) -> None:
        self.cores = list(cores)
        self.momentum = momentum
        for delta, band in self.cores:
            _check_whole(delta, band)
        self.stages = [0] * len(self.cores) if stages is None else list(stages)
        own: list[dict[str, Any]] = [
            {"params": [], "lr": lr, "stage": k} for k in range(1 + max(self.stages, default=0))
        ]
        for core, stage in zip(self.cores, self.stages, strict=True):
            own[stage]["params"] += [p for p in core if p is not None]
        super().__init__([*own, *groups], {"lr": lr, "weight_decay": weight_decay})
        # It shares the groups, which the schedule writes to, and the state, which is saved.
        self.n_own = len(own)
        self.adamw = AdamW(self.param_groups[self.n_own :], weight_decay=weight_decay, fused=True)
        self._share()

    def _share(self) -> None:
        self.adamw.param_groups = self.param_groups[self.n_own :]
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
        by_size: dict[int, list[tuple[Core, int]]] = {}
        for core, stage in zip(self.cores, self.stages):
            if core[0].grad is not None:
                by_size.setdefault(core[0].shape[1], []).append((core, stage))
        for staged in by_size.values():
            self._step_cores(staged)
        self.adamw.step()
        return loss

    def _step_cores(self, staged: list[tuple[Core, int]]) -> None:
        """Step cores of one size together, each at the rate of its group."""
        r = staged[0][0][0].shape[1]
        ahead = [[None if p is None else self._look_ahead(p) for p in core] for core, _ in staged]
        directions = orthogonalized(torch.stack([_whole(*each) for each in ahead]))
        for ((delta, band), stage), direction in zip(staged, directions):
            lr, decay = (self.param_groups[stage][name] for name in ("lr", "weight_decay"))
            step = direction * (lr * r**0.5)
            delta.mul_(1 - lr * decay).sub_(step.diagonal(dim1=-2, dim2=-1))
            if band is not None:
                band.mul_(1 - lr * decay).sub_(band_entries(step, r - 1))

    def _look_ahead(self, p: nn.Parameter) -> Tensor:
        """Take the gradient into the momentum; where Nesterov's method looks."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].mul_(self.momentum).add_(p.grad)
        ahead: Tensor = p.grad + self.momentum * state["momentum"]
        return ahead


def _whole(diagonal: Tensor | None, rest: Tensor | None) -> Tensor:
    assert diagonal is not None
    core = torch.diag_embed(diagonal)
    r = diagonal.shape[1]
    return core if rest is None else core + band_core(rest, r, r - 1)


def _check_whole(delta: Tensor, band: Tensor | None) -> None:
    r = delta.shape[1]
    if (0 if band is None else band.shape[1]) != r * (r - 1):
        raise ValueError(f"{NOT_WHOLE}; got a layer of rank {r}, whose cores are not. {_cure(r)}")


def check_whole_cores(rank: int | float | None, off_diagonals: int) -> None:
    """Refuse, before any layer is made, cores that Muon cannot train.

    Parameters
    ----------
    rank, off_diagonals : int
        As in ``SVEClassifier``. A rank that is not an integer is each layer's own, and judged there.

    Raises
    ------
    ValueError
    """
    known = isinstance(rank, Integral)
    if off_diagonals < (int(rank) - 1 if known and rank is not None else 1):
        got = f"rank={rank!r}, off_diagonals={off_diagonals}"
        raise ValueError(f"{NOT_WHOLE}; got {got}. {_cure(rank if known else None)}")


def _cure(rank: Any) -> str:
    sides = "a rank and off_diagonals" if rank is None else f"off_diagonals={rank - 1}"
    return f"Set {sides}, or core_optimizer='adamw'."

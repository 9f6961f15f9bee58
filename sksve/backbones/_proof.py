"""Which shortcuts are right for a model, and which maps can be adapted: proven by two short rows."""

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters import MemberLinear, use_members
from sksve.adapters._members import weight_and_bias
from sksve.backbones._load import LoadedBackbone
from sksve.backbones._plan import AdaptationPlan, blocks_of, swap_modules
from sksve.backbones._probe import close, look, one_sentence, run_model, short_rows
from sksve.backbones._runs import Cut, run_from, run_until


def prove(
    backbone: LoadedBackbone, plan: AdaptationPlan, *, members: bool = True
) -> AdaptationPlan:
    """Use each shortcut only where it gives what the model gives; leave out what cannot be adapted.

    Without `members` no layer with members is tried, and the joint pass is not taken for granted.
    ValueError if nothing is left to adapt.
    """
    model, processor = backbone.model, backbone.processor
    seen = backbone.seen or look(model, processor)
    rows, mask = short_rows(model, processor)
    plan = replace(plan, proven=True, pads=seen.pads, joint=not members, width=seen.width)
    outside = [n for n in plan.targets if n not in seen.called] if members else []
    reasons = {
        name: "its weight is read without calling it" if name in seen.read else "never called"
        for name in outside
    }
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        plan = _proven_cut(model, plan, rows, mask)
        if members and plan.targets:
            own = {n for n in plan.targets if _has_its_own_way(model.get_submodule(n))}
            doubtful = {n for n in plan.targets if n in own | seen.read and n not in outside}
            plan = _without(plan, reasons)
            with one_sentence(type(model).__name__):
                joint = _joint(model, plan, rows, mask)
                if joint is None:
                    why = dict.fromkeys(doubtful, "its weight is used in another way, too")
                    plan = _without(plan, why)
                    joint = _joint(model, plan, rows, mask)
            if joint is None:
                raise ValueError(
                    f"{type(model).__name__} cannot be adapted: with other matrices in "
                    f"{plan.targets[0]!r} and the like it does not do what they say. Name others with "
                    "target_modules=."
                )
            plan = replace(plan, joint=joint)
    inside = tuple(f"{plan.blocks}.{i}." if plan.blocks else "" for i in range(plan.n_blocks))
    entries = {n: p.numel() for n, p in model.named_parameters()
               if p.ndim > 1 and n.startswith(inside)}  # fmt: skip
    adapted = sum(entries.get(f"{name}.weight", 0) for name in plan.targets)
    layers = tuple(f"{n}." for n in (*plan.targets, *plan.skipped))
    bare = {n: "a bare parameter, no layer (as experts are)" for n in entries
            if not n.startswith(layers) and model.get_parameter(n).ndim > 2}  # fmt: skip
    return replace(
        plan,
        skipped={**plan.skipped, **bare},
        share=adapted / max(1, sum(entries.values())),
        written=seen.written & set(plan.targets),
    )


def _has_its_own_way(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and type(module).forward is not nn.Linear.forward


def _without(plan: AdaptationPlan, reasons: dict[str, str]) -> AdaptationPlan:
    targets = tuple(name for name in plan.targets if name not in reasons)
    if not targets:
        raise ValueError(
            f"No linear map can be adapted: {'; '.join(f'{n}: {why}' for n, why in reasons.items()):.300}. "
            "Name others with target_modules=, or choose another backbone."
        )
    return replace(plan, targets=targets, skipped={**plan.skipped, **reasons})


def _proven_cut(
    model: Any, plan: AdaptationPlan, rows: Tensor, mask: Tensor | None
) -> AdaptationPlan:
    """Find what blocks hand on, if that is all that the blocks behind the cut need."""
    if plan.first_block in (0, plan.n_blocks):
        return replace(plan, outputs=0, entry_suffices=plan.first_block > 0)
    gave: dict[Any, Any] = {}
    embeddings = model._modules.get("embeddings")
    watched = [m for m in (blocks_of(model, plan.blocks)[0], embeddings) if m is not None]
    hooks = [m.register_forward_hook(lambda m, _, out: gave.update({m: out})) for m in watched]
    try:
        expected = run_model(model, rows, mask)
    finally:
        for hook in hooks:
            hook.remove()
    first = gave.get(watched[0])
    outputs = len(first) if isinstance(first, tuple) else 0
    for entry in (True, False) if isinstance(gave.get(embeddings), Tensor) else (False,):
        cut = Cut(plan.blocks, plan.first_block, outputs, entry)
        # Neither pixels nor, in embeddings, ids are looked at where the entry suffices.
        given = rows[:, :1, :1, :1] if entry and rows.ndim == 4 else rows
        try:
            hidden = run_until(model, cut, rows, mask)
            start = Cut(plan.blocks, 0, 0, False)
            tokens = (
                rows.shape[1] if mask is not None else run_until(model, start, rows, mask).shape[1]
            )
            if (
                hidden.ndim == 3
                and hidden.shape[:2] == (len(rows), tokens)
                and close(run_from(model, cut, hidden, given, mask, 0), expected)
            ):
                return replace(plan, outputs=outputs, entry_suffices=entry)
        except Exception:  # nosec B112 # whatever a model raises: not proven
            continue
    return plan


class _Trial(MemberLinear):
    """A linear map of two members, one of them changed, at the cost of one product."""

    weight = None

    def __init__(self, linear: nn.Module) -> None:
        weight, bias = weight_and_bias(linear, type(self))
        super().__init__(weight.shape[1], weight.shape[0], 2)
        change = 1 + 0.3 * torch.sin(torch.arange(len(weight)).to(weight))
        self.change = nn.Parameter(change, requires_grad=False)
        self.matrix, self.bias = weight.detach(), None if bias is None else bias.detach()

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        chosen = [0, 1] if members is None else members.tolist()
        y = F.linear(rows, self.matrix, self.bias)
        return torch.stack([y[i] * self.change if k else y[i] for i, k in enumerate(chosen)])

    def plain(self) -> nn.Linear:
        """The changed member as an ordinary layer."""
        linear = nn.utils.skip_init(
            nn.Linear, self.in_features, self.out_features, bias=self.bias is not None
        )
        linear.weight = nn.Parameter(self.matrix * self.change[:, None], requires_grad=False)
        if self.bias is not None:
            linear.bias = nn.Parameter(self.bias * self.change, requires_grad=False)
        return linear


def _joint(model: Any, plan: AdaptationPlan, rows: Tensor, mask: Tensor | None) -> bool | None:
    """Whether members in one pass are each alone; None if one alone is not the model with its matrices."""
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(t): t for t in tensors})
    trials = {name: _Trial(twin.get_submodule(name)) for name in plan.targets}
    for name in plan.targets:
        trials[name].is_written = True
    swap_modules(twin, trials)

    def run(*chosen: int) -> Tensor:
        m = len(chosen)
        both = [None if t is None else t.repeat(m, *[1] * (t.ndim - 1)) for t in (rows, mask)]
        cut = Cut(plan.blocks, plan.first_block, 0, False)
        with use_members(twin, chosen):
            return run_from(twin, cut, None, both[0], both[1], 0)

    try:
        alone = [run(0), run(1)]
    except Exception:
        return None
    try:
        joint = close(run(0, 1), torch.cat(alone))
    except Exception:  # it may stumble over rows of several members
        joint = False
    if not close(alone[0], run_model(model, rows, mask)):
        return None
    swap_modules(twin, {name: trial.plain() for name, trial in trials.items()})
    return joint if close(run(1), alone[1]) else None

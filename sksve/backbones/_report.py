"""What was adapted, what it costs, and which shortcuts were proven."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from torch import nn

from sksve.backbones._plan import AdaptationPlan


@dataclass(frozen=True)
class AdapterReport:
    """What an ensemble trains and what it leaves alone.

    Attributes
    ----------
    adapted : tuple of str
        Dotted names of the adapted modules.
    skipped : dict of str to str
        Every other linear map -> the reason it is not adapted.
    n_trainable : int
        Trainable parameters of all members together.
    n_trainable_per_member : int
        Trainable parameters of one member.
    n_total : int
        Parameters of the backbone as it came.
    share_percent : float
        100 * n_trainable / n_total.
    n_bytes : int
        Bytes of the trainable parameters.
    ranks : dict of str to int
        Adapted module -> how many of its singular values are trained.
    share_adapted : float
        Share of the entries of the blocks' matrices that adapted modules hold; below 1 where a model has
        bare matrices, such as experts, or blocks are frozen.
    found : dict of str to bool
        What two short rows proved: "joint" (members share a pass), "cut" (frozen blocks are computed
        once), "padding" (rows of several lengths share a pass). Where one is False, passes are repeated,
        and the numbers are right.
    """

    adapted: tuple[str, ...]
    skipped: dict[str, str]
    n_trainable: int
    n_trainable_per_member: int
    n_total: int
    share_percent: float
    n_bytes: int
    ranks: dict[str, int]
    share_adapted: float = 1.0
    found: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plan: AdaptationPlan,
        parameters: Mapping[str, nn.Parameter],
        *,
        n_members: int,
        n_total: int,
        ranks: Mapping[str, int] | None = None,
    ) -> Self:
        """Count; ValueError if members differ in their number of parameters.

        `parameters` by name, each holding all members; those without a gradient are left out.
        """
        trainable = list({id(p): p for p in parameters.values() if p.requires_grad}.values())
        n_trainable = sum(p.numel() for p in trainable)
        if n_trainable % n_members:
            raise ValueError(
                f"Each of {n_members} members must have as many trainable parameters as the others. "
                f"Got {n_trainable} parameters in all."
            )
        return cls(
            adapted=plan.targets,
            skipped=dict(plan.skipped),
            n_trainable=n_trainable,
            n_trainable_per_member=n_trainable // n_members,
            n_total=n_total,
            share_percent=100.0 * n_trainable / n_total,
            n_bytes=sum(p.nbytes for p in trainable),
            ranks=dict(ranks or {}),
            share_adapted=plan.share,
            found={"joint": plan.joint, "cut": plan.outputs is not None, "padding": plan.pads}
            if plan.proven
            else {},
        )

    def __repr__(self) -> str:
        lines = [
            f"AdapterReport: {len(self.adapted)} modules adapted, {len(self.skipped)} not",
            f"  trainable: {self.n_trainable:,} parameters, "
            f"{self.n_trainable_per_member:,} per member, {self.n_bytes:,} bytes",
            f"  that is {self.share_percent:.3g} % of the backbone's {self.n_total:,}",
        ]
        if self.ranks:
            low, high = min(self.ranks.values()), max(self.ranks.values())
            lines.append(f"  trained rank: {low if low == high else f'{low} to {high}'}")
        if self.found:
            lines.append(f"  {self.share_adapted:.0%} of the entries of the blocks' matrices")
        repeated = {
            "joint": "members take turns in training",
            "cut": "frozen blocks run again at every step",
            "padding": "rows of one length only share a pass",
        }
        lines += [
            f"  {words}" for name, words in repeated.items() if not self.found.get(name, True)
        ]
        reasons = Counter(self.skipped.values())
        lines += [f"  not adapted: {count} {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold."""
        return {**asdict(self), "adapted": list(self.adapted)}

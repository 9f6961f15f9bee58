"""What every layer with members shares: the member axis, dense weights on demand, merging."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._own_thread import ThreadSwitch

__all__ = ["MemberLinear", "MemberModule", "check_n_members", "one_each", "weight_and_bias"]


class MemberModule(nn.Module):
    """A module whose input and parameters have a member axis, outermost.

    Parameters
    ----------
    n_members : int
    """

    #: Buffers that belong to the members, as parameters do: axis 0 is the member. Saved, never computed anew.
    member_buffers: tuple[str, ...] = ()

    # Set by `use_members` (_switch.py), for the time of a with block only.
    _members = ThreadSwitch[Tensor]()

    def __init__(self, n_members: int) -> None:
        super().__init__()
        self.n_members = n_members

    @property
    def n_active(self) -> int:
        """Members whose rows a forward pass takes now."""
        chosen = self._members
        return self.n_members if chosen is None else chosen.shape[0]


class MemberLinear(MemberModule):
    """A linear map of each member's own, made from one pretrained linear map.

    Parameters
    ----------
    in_features, out_features, n_members : int
    """

    # Set by `merged_member` (_switch.py), for the time of a with block only.
    _merged = ThreadSwitch[tuple[Tensor, Tensor | None]]()

    def __init__(self, in_features: int, out_features: int, n_members: int) -> None:
        super().__init__(n_members)
        self.in_features, self.out_features = in_features, out_features

    @property
    def n_active(self) -> int:
        """Members whose rows a forward pass takes now: one if merged, else those in use."""
        return 1 if self._merged is not None else super().n_active

    def member_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the trainable parameters; axis 0 of each is the member."""
        yield from self.parameters()

    @abstractmethod
    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        """Map rows (m, n, in_features) of the chosen members (None: all) to (m, n, out_features)."""

    @abstractmethod
    def member_weight(self, member: int, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Weight (out_features, in_features) and bias (out_features,) of one member.

        The weight is written into `out`, where that is given.
        """

    @abstractmethod
    def pretrained_weight(self) -> Tensor:
        """Weight (out_features, in_features) that every member started from."""

    @abstractmethod
    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        """Cost of a member's forward pass: by its factors, and merged (the merge included)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's map to its own rows.

        Parameters
        ----------
        x : Tensor of shape (n_members * b, ..., in_features)
            Member axis outermost.

        Returns
        -------
        Tensor of shape (n_members * b, ..., out_features)

        Raises
        ------
        ValueError
            If the rows cannot be shared out equally among the members.
        """
        merged = self._merged
        if merged is not None:
            return F.linear(x, *merged)
        m = self.n_active
        if x.shape[0] % m:
            raise ValueError(
                f"The input has {x.shape[0]} rows, which {m} members cannot share equally: stack the "
                "rows of all members, member axis outermost."
            )
        rows = x.reshape(m, -1, self.in_features)
        y = self.apply_members(rows, self._members)
        return y.reshape(*x.shape[:-1], self.out_features)

    @torch.no_grad()
    def dense(self, member: int, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Weight (out_features, in_features) and bias (out_features,) of one member, computed now.

        Parameters
        ----------
        member : int
            In ``[0, n_members)``.
        out : Tensor of shape (out_features, in_features), optional
            Memory for the weight.

        Raises
        ------
        ValueError
            If there is no such member.
        """
        if not 0 <= member < self.n_members:
            raise ValueError(
                f"'member' must be an int in the range [0, {self.n_members}). Got {member!r}."
            )
        return self.member_weight(member, out)

    def merge(self, member: int) -> nn.Linear:
        """Return member `member` as an ordinary layer, from the parameters as they are now.

        Parameters
        ----------
        member : int
            In ``[0, n_members)``.

        Returns
        -------
        torch.nn.Linear
            An independent copy.
        """
        weight, bias = self.dense(member)
        linear = nn.utils.skip_init(
            nn.Linear, self.in_features, self.out_features, bias=bias is not None,
            device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        linear.weight = nn.Parameter(weight.clone())
        if bias is not None:
            linear.bias = nn.Parameter(bias.clone())
        return linear


def check_n_members(n_members: int) -> None:
    """Raise ValueError unless there is at least one member."""
    check_count("n_members", n_members, 1)


def check_count(name: str, value: int, lowest: int) -> None:
    """Raise ValueError unless `value` is an int of at least `lowest`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise ValueError(
            f"'{name}' must be an int in the range [{lowest}, inf). Got {value!r:.80}."
        )


def check_scale(name: str, value: float, *, zero: bool = True) -> None:
    """Raise ValueError unless `value` is a finite float >= 0, or > 0."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    except OverflowError:  # an int beyond the range of floats
        number = math.inf
    if not 0 <= number < math.inf or (number == 0 and not zero):
        raise ValueError(
            f"'{name}' must be a float {'>=' if zero else '>'} 0, finite. Got {value!r:.80}."
        )


def check_flag(name: str, value: bool) -> None:
    """Raise ValueError unless `value` is True or False."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise ValueError(f"'{name}' must be True or False. Got {value!r:.80}.")


def one_each(
    generator: torch.Generator | Sequence[torch.Generator] | None, n_members: int
) -> Sequence[torch.Generator | None]:
    """Return a generator for each member; a single one (None: torch's own) serves all in turn.

    Raises
    ------
    ValueError
        If there are neither one nor `n_members` of them.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return [generator] * n_members
    if len(generator) == n_members:
        return generator
    raise ValueError(
        f"'generator' must be one torch.Generator or {n_members}, one per member. "
        f"Got {len(generator)}."
    )


def weight_and_bias(linear: nn.Module, maker: str) -> tuple[Tensor, Tensor | None]:
    """Weight as (out, in) and bias of an nn.Linear or of transformers' Conv1D (stored transposed).

    Parameters
    ----------
    linear : nn.Module
    maker : str
        Who asks, for the message.

    Raises
    ------
    TypeError
        If `linear` is neither.
    """
    if isinstance(linear, nn.Linear):
        return linear.weight, linear.bias
    if type(linear).__name__ == "Conv1D" and getattr(linear, "nf", None) is not None:
        weight = linear.weight
        bias = linear.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        return weight.T.contiguous(), bias
    raise TypeError(
        f"{maker}.from_linear takes a torch.nn.Linear or a transformers Conv1D. "
        f"Got {type(linear).__name__} instead."
    )

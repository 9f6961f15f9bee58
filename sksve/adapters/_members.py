"""What every layer with members shares: the member axis, merging, and who runs for the time of a block.

Blocks (``use_members``, ``merged_member``) concern the thread that runs them: others may use the same module
meanwhile.
"""

import math
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, Generic, TypeVar, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

T = TypeVar("T")


class ThreadLocal(Generic[T]):
    """Attribute of a module with a value for each thread, None at first; neither copied nor pickled."""

    def __init__(self) -> None:
        self._local = threading.local()

    @overload
    def __get__(self, module: None, owner: Any) -> "ThreadLocal[T]": ...
    @overload
    def __get__(self, module: object, owner: Any) -> T | None: ...
    def __get__(self, module: object | None, owner: Any) -> "ThreadLocal[T] | T | None":
        if module is None:
            return self
        values = getattr(self._local, "values", None)
        return None if values is None else values.get(module)

    def __set__(self, module: object, value: T | None) -> None:
        if not hasattr(self._local, "values"):
            self._local.values = weakref.WeakKeyDictionary()
        if value is None:
            self._local.values.pop(module, None)
        else:
            self._local.values[module] = value


# OpenMP's threads do not exist in a forked process, and waiting for them would last for ever: once
# the parent has computed on several threads, the child must stay on its only one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class MemberModule(nn.Module):
    """A module whose input and parameters have a member axis, outermost."""

    #: Buffers that belong to the members, as parameters do: axis 0 is the member. Saved, never recomputed.
    member_buffers: tuple[str, ...] = ()

    _members = ThreadLocal[Tensor]()  # set by `use_members`

    def __init__(self, n_members: int) -> None:
        super().__init__()
        self.n_members = n_members

    @property
    def n_active(self) -> int:
        """Members whose rows a forward pass takes now."""
        chosen = self._members
        return self.n_members if chosen is None else chosen.shape[0]


class MemberLinear(MemberModule):
    """A linear map of each member's own, made from one pretrained linear map."""

    #: Beside the sizes, what ``repr`` shows.
    shown: tuple[str, ...] = ()
    #: Whether the model writes to what this layer gives, which must then be no view.
    is_written = False

    _merged = ThreadLocal[tuple[Tensor, Tensor | None]]()  # set by `merged_member`

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
    def member_weight(self, member: int) -> tuple[Tensor, Tensor | None]:
        """Weight (out_features, in_features) and bias (out_features,) of one member."""

    @abstractmethod
    def pretrained_weight(self) -> Tensor:
        """Weight (out_features, in_features) that every member started from."""

    def pretrained_bias(self) -> Tensor | None:
        """Bias (out_features,) that every member started from."""
        bias: Tensor | None = self.bias
        return bias

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
        n = math.prod(x.shape[:-1]) // m  # may be 0: an expert without tokens
        y = self.apply_members(x.reshape(m, n, self.in_features), self._members)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y.clone() if self.is_written else y

    @torch.no_grad()
    def dense(self, member: int) -> tuple[Tensor, Tensor | None]:
        """Weight (out_features, in_features) and bias (out_features,) of one member, computed now."""
        self._check_member(member)
        return self.member_weight(member)

    def _check_member(self, member: int) -> None:
        if not 0 <= member < self.n_members:
            raise ValueError(
                f"'member' must be an int in the range [0, {self.n_members}). Got {member!r}."
            )

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

    def extra_repr(self) -> str:
        names = ("in_features", "out_features", "n_members", *self.shown)
        sizes = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{sizes}, bias={self.bias is not None}"


def member_layers(module: nn.Module) -> list[MemberLinear]:
    """Return every linear layer with members inside `module`, in module order."""
    return [m for m in module.modules() if isinstance(m, MemberLinear)]


@contextmanager
def use_members(module: nn.Module, members: Sequence[int] | None) -> Iterator[None]:
    """Let everything with members inside `module` run these only, in this order; None: all.

    The input then has ``len(members) * b`` rows.
    """
    layers = [m for m in module.modules() if isinstance(m, MemberModule)]
    before = [layer._members for layer in layers]
    try:
        for layer in layers:
            if members is not None:
                device = next(layer.parameters()).device
                layer._members = torch.tensor(list(members), device=device)
        yield
    finally:
        for layer, chosen in zip(layers, before):
            layer._members = chosen


@contextmanager
def merged_member(
    module: nn.Module, member: int, tokens: int | None = None, *, dtype: torch.dtype | None = None
) -> Iterator[None]:
    """Let every linear layer with members inside `module` act as `member`, through dense weights.

    The same function as with ``use_members(module, [member])``, cheaper for many rows: one dense
    product per layer in place of two thin ones. The dense weights live as long as the block, so they
    are never stale and never pickled. A layer whose dense weight does not pay for so many `tokens` stays
    as it is; without that number all are merged. `dtype` is what autocast would round the weights to, in
    each product anew: rounded here once.
    """
    layers = member_layers(module)
    try:
        for layer in layers:
            layer._members = torch.tensor([member], device=next(layer.parameters()).device)
            thin, merged = (1, 0) if tokens is None else layer.multiply_adds(tokens)
            if merged < thin:
                weight, bias = layer.dense(member)
                if dtype is not None and weight.dtype != torch.float64:  # as autocast does
                    weight = weight.to(dtype)
                layer._merged = weight, bias
        yield
    finally:
        for layer in layers:
            layer._merged = layer._members = None


@contextmanager
def pretrained_layers(module: nn.Module) -> Iterator[None]:
    """Let every linear layer with members inside `module` act as the layer it was made from."""
    layers = member_layers(module)
    try:
        for layer in layers:
            layer._merged = layer.pretrained_weight(), layer.pretrained_bias()
        yield
    finally:
        for layer in layers:
            layer._merged = None


# -- what the layers' `from_linear` check ----------------------------------------------------------


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


def generators_of(
    generator: torch.Generator | Sequence[torch.Generator] | None, n_members: int
) -> Sequence[torch.Generator | None]:
    """Return a generator for each member; a single one (None: torch's own) serves all in turn."""
    if generator is None or isinstance(generator, torch.Generator):
        return [generator] * n_members
    if len(generator) == n_members:
        return generator
    raise ValueError(
        f"'generator' must be one torch.Generator or {n_members}, one per member. "
        f"Got {len(generator)}."
    )


def weight_and_bias(linear: nn.Module, owner: type[nn.Module]) -> tuple[Tensor, Tensor | None]:
    """Weight (out, in) and bias of an nn.Linear or of transformers' Conv1D (stored transposed)."""
    if isinstance(linear, nn.Linear):
        return linear.weight, linear.bias
    if type(linear).__name__ == "Conv1D" and getattr(linear, "nf", None) is not None:
        weight, bias = linear.weight, linear.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        return weight.T.contiguous(), bias
    raise TypeError(
        f"{owner.__name__}.from_linear takes a torch.nn.Linear or a transformers Conv1D. "
        f"Got {type(linear).__name__} instead."
    )

"""LoRA with members: each adds a low-rank matrix of its own to the frozen weight."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._member_linear import (
    MemberLinear,
    check_count,
    check_n_members,
    check_scale,
    one_each,
    weight_and_bias,
)

__all__ = ["LoRALinear", "lora_linear"]


def lora_linear(x: Tensor, weight: Tensor, A: Tensor, B: Tensor, bias: Tensor | None) -> Tensor:
    """Apply ``W + B_m A_m`` to the rows of member m, without building it.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    weight : Tensor of shape (o, i)
    A : Tensor of shape (m, r, i)
    B : Tensor of shape (m, o, r)
    bias : Tensor of shape (o,) or None

    Returns
    -------
    Tensor of shape (m, n, o)
    """
    low = torch.bmm(x, A.transpose(1, 2))
    return F.linear(x, weight, bias) + torch.bmm(low, B.transpose(1, 2))


class LoRALinear(MemberLinear):
    r"""Linear layer of a LoRA-ensemble: one frozen matrix, one low-rank change per member.

    Member :math:`m` computes :math:`y = (W + B_m A_m) x + b`. :math:`B_m` starts at zero, so every
    member starts as the pretrained layer; :math:`A_m` is drawn for each member, and the members part
    as soon as :math:`B_m` moves. There is no factor ``alpha / r``, as in the authors' code [1]_.

    A layer is made by :meth:`from_linear`.

    Attributes
    ----------
    weight, bias : Tensor of shapes (out_features, in_features) and (out_features,), or None
        Frozen buffers.
    A : Parameter of shape (n_members, rank, in_features)
    B : Parameter of shape (n_members, out_features, rank)
    rank, n_members, in_features, out_features : int

    References
    ----------
    .. [1] LoRA-Ensemble, https://arxiv.org/abs/2405.14438
    .. [2] Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models",
       https://arxiv.org/abs/2106.09685

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import LoRALinear
    >>> linear = torch.nn.Linear(6, 4)
    >>> layer = LoRALinear.from_linear(linear, n_members=3, rank=2)
    >>> layer
    LoRALinear(in_features=6, out_features=4, n_members=3, rank=2, bias=True)
    >>> x = torch.randn(5, 6)
    >>> torch.allclose(layer(x.repeat(3, 1)), linear(x).repeat(3, 1), atol=1e-6)
    True
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, n_members: int, rank: int) -> None:
        super().__init__(weight.shape[1], weight.shape[0], n_members)
        self.rank = rank
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        like: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        self.A = nn.Parameter(torch.zeros(n_members, rank, self.in_features, **like))
        self.B = nn.Parameter(torch.zeros(n_members, self.out_features, rank, **like))

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        n_members: int,
        *,
        rank: int = 8,
        init_gain: float = 1.0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> "LoRALinear":
        r"""Freeze a linear layer and give each member its own low-rank change.

        Parameters
        ----------
        linear : torch.nn.Linear or transformers' Conv1D
            Not modified, shares no memory with the result.
        n_members : int
            At least 1.
        rank : int, default=8
            Rank of the change, capped at ``min(in_features, out_features)``.
        init_gain : float, default=1.0
            :math:`A_m` is uniform within
            :math:`\pm \mathrm{gain} \sqrt{6 / (\mathrm{in\_features} + r)}` (Xavier).
        generator : torch.Generator or sequence of them, optional
            CPU generators. One per member makes member k independent of how many others there
            are; a single one serves the members in turn.

        Returns
        -------
        LoRALinear
            With the dtype and device of `linear`.

        Raises
        ------
        TypeError
            If `linear` is neither kind of layer.
        ValueError
            If another argument is out of range.
        """
        weight, bias = weight_and_bias(linear, cls.__name__)
        check_n_members(n_members)
        check_count("rank", rank, 1)
        check_scale("init_gain", init_gain, zero=False)
        r = min(rank, *weight.shape)
        layer = cls(
            weight.detach().clone(), None if bias is None else bias.detach().clone(), n_members, r
        )
        bound = init_gain * (6.0 / (layer.in_features + r)) ** 0.5
        with torch.no_grad():
            for member, g in enumerate(one_each(generator, n_members)):
                # float64 on the CPU whatever the layer's dtype: both precisions start alike.
                unit = torch.rand(layer.A.shape[1:], generator=g, dtype=torch.float64)
                layer.A[member] = (bound * (2.0 * unit - 1.0)).to(layer.A)
        return layer

    def _factors(self, members: Tensor | None) -> tuple[Tensor, Tensor]:
        if members is None:
            return self.A, self.B
        return self.A.index_select(0, members), self.B.index_select(0, members)

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        A, B = self._factors(members)
        return lora_linear(rows, self.weight, A, B, self.bias)

    def member_weight(self, member: int, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return torch.addmm(self.weight, self.B[member], self.A[member], out=out), self.bias

    def pretrained_weight(self) -> Tensor:
        return self.weight

    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        o, i, r = self.out_features, self.in_features, self.rank
        return n_tokens * (o * i + r * (o + i)), o * i * r + n_tokens * o * i

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"n_members={self.n_members}, rank={self.rank}, bias={self.bias is not None}"
        )

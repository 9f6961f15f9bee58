"""The layers of SVE's rivals: LoRA with members, and BatchEnsemble."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._members import (
    MemberLinear,
    check_count,
    check_flag,
    check_scale,
    generators_of,
    weight_and_bias,
)

__all__ = ["BatchEnsembleLinear", "LoRALinear"]


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
        weight, bias = weight_and_bias(linear, cls)
        check_count("n_members", n_members, 1)
        check_count("rank", rank, 1)
        check_scale("init_gain", init_gain, zero=False)
        r = min(rank, *weight.shape)
        layer = cls(
            weight.detach().clone(), None if bias is None else bias.detach().clone(), n_members, r
        )
        bound = init_gain * (6.0 / (layer.in_features + r)) ** 0.5
        with torch.no_grad():
            for member, g in enumerate(generators_of(generator, n_members)):
                # float64 on the CPU whatever the layer's dtype: both precisions start alike.
                unit = torch.rand(layer.A.shape[1:], generator=g, dtype=torch.float64)
                layer.A[member] = (bound * (2.0 * unit - 1.0)).to(layer.A)
        return layer

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        A, B = (p if members is None else p.index_select(0, members) for p in (self.A, self.B))
        return F.linear(rows, self.weight, self.bias) + torch.bmm(torch.bmm(rows, A.mT), B.mT)

    def member_weight(self, member: int) -> tuple[Tensor, Tensor | None]:
        return torch.addmm(self.weight, self.B[member], self.A[member]), self.bias

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


class BatchEnsembleLinear(MemberLinear):
    r"""Linear layer of a BatchEnsemble: one frozen slow weight, two fast vectors per member.

    Member :math:`m` computes

    .. math:: y = r_m \odot \bigl(W (s_m \odot x)\bigr) + b_m, \qquad
              s_m = 1 + \sigma_m, \quad r_m = 1 + \rho_m, \quad b_m = b + \beta_m .

    :math:`\sigma_m, \rho_m` and :math:`\beta_m` are parameters, all zero at the pretrained layer, so
    weight decay pulls to it.

    Two things differ from the original [1]_, both because it trains from scratch: the slow weight
    :math:`W` is the pretrained one and frozen, not trained by all members together (members stay
    independent), and the fast vectors start near 1, not at random signs (which would destroy what
    was learned).

    A layer is made by :meth:`from_linear`.

    Attributes
    ----------
    weight, bias : Tensor of shapes (out_features, in_features) and (out_features,), or None
        Frozen buffers.
    input_delta : Parameter of shape (n_members, in_features)
    output_delta : Parameter of shape (n_members, out_features)
    bias_delta : Parameter of shape (n_members, out_features), or None
    n_members, in_features, out_features : int

    References
    ----------
    .. [1] Wen, Tran and Ba (2020), "BatchEnsemble: an Alternative Approach to Efficient Ensemble and
       Lifelong Learning", https://arxiv.org/abs/2002.06715

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import BatchEnsembleLinear
    >>> linear = torch.nn.Linear(6, 4)
    >>> layer = BatchEnsembleLinear.from_linear(linear, n_members=3)
    >>> layer
    BatchEnsembleLinear(in_features=6, out_features=4, n_members=3, bias=True)
    >>> x = torch.randn(5, 6)
    >>> torch.allclose(layer(x.repeat(3, 1)), linear(x).repeat(3, 1), atol=1e-6)
    True
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None, n_members: int, *, train_bias: bool = True
    ) -> None:
        super().__init__(weight.shape[1], weight.shape[0], n_members)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        like: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        self.input_delta = nn.Parameter(torch.zeros(n_members, self.in_features, **like))
        self.output_delta = nn.Parameter(torch.zeros(n_members, self.out_features, **like))
        trains_bias = bias is not None and train_bias
        self.bias_delta = (
            nn.Parameter(torch.zeros(n_members, self.out_features, **like)) if trains_bias else None
        )

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        n_members: int,
        *,
        init_scale: float = 0.0,
        train_bias: bool = True,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> "BatchEnsembleLinear":
        """Freeze a linear layer and give each member its own fast vectors.

        Parameters
        ----------
        linear : torch.nn.Linear or transformers' Conv1D
            Not modified, shares no memory with the result.
        n_members : int
            At least 1.
        init_scale : float, default=0.0
            Standard deviation of the start of all three vectors. At 0 every member equals `linear`.
        train_bias : bool, default=True
            Whether members own a bias; without effect on a layer that has none.
        generator : torch.Generator or sequence of them, optional
            CPU generators. One per member makes member k independent of how many others there
            are; a single one serves the members in turn.

        Returns
        -------
        BatchEnsembleLinear
            With the dtype and device of `linear`.

        Raises
        ------
        TypeError
            If `linear` is neither kind of layer.
        ValueError
            If another argument is out of range.
        """
        weight, bias = weight_and_bias(linear, cls)
        check_count("n_members", n_members, 1)
        check_scale("init_scale", init_scale)
        check_flag("train_bias", train_bias)
        layer = cls(
            weight.detach().clone(),
            None if bias is None else bias.detach().clone(),
            n_members,
            train_bias=train_bias,
        )
        if init_scale > 0.0:
            with torch.no_grad():
                for member, g in enumerate(generators_of(generator, n_members)):
                    for p in layer.parameters():
                        # float64 on the CPU whatever the dtype: both precisions start alike.
                        noise = torch.randn(p.shape[1], generator=g, dtype=torch.float64)
                        p[member] = init_scale * noise.to(p)
        return layer

    def _vectors(self, member: int | slice | Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Factors of the inputs and outputs, and biases, of a member or some."""
        bias = self.bias
        if self.bias_delta is not None and bias is not None:
            bias = bias + self.bias_delta[member]
        return 1.0 + self.input_delta[member], 1.0 + self.output_delta[member], bias

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        s, r, bias = self._vectors(slice(None) if members is None else members)
        h = F.linear(rows * s[:, None, :].to(rows.dtype), self.weight)
        # Under autocast h is of half precision: keep it so.
        y = h * r[:, None, :].to(h.dtype)
        if bias is None:
            return y
        return y + (bias[:, None, :] if bias.ndim == 2 else bias).to(y.dtype)

    def member_weight(self, member: int) -> tuple[Tensor, Tensor | None]:
        s, r, bias = self._vectors(member)
        return r[:, None] * self.weight * s, bias

    def pretrained_weight(self) -> Tensor:
        return self.weight

    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        o, i = self.out_features, self.in_features
        return n_tokens * (o * i + o + i), 2 * o * i + n_tokens * o * i

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"n_members={self.n_members}, bias={self.bias is not None}"
        )

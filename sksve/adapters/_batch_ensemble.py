"""BatchEnsemble: each member scales the inputs and outputs of one shared weight."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._member_linear import (
    MemberLinear,
    check_flag,
    check_n_members,
    check_scale,
    one_each,
    weight_and_bias,
)

__all__ = ["BatchEnsembleLinear", "batch_ensemble_linear"]


def batch_ensemble_linear(
    x: Tensor, weight: Tensor, s: Tensor, r: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Apply ``diag(r_m) W diag(s_m)`` to the rows of member m, without building it.

    Parameters
    ----------
    x : Tensor of shape (m, n, i)
    weight : Tensor of shape (o, i)
    s : Tensor of shape (m, i)
    r : Tensor of shape (m, o)
    bias : Tensor of shape (m, o) or (o,), optional

    Returns
    -------
    Tensor of shape (m, n, o)
    """
    h = F.linear(x * s[:, None, :].to(x.dtype), weight)
    # Under autocast h is of half precision: keep it so.
    y = h * r[:, None, :].to(h.dtype)
    if bias is None:
        return y
    return y + (bias[:, None, :] if bias.ndim == 2 else bias).to(y.dtype)


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
        weight, bias = weight_and_bias(linear, cls.__name__)
        check_n_members(n_members)
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
                for member, g in enumerate(one_each(generator, n_members)):
                    for p in layer.parameters():
                        # float64 on the CPU whatever the dtype: both precisions start alike.
                        noise = torch.randn(p.shape[1], generator=g, dtype=torch.float64)
                        p[member] = init_scale * noise.to(p)
        return layer

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        def pick(p: Tensor) -> Tensor:
            return p if members is None else p.index_select(0, members)

        bias = self.bias
        if self.bias_delta is not None and bias is not None:
            bias = bias + pick(self.bias_delta)
        s, r = 1.0 + pick(self.input_delta), 1.0 + pick(self.output_delta)
        return batch_ensemble_linear(rows, self.weight, s, r, bias)

    def member_weight(self, member: int, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        s, r = 1.0 + self.input_delta[member], 1.0 + self.output_delta[member]
        bias = self.bias
        if self.bias_delta is not None and bias is not None:
            bias = bias + self.bias_delta[member]
        return torch.mul(r[:, None], self.weight, out=out).mul_(s), bias

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

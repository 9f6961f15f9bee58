"""The layers of SVE's rivals: LoRA with members, BatchEnsemble, and dropout whose masks can be held still."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._members import (
    MemberLinear,
    ThreadLocal,
    check_count,
    check_flag,
    check_scale,
    generators_of,
    weight_and_bias,
)


class _FrozenLinear(MemberLinear):
    """Members around one frozen weight and bias, of which the layer has copies."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Module, n_members: int) -> None:
        weight, bias = weight_and_bias(linear, type(self))
        check_count("n_members", n_members, 1)
        super().__init__(weight.shape[1], weight.shape[0], n_members)
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def _zeros(self, *shape: int) -> nn.Parameter:
        """A parameter of each member's own."""
        return nn.Parameter(self.weight.new_zeros(self.n_members, *shape))

    def pretrained_weight(self) -> Tensor:
        return self.weight


class LoRALinear(_FrozenLinear):
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

    shown = ("rank",)

    def __init__(self, linear: nn.Module, n_members: int, rank: int) -> None:
        super().__init__(linear, n_members)
        self.rank = min(rank, self.in_features, self.out_features)
        self.A = self._zeros(self.rank, self.in_features)
        self.B = self._zeros(self.out_features, self.rank)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        n_members: int,
        *,
        rank: int = 8,
        init_gain: float = 1.0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> Self:
        r"""Freeze a linear layer and give each member its own low-rank change.

        Parameters
        ----------
        linear, n_members, generator
            As in :meth:`SVDLinear.from_linear`.
        rank : int, default=8
            Rank of the change, capped at ``min(in_features, out_features)``.
        init_gain : float, default=1.0
            :math:`A_m` is uniform within
            :math:`\pm \mathrm{gain} \sqrt{6 / (\mathrm{in\_features} + r)}` (Xavier).

        Returns
        -------
        LoRALinear
            With the dtype and device of `linear`.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`SVDLinear.from_linear`.
        """
        check_count("rank", rank, 1)
        check_scale("init_gain", init_gain, zero=False)
        layer = cls(linear, n_members, rank)
        bound = init_gain * (6.0 / (layer.in_features + layer.rank)) ** 0.5
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

    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        o, i, r = self.out_features, self.in_features, self.rank
        return n_tokens * (o * i + r * (o + i)), o * i * r + n_tokens * o * i


class BatchEnsembleLinear(_FrozenLinear):
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

    def __init__(self, linear: nn.Module, n_members: int, *, train_bias: bool = True) -> None:
        super().__init__(linear, n_members)
        self.input_delta = self._zeros(self.in_features)
        self.output_delta = self._zeros(self.out_features)
        trains_bias = self.bias is not None and train_bias
        self.bias_delta = self._zeros(self.out_features) if trains_bias else None

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        n_members: int,
        *,
        init_scale: float = 0.0,
        train_bias: bool = True,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> Self:
        """Freeze a linear layer and give each member its own fast vectors.

        Parameters
        ----------
        linear, n_members, train_bias, generator
            As in :meth:`SVDLinear.from_linear`.
        init_scale : float, default=0.0
            Standard deviation of the start of all three vectors. At 0 every member equals `linear`.

        Returns
        -------
        BatchEnsembleLinear
            With the dtype and device of `linear`.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`SVDLinear.from_linear`.
        """
        check_scale("init_scale", init_scale)
        check_flag("train_bias", train_bias)
        layer = cls(linear, n_members, train_bias=train_bias)
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

    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        o, i = self.out_features, self.in_features
        return n_tokens * (o * i + o + i), 2 * o * i + n_tokens * o * i


class FeatureDropout(nn.Module):
    r"""Drop whole features: one mask over the last axis, the same at every token of a row.

    In training each row of a batch draws a mask of its own at each step. For prediction a mask is held
    still (:func:`fixed_masks`) and all rows share it, so that what a row gets depends neither on its
    place in a batch nor on padding. Both are draws of the same distribution: a feature is kept with
    probability :math:`1 - p` and then divided by it. Otherwise the layer does nothing.

    Scores of attention, the only 4-D tensors, have no features and pass unchanged.

    Parameters
    ----------
    rate : float
        Share :math:`p` of the features that is dropped, in [0, 1).
    seed : int
        Of the masks in training.

    References
    ----------
    .. [1] Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation",
       https://arxiv.org/abs/1506.02142
    .. [2] Gal and Ghahramani (2016), "A Theoretically Grounded Application of Dropout in Recurrent
       Neural Networks" (one mask for all time steps), https://arxiv.org/abs/1512.05287

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import FeatureDropout, fixed_masks
    >>> layer = FeatureDropout(0.5, seed=0)
    >>> x = torch.ones(2, 3, 4)
    >>> torch.equal(layer(x), x)
    True
    >>> with fixed_masks(layer, [7]):
    ...     sorted(set(layer(x).flatten().tolist()))
    [0.0, 2.0]
    """

    #: Seed of the mask that all rows share, in this thread.
    fixed = ThreadLocal[int]()

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate = rate
        self.seed = seed
        # Attention that drops scores by itself reads this attribute of the layer it finds.
        self.p = 0.0
        #: Whether rows draw masks; not `training`, which every call of ``train()`` sets.
        self.active = False
        self._generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of x (b, ..., d)."""
        if x.ndim == 4 or self.rate == 0.0:
            return x
        fixed = self.fixed
        if fixed is not None:
            return x * self._mask((x.shape[-1],), torch.Generator().manual_seed(fixed), x)
        if not self.active:
            return x
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self.seed)
        shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
        return x * self._mask(shape, self._generator, x)

    def _mask(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        # float64 on the CPU whatever x is: the same mask in every precision and on every device.
        kept = torch.rand(shape, generator=generator, dtype=torch.float64) >= self.rate
        return (kept.double() / (1.0 - self.rate)).to(like)

    def random_state(self) -> Tensor | None:
        """State of the stream of masks in training; None before the first."""
        return None if self._generator is None else self._generator.get_state()

    def set_random_state(self, state: Tensor) -> None:
        """Go on with the stream of masks where :meth:`random_state` was taken."""
        self._generator = torch.Generator()
        self._generator.set_state(state)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_generator": None}  # a generator cannot be pickled everywhere

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def dropout_layers(module: nn.Module) -> list[FeatureDropout]:
    """Return every :class:`FeatureDropout` inside `module`, in module order."""
    return [m for m in module.modules() if isinstance(m, FeatureDropout)]


@contextmanager
def fixed_masks(module: nn.Module, seeds: Sequence[int]) -> Iterator[None]:
    """Hold one mask a layer still for the time of a ``with`` block; one seed per layer, in module order."""
    layers = dropout_layers(module)
    try:
        for layer, seed in zip(layers, seeds, strict=True):
            layer.fixed = seed
        yield
    finally:
        for layer in layers:
            layer.fixed = None

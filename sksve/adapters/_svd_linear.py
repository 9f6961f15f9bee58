"""A linear layer whose members share singular vectors and own singular values."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._autograd import dense_product, dense_weight, thin_product
from sksve.adapters._band import band_core, band_size, band_units
from sksve.adapters._basis import restore_basis, saved_basis
from sksve.adapters._cache import cached_decompose, weight_key
from sksve.adapters._core_product import core_product
from sksve.adapters._directions import (
    KeptVectors,
    checked_directions,
    own_core,
    own_values,
)
from sksve.adapters._functional import sve_linear
from sksve.adapters._member_linear import (
    MemberLinear,
    check_count,
    check_flag,
    check_n_members,
    check_scale,
    one_each,
    weight_and_bias,
)
from sksve.adapters._rank import check_pool, needed_rank, resolve_rank
from sksve.adapters._routes import Route, choose_route, keeps_weight
from sksve.adapters._start import draw_start

__all__ = ["SVDLinear"]


class SVDLinear(MemberLinear):
    r"""Linear layer of a singular value ensemble: one basis, one core per member.

    Member :math:`m` computes

    .. math:: y = U \,(\operatorname{diag}(s_m) + B_m)\, V^T x + b_m, \qquad
              s_m = S \odot (1 + \delta_m), \qquad b_m = b + \beta_m,

    where :math:`W = U \operatorname{diag}(S) V^T` is the pretrained matrix. :math:`U, S, V` and
    :math:`b` are frozen buffers. :math:`\delta_m` (zero beyond the trained rank), the band
    :math:`B_m` and the bias change :math:`\beta_m` are parameters, all zero at the pretrained layer,
    so weight decay pulls to it. There is no clamp: a value clamped at zero has no gradient and never
    returns, a negative one merely flips its vector. With a pool of directions each member trains `rank`
    of its own out of the leading ones, which then take the place of the first `rank`.

    A layer is made by :meth:`from_linear`.

    Attributes
    ----------
    U, S, Vh : Tensor of shapes (out_features, k), (k,), (k, in_features)
        Frozen buffers, ``k = min(out_features, in_features)``. A large layer whose `rank` is a small
        int holds the pretrained weight instead, and of these the leading triplets only: k >= `rank`.
    delta : Parameter of shape (n_members, rank)
        Relative change of the trained singular values.
    band : Parameter of shape (n_members, n_entries), or None
        Off-diagonal entries :math:`B_{ab}` in units of :math:`\sqrt{S_a S_b}` (so that one learning
        rate fits both them and `delta`), see :func:`~sksve.adapters.apply_band` for their order.
    bias_delta : Parameter of shape (n_members, out_features), or None
        Change of the bias.
    directions : Tensor of shape (n_members, rank) of int32, or None
        Buffer: which triplets each member trains, in rising order. None: the leading ones.
    rank, off_diagonals, n_members, in_features, out_features : int
    direction_pool : int or None
        How many leading triplets the members' directions are drawn from.

    References
    ----------
    .. [1] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [2] SVFit (leading values only), https://arxiv.org/abs/2409.05926
    .. [3] SVFT (the band), https://arxiv.org/abs/2405.19597
    .. [4] Ho (1998), "The random subspace method for constructing decision forests" (the pool),
       https://doi.org/10.1109/34.709601

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import SVDLinear
    >>> linear = torch.nn.Linear(6, 4)
    >>> layer = SVDLinear.from_linear(linear, n_members=3, rank=2)
    >>> layer
    SVDLinear(in_features=6, out_features=4, n_members=3, rank=2, off_diagonals=0, bias=True)
    >>> x = torch.randn(5, 6)
    >>> torch.allclose(layer(x.repeat(3, 1)), linear(x).repeat(3, 1), atol=1e-6)
    True
    """

    U: Tensor
    S: Tensor
    Vh: Tensor
    bias: Tensor | None
    weight: Tensor | None
    band_scale: Tensor | None
    directions: Tensor | None

    member_buffers = ("directions",)
    #: Buffers that are computed anew from the pretrained weight when a saved model is loaded.
    recomputed = ("U", "S", "Vh", "band_scale")
    #: Hash of the pretrained weight; empty for a layer that was not made by `from_linear`.
    weight_hash: str = ""

    def __init__(
        self,
        U: Tensor,
        S: Tensor,
        Vh: Tensor,
        bias: Tensor | None,
        n_members: int,
        *,
        rank: int,
        off_diagonals: int = 0,
        train_bias: bool = True,
        weight: Tensor | None = None,
        direction_pool: int | None = None,
    ) -> None:
        super().__init__(Vh.shape[1], U.shape[0], n_members)
        self.rank = rank
        self.off_diagonals = min(off_diagonals, max(rank - 1, 0))
        self.register_buffer("U", U)
        self.register_buffer("S", S)
        self.register_buffer("Vh", Vh)
        self.register_buffer("bias", bias)
        self.register_buffer("weight", weight)
        like: dict[str, Any] = {"dtype": U.dtype, "device": U.device}
        self.delta = nn.Parameter(torch.zeros(n_members, rank, **like))
        n_entries = band_size(rank, self.off_diagonals)
        self.band = nn.Parameter(torch.zeros(n_members, n_entries, **like)) if n_entries else None
        self.direction_pool = direction_pool
        pooled = direction_pool is not None
        own = (
            torch.arange(rank, dtype=torch.int32, device=U.device).repeat(n_members, 1)
            if pooled
            else None
        )
        self.register_buffer("directions", own)
        self._kept = KeptVectors()
        units = band_units(S, rank, self.off_diagonals) if n_entries and not pooled else None
        self.register_buffer("band_scale", units)
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
        rank: int | float | None = None,
        off_diagonals: int = 0,
        init_scale: float = 0.0,
        band_init_scale: float = 0.0,
        train_bias: bool = True,
        direction_pool: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> "SVDLinear":
        """Decompose a linear layer and give each member its own start.

        Parameters
        ----------
        linear : torch.nn.Linear or transformers' Conv1D
            Not modified, shares no memory with the result.
        n_members : int
            At least 1.
        rank : None, int or float, default=None
            How many leading singular values are trained: all, the first `rank` (capped at the
            numerical rank), or the smallest number that reaches this share of ``sum(S ** 2)``. The
            others keep their pretrained value; nothing is truncated.
        off_diagonals : int, default=0
            Diagonals of the core trained on each side, inside its leading ``rank x rank`` block.
        init_scale : float, default=0.0
            Standard deviation of the start: ``delta ~ N(0, init_scale ** 2)``, and
            ``bias_delta ~ N(0, init_scale ** 2)`` where the bias is trained. At 0 every member
            equals `linear`.
        band_init_scale : float, default=0.0
            The same of the off-diagonal entries, in the units of `band`.
        train_bias : bool, default=True
            Whether members own a bias; without effect on a layer that has none.
        direction_pool : int or None, default=None
            Each member trains `rank` directions drawn at random, without replacement, from so many
            leading ones (capped at the numerical rank), instead of the leading `rank`. Needs an int
            `rank` of at most that.
        generator : torch.Generator or sequence of them, optional
            CPU generators. One per member makes member k independent of how many others there
            are; a single one serves the members in turn.

        Returns
        -------
        SVDLinear
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
        check_count("off_diagonals", off_diagonals, 0)
        check_scale("init_scale", init_scale)
        check_scale("band_init_scale", band_init_scale)
        check_flag("train_bias", train_bias)
        check_pool(direction_pool, rank)
        o, i = weight.shape
        widest = rank if direction_pool is None else direction_pool
        U, S, Vh = cached_decompose(weight, needed_rank(o, i, widest))
        r = resolve_rank(S, rank)
        like: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        layer = cls(
            U.to(**like, copy=True),
            S.to(**like, copy=True),
            Vh.to(**like, copy=True),
            None if bias is None else bias.detach().clone(),
            n_members,
            rank=r,
            off_diagonals=off_diagonals,
            train_bias=train_bias,
            # Below this rank `W x + correction` takes fewer multiply-adds than `U s Vh x`; scattered
            # directions are a correction at any rank.
            weight=weight.detach().clone() if keeps_weight(o, i, r) or direction_pool else None,
            direction_pool=None if direction_pool is None else resolve_rank(S, direction_pool),
        )
        layer.weight_hash = weight_key(weight)
        # The band last: with a diagonal alike, members start alike with or without one.
        noise = (
            (layer.delta, init_scale),
            (layer.bias_delta, init_scale),
            (layer.band, band_init_scale),
        )
        draw_start(noise, one_each(generator, n_members), layer.directions, layer.direction_pool)
        return layer

    def _core(self, members: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Delta, band and change of the bias of the chosen members (None: all)."""

        def pick(p: Tensor | None) -> Tensor | None:
            return p if p is None or members is None else p.index_select(0, members)

        band, delta = pick(self.band), pick(self.delta)
        if band is not None and self.band_scale is not None:  # of own directions: `own_core`
            band = band * self.band_scale
        assert delta is not None
        return delta, band, pick(self.bias_delta)

    def _bias(self, change: Tensor | None) -> Tensor | None:
        return self.bias if change is None or self.bias is None else self.bias + change

    def _own(self, members: Tensor | None) -> Tensor | None:
        """Directions (m, r) of the chosen members, if members have their own."""
        if self.directions is None:
            return None
        return (self.directions if members is None else self.directions[members]).long()

    def train(self, mode: bool = True) -> "SVDLinear":
        """Like ``torch.nn.Module.train``; what only training steps need is given back at its end."""
        if not mode:
            self._kept.forget()
        return super().train(mode)

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        delta, band, change = self._core(members)
        own, bias = self._own(members), self._bias(change)
        factors = self._core_factors(delta, band, own, members)
        if factors is not None:
            return core_product(rows, *factors, bias)
        U, s, Vh = self._factors(delta, own)
        if band is None:
            # Without a backward pass, whoever has many rows merges (`merged_member`): for all of them.
            train = torch.is_grad_enabled() and (rows.requires_grad or delta.requires_grad)
            dense = train and self.route(rows.shape[1], rows.shape[0]) == "dense"
            product = dense_product if dense else thin_product
            return product(rows, U, s, Vh, bias, self.weight)
        return sve_linear(rows, U, s, Vh, bias, band, r=self.rank, off_diagonals=self.off_diagonals)

    def apply_known(self, rows: Tensor, members: Tensor | None, product: Tensor) -> Tensor:
        delta, band, change = self._core(members)
        factors = self._core_factors(delta, band, self._own(members), members)
        if factors is None:
            return self.apply_members(rows, members)
        return core_product(rows, *factors, change, product)

    def _core_factors(
        self, delta: Tensor, band: Tensor | None, own: Tensor | None, members: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Weight, and U, core and Vh of its change, where members own whole cores; else None."""
        if band is None or self.weight is None:
            return None
        core = band_core(band, self.rank, self.off_diagonals)
        if self.directions is not None:
            U, Vh = self._kept(self.U, self.Vh, self.directions, members)
            return self.weight, U, own_core(self.S, own, delta, core), Vh
        U, s, Vh = self._factors(delta, own)
        return self.weight, U, core + torch.diag_embed(s), Vh

    def route(self, tokens: int, members: int = 1) -> Route:
        """Which way a training pass over `tokens` tokens of each of `members` members takes.

        Returns
        -------
        {"factorised", "correction", "dense"}
            See :func:`~sksve.adapters.choose_route`.
        """
        o, i, banded = self.out_features, self.in_features, self.band is not None
        if self.direction_pool is None:
            return choose_route(o, i, self.rank, tokens, members, banded=banded)
        k = self.rank if banded else self.direction_pool
        chosen = choose_route(o, i, k, tokens, members, banded=banded)
        return "correction" if chosen == "factorised" else chosen

    def _factors(self, delta: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """U, the members' s, and Vh: of what `weight` does not hold."""
        r = self.rank
        if own is not None:
            return own_values(self.U, self.S, self.Vh, own, delta, self._n_trained)
        if self.weight is not None:  # small r: correct W, which keeps its other directions exact
            return self.U[:, :r], self.S[:r] * delta, self.Vh[:r]
        rest = self.S.shape[0] - r
        return self.U, self.S * (1.0 + (F.pad(delta, (0, rest)) if rest else delta)), self.Vh

    def member_weight(self, member: int, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        chosen = torch.tensor([member], device=self.S.device)
        delta, band, change = self._core(chosen)
        own, bias = self._own(chosen), self._bias(None if change is None else change[0])
        factors = self._core_factors(delta, band, own, chosen)
        if factors is not None:
            weight, left, core, right = (f[0] if f.ndim == 3 else f for f in factors)
            return torch.addmm(weight, left @ core, right, out=out), bias
        U, s, Vh = self._factors(delta, own)
        if band is None:
            return dense_weight(U, s[0], Vh, self.weight, out), bias
        core, r = torch.diag(s[0]), self.rank
        core[:r, :r] += band_core(band, r, self.off_diagonals)[0]
        return torch.mm(U @ core, Vh, out=out), bias

    def pretrained_weight(self) -> Tensor:
        return (self.U * self.S) @ self.Vh if self.weight is None else self.weight

    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        o, i = self.out_features, self.in_features
        k = min(o, i) if self.weight is None else self.rank
        thin = n_tokens * (k * (o + i) + (0 if self.weight is None else o * i))
        return thin, k * o * i + n_tokens * o * i

    def saved_tensors(self) -> dict[str, Tensor]:
        """Return what is saved beside the parameters: `S`, and projections of U and V.

        Returns
        -------
        dict of str to Tensor
            ``S`` (k,); ``projected_U`` and ``projected_V`` (8, r'), of the trained vectors (of the
            whole pool) and those whose singular value equals the last one's.
        """
        return saved_basis(self.U, self.S, self.Vh, self._n_trained, self.weight_hash)

    @property
    def _n_trained(self) -> int:
        """Leading triplets that some member may train."""
        return self.rank if self.direction_pool is None else self.direction_pool

    @torch.no_grad()
    def align(self, saved: Mapping[str, Tensor]) -> None:
        """Turn U and V into those of the layer whose :meth:`saved_tensors` these are.

        Parameters
        ----------
        saved : mapping of str to Tensor
            May hold ``directions`` as well, which are then taken over.

        Raises
        ------
        BasisMismatchError
            If they cannot be: another weight, or singular vectors that differ by more than signs and
            rotations; or if directions lie outside the pool. The layer is then unchanged.
        """
        basis = {name: value for name, value in saved.items() if name != "directions"}
        U, Vh = restore_basis(self.U, self.S, self.Vh, basis, self._n_trained, self.weight_hash)
        if "directions" in saved:
            own = checked_directions(saved["directions"], self.directions, self._n_trained)
            if self.directions is not None:
                self.directions.copy_(own)
        self.U.copy_(U)
        self.Vh.copy_(Vh)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"n_members={self.n_members}, rank={self.rank}, off_diagonals={self.off_diagonals}, "
            + ("" if self.direction_pool is None else f"direction_pool={self.direction_pool}, ")
            + f"bias={self.bias is not None}"
        )

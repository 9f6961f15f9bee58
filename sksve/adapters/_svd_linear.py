"""A linear layer whose members share singular vectors and train entries of the core between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.adapters._basis import near_equal_groups, restore_basis, saved_basis
from sksve.adapters._core import (
    Core,
    check_core,
    checked_rising,
    draw_rising,
    member_product,
    n_band,
    positions_of,
    top_positions,
)
from sksve.adapters._decompose import check_pool, resolve_rank, svd_cache, weight_key
from sksve.adapters._members import (
    MemberLinear,
    check_count,
    check_flag,
    check_scale,
    generators_of,
    weight_and_bias,
)


class SVDLinear(MemberLinear):
    r"""Linear layer of a singular value ensemble: one basis, one core per member.

    Member :math:`m` computes

    .. math:: y = \bigl(W + U C_m V^T\bigr) x + b_m, \qquad b_m = b + \beta_m,

    where :math:`W = U \operatorname{diag}(S) V^T` is the pretrained matrix and :math:`U, S, V` and
    :math:`b` are frozen buffers. The core :math:`C_m` is zero but at a list of entries; the one in row a
    and column b is :math:`v_m \sqrt{S_a S_b}`, in units in which one learning rate fits all of them: on the
    diagonal :math:`v_m` is the relative change of a singular value. The values :math:`v_m` and the change
    of the bias :math:`\beta_m` are parameters, zero at the pretrained layer, so weight decay pulls to
    it. There is no clamp: a singular value clamped at zero has no gradient and never returns, a negative
    one merely flips its vector. Nothing is truncated: what the core does not reach stays as it is.

    A layer is made by :meth:`from_linear`.

    Attributes
    ----------
    U, S, Vh : Tensor of shapes (out_features, k), (k,), (k, in_features)
        Frozen buffers: all ``k = min(out_features, in_features)`` triplets, or where `weight` is held, the
        leading ones that members may train (and those whose singular value equals the last one's).
    weight : Tensor of shape (out_features, in_features), or None
        Frozen buffer: the pretrained matrix. None where the core is a long diagonal, whose product takes
        fewer multiply-adds from U, S and Vh.
    values : Parameter of shape (n_members, n_entries)
        The members' :math:`v_m`, in the order of :meth:`entries`.
    bias_delta : Parameter of shape (n_members, out_features), or None
        Change of the bias.
    directions : Tensor of shape (n_members, rank) of int32, or None
        Buffer: which triplets each member trains, in rising order. None: the leading ones.
    positions : Tensor of shape (n_members, n_entries) of int32, or None
        Buffer: entries ``row * rank + column`` of the cores "random" and "top_k", in rising order.
    core : str
        The pattern of entries.
    rank, off_diagonals, n_members, in_features, out_features : int
    direction_pool : int or None
        How many leading triplets the members' directions are drawn from.

    Notes
    -----
    The published code of SVFT [3]_ differs from the three patterns taken from it. It adds the core, in
    absolute units and from a random start behind a trained gate, to the leading `rank` triplets alone and
    drops the rest of W. Its "random" draws positions with repeats, which are then summed; here there are as
    many, each once, drawn for each member. Its "top_k" takes the largest signed entries of :math:`U V^T`,
    and of a matrix that is not square entries of one factor; here it takes the best aligned pairs, the
    largest :math:`|u_a \cdot v_b|`, as the paper says. Where the two differ in length, the shorter vector
    counts as filled up with zeros.

    References
    ----------
    .. [1] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [2] SVFit (leading values only), https://arxiv.org/abs/2409.05926
    .. [3] SVFT ("banded", "random", "top_k"), https://arxiv.org/abs/2405.19597
    .. [4] LoRA-XS ("full"), https://arxiv.org/abs/2405.17604
    .. [5] Ho (1998), "The random subspace method for constructing decision forests" (the pool),
       https://doi.org/10.1109/34.709601

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import SVDLinear
    >>> linear = torch.nn.Linear(6, 4)
    >>> layer = SVDLinear.from_linear(linear, n_members=3, rank=2)
    >>> layer
    SVDLinear(in_features=6, out_features=4, n_members=3, rank=2, core='diagonal', bias=True)
    >>> x = torch.randn(5, 6)
    >>> torch.allclose(layer(x.repeat(3, 1)), linear(x).repeat(3, 1), atol=1e-6)
    True
    >>> rows, cols = SVDLinear.from_linear(linear, 3, rank=3, core="banded", off_diagonals=1).entries(0)
    >>> list(zip(rows.tolist(), cols.tolist()))
    [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    """

    U: Tensor
    S: Tensor
    Vh: Tensor
    bias: Tensor | None
    weight: Tensor | None
    directions: Tensor | None
    positions: Tensor | None

    member_buffers = ("directions", "positions")
    #: Buffers that are recomputed from the pretrained weight when a saved model is loaded.
    recomputed = ("U", "S", "Vh", "weight")
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
        core: Core = "diagonal",
        off_diagonals: int = 0,
        direction_pool: int | None = None,
        weight: Tensor | None = None,
        train_bias: bool = True,
    ) -> None:
        super().__init__(Vh.shape[1], U.shape[0], n_members)
        self.rank, self.core = rank, core
        self.off_diagonals = min(off_diagonals, max(rank - 1, 0))
        self.direction_pool = direction_pool
        self.register_buffer("U", U)
        self.register_buffer("S", S)
        self.register_buffer("Vh", Vh)
        self.register_buffer("bias", bias)
        self.register_buffer("weight", weight)
        int32: dict[str, Any] = {"dtype": torch.int32, "device": U.device}
        directions = positions = None
        if direction_pool is not None:
            directions = torch.arange(rank, **int32).repeat(n_members, 1)
        if core in ("random", "top_k"):
            n_entries = n_band(rank, self.off_diagonals)
            positions = torch.arange(n_entries, **int32).repeat(n_members, 1)
        else:
            n_entries = len(positions_of(core, rank, self.off_diagonals, U.device))
        self.register_buffer("directions", directions)
        self.register_buffer("positions", positions)
        like: dict[str, Any] = {"dtype": U.dtype, "device": U.device}
        self.values = nn.Parameter(torch.zeros(n_members, n_entries, **like))
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
        core: Core = "diagonal",
        off_diagonals: int = 0,
        direction_pool: int | None = None,
        init_scale: float = 0.0,
        train_bias: bool = True,
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
        core : {"diagonal", "banded", "random", "top_k", "full"}, default="diagonal"
            Which entries of the core are trained, inside its ``rank x rank`` block: singular values only;
            those within `off_diagonals` of the diagonal; as many drawn at random, for each member its own;
            as many whose singular vectors are best aligned; or all.
        off_diagonals : int, default=0
            Diagonals on each side (SVFT's d) of "banded"; "random" and "top_k" have as many entries.
        direction_pool : int or None, default=None
            Each member trains `rank` directions drawn at random, without replacement, from so many
            leading ones (capped at the numerical rank), instead of the leading `rank`. Needs an int
            `rank` of at most that.
        init_scale : float, default=0.0
            Standard deviation of the normal start of the values on the diagonal, and of the change of the
            bias where that is trained; other entries start at zero. At 0 every member equals `linear`.
        train_bias : bool, default=True
            Whether members train a bias; without effect on a layer that has none.
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
            If another argument is out of range, or `off_diagonals` is given with a core that has none.
        """
        weight, bias = weight_and_bias(linear, cls)
        check_count("n_members", n_members, 1)
        check_count("off_diagonals", off_diagonals, 0)
        check_core(core, off_diagonals)
        check_scale("init_scale", init_scale)
        check_flag("train_bias", train_bias)
        check_pool(direction_pool, rank)
        key = weight_key(weight)
        U, S, Vh = svd_cache.get(weight, key)
        r = resolve_rank(S, rank)
        pool = None if direction_pool is None else resolve_rank(S, direction_pool)
        # W x plus a correction; a diagonal of many values takes fewer multiply-adds without W.
        corrects = core != "diagonal" or pool is not None or _few(r, weight)
        if corrects:
            trained = r if pool is None else pool
            # Vectors of equal values are saved, and found again, together.
            k = max((stop for start, stop in near_equal_groups(S) if start < trained), default=0)
            U, S, Vh = U[:, : max(k, 1)], S[: max(k, 1)], Vh[: max(k, 1)]
        like: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device, "copy": True}
        layer = cls(
            U.to(**like),
            S.to(**like),
            Vh.to(**like),
            None if bias is None else bias.detach().clone(),
            n_members,
            rank=r,
            core=core,
            off_diagonals=off_diagonals,
            direction_pool=pool,
            weight=weight.detach().clone() if corrects else None,
            train_bias=train_bias,
        )
        layer.weight_hash = key
        layer._draw(generators_of(generator, n_members), init_scale)
        return layer

    @torch.no_grad()
    def _draw(self, generators: Sequence[torch.Generator | None], init_scale: float) -> None:
        """Give each member its directions, entries and noise, drawn in this order."""
        for m, g in enumerate(generators):
            if self.directions is not None and self.direction_pool is not None:
                self.directions[m] = draw_rising(self.direction_pool, self.rank, g)
            if self.positions is not None:
                n = self.values.shape[1]
                U, _, Vh = self._factors_of(m)
                random = self.core == "random"
                positions = draw_rising(self.rank**2, n, g) if random else top_positions(U, Vh, n)
                self.positions[m] = positions
            if init_scale > 0.0:
                # float64 on the CPU whatever the layer's dtype: float32 and float64 fits start alike.
                noise = init_scale * torch.randn(self.rank, generator=g, dtype=torch.float64)
                where = self._positions(torch.tensor([m])).flatten()
                on = where % (self.rank + 1) == 0
                self.values[m, on] = noise.to(self.values)[where[on] // (self.rank + 1)]
                if self.bias_delta is not None:
                    n = self.out_features
                    noise = init_scale * torch.randn(n, generator=g, dtype=torch.float64)
                    self.bias_delta[m] = noise.to(self.bias_delta)

    def _positions(self, members: Tensor | None) -> Tensor:
        """Entries ``row * rank + column`` of the chosen members, (m, n), or (n,) where all have the same."""
        if self.positions is None:
            return positions_of(self.core, self.rank, self.off_diagonals, self.U.device)
        return (self.positions if members is None else self.positions[members]).long()

    def entries(self, member: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of a member's core that it trains, as numbers of singular triplets.

        Two tensors of shape (n_entries,), int64, in the order of `values`; no pair is there twice.
        """
        self._check_member(member)
        where = self._positions(torch.tensor([member])).flatten()
        rows, cols = where // self.rank, where % self.rank
        if self.directions is None:
            return rows, cols
        directions = self.directions[member].long()
        return directions[rows], directions[cols]

    @property
    def _n_trained(self) -> int:
        """Leading triplets that some member may train."""
        return self.rank if self.direction_pool is None else self.direction_pool

    def _factors(self, members: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """U, S and Vh of what is not left to `weight`, shared or gathered for each chosen member."""
        if self.directions is not None:
            k = (self.directions if members is None else self.directions[members]).long()
            return self.U.T[k].mT, self.S[k], self.Vh[k]
        k = len(self.S) if self.weight is None else self.rank
        return self.U[:, :k], self.S[:k], self.Vh[:k]

    def _factors_of(self, member: int) -> tuple[Tensor, Tensor, Tensor]:
        U, S, Vh = self._factors(torch.tensor([member], device=self.U.device))
        return (U, S, Vh) if U.ndim == 2 else (U[0], S[0], Vh[0])

    def _core(self, S: Tensor, members: Tensor | None) -> Tensor:
        """Cores of the chosen members: (m, k) if diagonal, else (m, rank, rank)."""
        values, r = self._chosen(self.values, members), self.rank
        if self.weight is None:  # the pretrained singular values with the change
            return S * (1.0 + F.pad(values, (0, len(S) - r)))
        if self.core == "diagonal":
            return S * values
        where = self._positions(members).expand_as(values)
        core = values.new_zeros(len(values), r * r).scatter(1, where, values)
        root = S.sqrt()
        return root[..., :, None] * core.view(len(values), r, r) * root[..., None, :]

    def _bias(self, members: Tensor | None) -> Tensor | None:
        if self.bias is None or self.bias_delta is None:
            return self.bias
        return self.bias + self._chosen(self.bias_delta, members)

    @staticmethod
    def _chosen(tensor: Tensor, members: Tensor | None) -> Tensor:
        return tensor if members is None else tensor.index_select(0, members)

    def apply_members(self, rows: Tensor, members: Tensor | None) -> Tensor:
        U, S, Vh = self._factors(members)
        core = self._core(S, members)
        return member_product(rows, U, core, Vh, self.weight, self._bias(members))

    def member_weight(self, member: int) -> tuple[Tensor, Tensor | None]:
        members = torch.tensor([member], device=self.S.device)
        U, S, Vh = self._factors_of(member)
        core, bias = self._core(S, members)[0], self._bias(members)
        change = (U * core if core.ndim == 1 else U @ core) @ Vh
        weight = change if self.weight is None else self.weight + change
        return weight, bias[0] if bias is not None and bias.ndim == 2 else bias

    def pretrained_weight(self) -> Tensor:
        return (self.U * self.S) @ self.Vh if self.weight is None else self.weight

    def multiply_adds(self, n_tokens: int) -> tuple[int, int]:
        o, i = self.out_features, self.in_features
        k = len(self.S) if self.weight is None else self.rank
        per_token = k * (o + i)
        if self.core != "diagonal":
            per_token += k * k
        if self.weight is not None:
            per_token += o * i
        return n_tokens * per_token, k * o * i + n_tokens * o * i

    def saved_tensors(self) -> dict[str, Tensor]:
        """Return what is saved beside parameters and member buffers, see :func:`saved_basis`."""
        return saved_basis(self.U, self.S, self.Vh, self._n_trained, self.weight_hash)

    @torch.no_grad()
    def align(self, saved: Mapping[str, Tensor]) -> None:
        """Turn U and V into those of the layer whose :meth:`saved_tensors` these are.

        Directions and positions among them are taken over. BasisMismatchError, the layer unchanged, if the
        weight is another, singular vectors differ by more than signs and rotations, directions lie outside
        the pool, or positions outside the core.
        """
        limits = {"directions": self._n_trained, "positions": self.rank**2}
        basis = {name: value for name, value in saved.items() if name not in limits}
        U, Vh = restore_basis(self.U, self.S, self.Vh, basis, self._n_trained, self.weight_hash)
        taken = {
            name: checked_rising(name, saved[name], getattr(self, name), limit)
            for name, limit in limits.items()
            if name in saved
        }
        for name, numbers in taken.items():
            getattr(self, name).copy_(numbers)
        self.U.copy_(U)
        self.Vh.copy_(Vh)

    @property
    def shown(self) -> tuple[str, ...]:  # type: ignore[override]
        where_set = [name for name in ("off_diagonals", "direction_pool") if getattr(self, name)]
        return ("rank", "core", *where_set)


def _few(k: int, weight: Tensor) -> bool:
    """Whether ``W x`` plus a correction of rank k takes fewer multiply-adds than ``U s Vh x``."""
    o, i = weight.shape
    return k < min(o, i) - o * i / (o + i)

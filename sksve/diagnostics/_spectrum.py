"""How far singular values moved, where, and whether new directions came in."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn

from sksve._arrays import import_pandas
from sksve._validation import check_parameters
from sksve.adapters import MemberLinear, decompose
from sksve.backbones import MemberCopies
from sksve.diagnostics._diversity import module_of

CONSTRAINTS = {
    "top": [Interval(Integral, 1, None, closed="left")],
    "threshold": [Interval(Real, 0, 1, closed="both")],
}


@dataclass(frozen=True)
class SpectrumShift:
    """What training did to every adapted matrix, for l layers and m members.

    Attributes
    ----------
    layers : tuple of str
        Dotted names, in the order of the model.
    values : tuple of ndarray of shape (k,)
        Singular values of each pretrained matrix, largest first.
    member_values : tuple of ndarray of shape (m, k)
        What each member's matrix does along the same pairs of singular vectors, ``u_i @ W_m @ v_i``:
        for a diagonal core its singular values, not sorted anew.
    change : ndarray of shape (l, m)
        ``||W_m - W|| / ||W||`` (Frobenius).
    value_shift : ndarray of shape (l, m)
        The part of it that moves values along pretrained directions: ``||s_m - s|| / ||s||``.
    outside : ndarray of shape (l, m)
        Share of ``||W_m - W|| ** 2`` that leaves the pretrained pairs of directions, in [0, 1]: 0 for a
        diagonal core, near 1 for a change that ignores the spectrum. NaN where nothing changed.
    centre : ndarray of shape (l, m)
        Where values moved: mean position of the squared relative shift in the spectrum, in [0, 1]; 0 is
        the leading value, 1 the last, 0.5 everywhere alike. NaN where none moved.
    intruders : ndarray of shape (l, m)
        Intruder dimensions among the leading left singular vectors, see
        :func:`~sksve.diagnostics.count_intruders`.
    """

    layers: tuple[str, ...]
    values: tuple[np.ndarray, ...]
    member_values: tuple[np.ndarray, ...]
    change: np.ndarray
    value_shift: np.ndarray
    outside: np.ndarray
    centre: np.ndarray
    intruders: np.ndarray

    @property
    def relative_shifts(self) -> tuple[np.ndarray, ...]:
        """``s_m / s - 1`` of each layer, shape (m, k); NaN at singular values that are zero."""
        zero = [s <= 1.2e-7 * s[0] for s in self.values]
        return tuple(
            np.where(z, np.nan, moved / np.where(z, 1.0, s) - 1.0)
            for s, moved, z in zip(self.values, self.member_values, zero)
        )

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row a layer and member."""
        pd = import_pandas("to_frame")

        n_layers, m = self.change.shape
        columns = {
            name: getattr(self, name).reshape(-1)
            for name in ("change", "value_shift", "outside", "centre", "intruders")
        }
        return pd.DataFrame(
            {
                "layer": np.repeat(self.layers, m),
                "member": np.tile(np.arange(m), n_layers),
                **columns,
            }
        )


def spectrum_shift(clf: Any, *, top: int = 10, threshold: float = 0.5) -> SpectrumShift:
    """Compare every matrix that members own with the pretrained one.

    Parameters
    ----------
    clf : classifier
        A fitted ``SVEClassifier`` or baseline. Of a linear probe, which owns no matrix, the result is
        empty.
    top, threshold : int and float, default=10 and 0.5
        Of :func:`~sksve.diagnostics.count_intruders`.

    Returns
    -------
    SpectrumShift

    Raises
    ------
    TypeError
        If `clf` is no classifier with members.
    ValueError
        If `top` is no int of at least 1, or `threshold` no number in [0, 1].

    References
    ----------
    .. [1] Shuttleworth et al. (2024), "LoRA vs Full Fine-tuning: An Illusion of Equivalence",
       https://arxiv.org/abs/2410.21228

    Examples
    --------
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.diagnostics import spectrum_shift
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, core="diagonal", random_state=0)
    >>> shift = spectrum_shift(clf.fit(["good", "bad"] * 4, [1, 0] * 4))
    >>> shift.change.shape, int(shift.intruders.sum()), bool(shift.outside.max() < 1e-9)
    ((12, 2), 0, True)
    """
    check_parameters(CONSTRAINTS, {"top": top, "threshold": threshold}, owner="spectrum_shift")
    names, values, member_values, columns = [], [], [], []
    for name, before, members in _layer_weights(module_of(clf)):
        U, S, Vh = decompose(before)
        moved = ((U.T @ members) * Vh).sum(dim=2)  # u_i W_m v_i
        shift = moved - S
        change = (members - before).flatten(1).square().sum(dim=1)
        along = shift.square().sum(dim=1)
        relative = torch.where(S > 1.2e-7 * S[0], shift / S, 0.0).square()
        place = torch.linspace(0.0, 1.0, len(S), dtype=torch.float64)
        columns.append(
            (
                (change.sqrt() / before.norm()).numpy(),
                (along.sqrt() / S.norm()).numpy(),
                (1.0 - along / change).clamp(0.0, 1.0).numpy(),  # 0 / 0 is NaN
                ((relative * place).sum(dim=1) / relative.sum(dim=1)).numpy(),
                np.array([count_intruders(w, U, top=top, threshold=threshold) for w in members]),
            )
        )
        names.append(name)
        values.append(S.numpy())
        member_values.append(moved.numpy())
    if not names:
        empty = np.empty((0, module_of(clf).n_members))
        return SpectrumShift((), (), (), empty, empty, empty, empty, empty.astype(int))
    stacked = [np.stack(column) for column in zip(*columns)]
    return SpectrumShift(tuple(names), tuple(values), tuple(member_values), *stacked)


def count_intruders(weight: Tensor, U: Tensor, *, top: int = 10, threshold: float = 0.5) -> int:
    r"""Count the leading singular vectors of a matrix that resemble none it had before.

    Left singular vector :math:`u_j'` of `weight`, :math:`j \le` `top`, is an intruder if
    :math:`\max_i |\cos(u_j', u_i)| <` `threshold` [1]_.

    Parameters
    ----------
    weight : Tensor of shape (o, i)
        The matrix after training.
    U : Tensor of shape (o, k)
        All left singular vectors of the matrix before training.
    top : int, default=10
        At least 1.
    threshold : float, default=0.5
        In [0, 1].

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `top` or `threshold` is not as above.

    References
    ----------
    .. [1] Shuttleworth et al. (2024), "LoRA vs Full Fine-tuning: An Illusion of Equivalence",
       https://arxiv.org/abs/2410.21228

    Examples
    --------
    >>> import torch
    >>> from sksve.diagnostics import count_intruders
    >>> before = torch.eye(3)[:, :2] @ torch.diag(torch.tensor([2.0, 1.0])) @ torch.eye(2, 5)
    >>> U = torch.eye(3)[:, :2]
    >>> count_intruders(before * 3, U)
    0
    >>> foreign = torch.zeros(3, 5)
    >>> foreign[2, 4] = 9.0
    >>> count_intruders(before + foreign, U)
    1
    """
    check_parameters(CONSTRAINTS, {"top": top, "threshold": threshold}, owner="count_intruders")
    new, values, _ = torch.linalg.svd(weight, full_matrices=False)
    # Vectors of singular value zero are arbitrary: they resemble nothing, and mean nothing.
    real = values > torch.finfo(values.dtype).eps * max(weight.shape) * values[0]
    leading = new[:, real][:, :top]
    if not leading.shape[1]:
        return 0
    return int(((U.T @ leading).abs().amax(dim=0) < threshold).sum())


@torch.no_grad()
def _layer_weights(module: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield every linear layer that members own, in the order of the model, in float64.

    Its name, its pretrained weight (o, i), and that of each member (m, o, i).
    """
    split = module.split
    copies = split if isinstance(split, MemberCopies) else None
    values = [copies.member_values(k) for k in range(copies.n_members)] if copies else []
    for name, layer in split.model.named_modules():
        if isinstance(layer, MemberLinear):
            dense = [layer.dense(k)[0] for k in range(layer.n_members)]
            before = layer.pretrained_weight()
        elif values and f"{name}.weight" in values[0] and _is_linear(layer):
            turned = not isinstance(layer, nn.Linear)  # a Conv1D stores the transposed weight
            dense = [v[f"{name}.weight"] for v in values]
            dense = [w.T if turned else w for w in dense]
            before = layer.weight.T if turned else layer.weight
        else:
            continue
        yield name, _double(before), _double(torch.stack(dense))


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def _double(t: Tensor) -> Tensor:
    return t.detach().to(device="cpu", dtype=torch.float64)

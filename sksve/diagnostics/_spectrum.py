"""How far singular values moved, where, and whether new directions came in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sksve.adapters import decompose
from sksve.diagnostics._functional import check_intruders, count_intruders, paired_values
from sksve.diagnostics._members import layer_weights, module_of

__all__ = ["SpectrumShift", "spectrum_shift"]


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
        import pandas as pd

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
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    >>> shift = spectrum_shift(clf.fit(["good", "bad"] * 4, [1, 0] * 4))
    >>> shift.change.shape, int(shift.intruders.sum()), bool(shift.outside.max() < 1e-9)
    ((12, 2), 0, True)
    """
    check_intruders(top, threshold, owner="spectrum_shift")
    names, values, member_values, columns = [], [], [], []
    for name, before, members in layer_weights(module_of(clf)):
        U, S, Vh = decompose(before)
        moved = torch.stack([paired_values(w, U, Vh) for w in members])
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

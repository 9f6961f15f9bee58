"""Where in the network members come to differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sksve._arrays import import_pandas
from sksve.backbones import Windows, eval_mode, in_windows


@dataclass(frozen=True)
class LayerDiversity:
    """How much members differ after each adapted block, for the same texts.

    Attributes
    ----------
    layers : tuple of str
        Dotted names of the adapted blocks, then ``"pooled"`` and ``"logits"``.
    variance : ndarray of shape (l,)
        Variance over members (ddof 0), summed over features and tokens, as a share of the members' mean
        square: 0 if all are equal, at most 1 (up to which they have nothing in common). For the logits,
        whose constant part softmax ignores, they are centred first.
    distance : ndarray of shape (l,)
        Mean over pairs of members, rows and tokens of 1 - cosine similarity. 0 for one member.
    """

    layers: tuple[str, ...]
    variance: np.ndarray
    distance: np.ndarray

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row a layer."""
        pd = import_pandas("to_frame")

        return pd.DataFrame(
            {"layer": self.layers, "variance": self.variance, "distance": self.distance}
        )


def layer_diversity(clf: Any, X: Any) -> LayerDiversity:
    """Run every member over the same rows and compare what comes out of each block.

    Whose is the disagreement? Independent heads alone leave every block at zero.

    Parameters
    ----------
    clf : classifier
        A fitted ``SVEClassifier`` or baseline whose members are trained (not drawn: MC dropout and
        Laplace have one trained member).
    X : as in fit
        Some tens of rows will do; all are held at once.

    Returns
    -------
    LayerDiversity

    Raises
    ------
    TypeError
        If `clf` is no classifier with members.

    Examples
    --------
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.diagnostics import layer_diversity
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    >>> clf = clf.fit(["good", "bad"] * 4, [1, 0] * 4)
    >>> layer_diversity(clf, ["good film"]).layers
    ('encoder.layer.0', 'encoder.layer.1', 'pooled', 'logits')
    """
    module = module_of(clf)
    split = getattr(module.split, "split", module.split)  # of whole copies, the one inside
    data, _ = clf._read(X)
    batch, _ = data.collate(np.arange(len(data))[None], None)
    batch = batch.to(module.heads.weight.device)
    mask = batch.attention_mask
    outputs: list[dict[str, Tensor]] = []  # of each member: (b, t, d) by block, (b, d), (b, c)
    with eval_mode(module), torch.no_grad():
        for k in range(module.n_members):
            with _watched(module, split) as seen:
                logits = module(batch.input_ids, mask, batch.features, [k])[0]
            outputs.append(seen | {"logits": logits - logits.mean(dim=-1, keepdim=True)})
    if in_windows(mask) and mask is not None:
        mask = Windows(mask).mask
    variance, distance = [], []
    for name in outputs[0]:
        members = torch.stack([seen[name] for seen in outputs]).double().cpu()
        if members.ndim == 4 and mask is not None:  # padding is no part of the text
            members = members[:, mask.bool().cpu()]
        mean_square = members.square().sum(-1).mean(0).sum()
        spread = members.var(dim=0, correction=0).sum()
        variance.append(float(spread / mean_square) if mean_square > 0 else 0.0)
        distance.append(_pairwise_distance(members))
    return LayerDiversity(tuple(outputs[0]), np.array(variance), np.array(distance))


def _pairwise_distance(members: Tensor) -> float:
    """Mean of 1 - cosine over pairs of members (m, ..., d)."""
    m = len(members)
    if m == 1:
        return 0.0
    unit = torch.nn.functional.normalize(members, dim=-1)
    # The sum over pairs i < j of u_i u_j is (|sum u|^2 - sum |u|^2) / 2.
    pairs = (unit.sum(0).square().sum(-1) - unit.square().sum(-1).sum(0)) / 2
    return float((1.0 - pairs / (m * (m - 1) / 2)).clamp(min=0.0).mean())


@contextmanager
def _watched(module: Any, split: Any) -> Iterator[dict[str, Tensor]]:
    """Note the hidden states that leave each block behind the cut, and the pooled vectors."""
    seen: dict[str, Tensor] = {}
    handles = []

    def watch(name: str, block: nn.Module) -> None:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            seen[name] = output if isinstance(output, Tensor) else output[0]

        handles.append(block.register_forward_hook(note))

    for i in range(split.first_block, split.n_blocks):
        name = f"{split.blocks}.{i}" if split.blocks else ""
        watch(name, split.model.get_submodule(name))
    handles.append(
        module.heads.register_forward_pre_hook(lambda _, args: seen.update(pooled=args[0][0]))
    )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def module_of(clf: Any) -> Any:
    """Return the trained module of a fitted classifier with members; TypeError if it has none."""
    if not hasattr(clf, "predict_proba_members"):
        raise TypeError(
            f"A fitted sksve classifier is needed, such as SVEClassifier. Got {type(clf).__name__}."
        )
    check_is_fitted(clf)
    return clf.net_.module_

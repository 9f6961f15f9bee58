"""Where in the network members come to differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sksve.adapters import use_members
from sksve.diagnostics._members import module_of

__all__ = ["LayerDiversity", "layer_diversity"]


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
        import pandas as pd

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
    data, _ = clf._dataset(X)
    batch, _ = data.collate(np.arange(len(data))[None], None)
    batch = batch.to(module.heads.weight.device)
    ids, mask = batch.input_ids, batch.attention_mask
    names: list[str] = []
    outputs: list[list[Tensor]] = []  # of each member, of each layer: (b, t, d), (b, d), (b, c)
    was_training = module.training
    if was_training:
        module.eval()
    with torch.no_grad():
        features = module.features(ids, mask)
        for k in range(module.n_members):
            with _watched(module.split) as seen, use_members(module.split, [k]):
                pooled = _pooled(module, ids, mask, features)
            logits = module.heads(pooled[None], [k])[0]
            names = [*seen, "pooled", "logits"]
            outputs.append([*seen.values(), pooled, logits - logits.mean(dim=-1, keepdim=True)])
    if was_training:
        module.train()
    variance, distance = [], []
    for layer in zip(*outputs):
        members = torch.stack(layer).double().cpu()
        if members.ndim == 4:  # padding is no part of the text
            members = members[:, mask.bool().cpu()]
        mean_square = members.square().sum(-1).mean(0).sum()
        spread = members.var(dim=0, correction=0).sum()
        variance.append(float(spread / mean_square) if mean_square > 0 else 0.0)
        distance.append(_pairwise_distance(members))
    return LayerDiversity(tuple(names), np.array(variance), np.array(distance))


def _pairwise_distance(members: Tensor) -> float:
    """Mean of 1 - cosine over pairs of members (m, ..., d)."""
    m = len(members)
    if m == 1:
        return 0.0
    unit = torch.nn.functional.normalize(members, dim=-1)
    # The sum over pairs i < j of u_i u_j is (|sum u|^2 - sum |u|^2) / 2.
    pairs = (unit.sum(0).square().sum(-1) - unit.square().sum(-1).sum(0)) / 2
    return float((1.0 - pairs / (m * (m - 1) / 2)).clamp(min=0.0).mean())


def _pooled(module: Any, ids: Tensor, mask: Tensor, features: Tensor | None) -> Tensor:
    if not module.split.has_suffix:
        assert features is not None
        return features[:, 0]
    return module.split.pool(module.split.suffix(features, ids, mask), mask)


@contextmanager
def _watched(split: Any) -> Iterator[dict[str, Tensor]]:
    """Note the hidden states that leave each block behind the cut."""
    seen: dict[str, Tensor] = {}
    inner = getattr(split, "split", split)
    handles = []

    def watch(name: str, block: nn.Module) -> None:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            seen[name] = output[0] if isinstance(output, tuple) else output

        handles.append(block.register_forward_hook(note))

    for i in range(inner.first_block, inner.n_blocks):
        name = f"{inner.blocks}.{i}"
        watch(name, inner.model.get_submodule(name))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()

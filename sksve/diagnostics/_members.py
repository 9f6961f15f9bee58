"""The weights of a fitted classifier, layer by layer and member by member."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sksve.adapters import MemberLinear
from sksve.backbones import MemberCopies

__all__ = ["LayerWeights", "layer_weights", "module_of"]


class LayerWeights(NamedTuple):
    """One adapted layer: its pretrained weight (o, i), and that of each member (m, o, i); float64."""

    name: str
    pretrained: Tensor
    members: Tensor


def module_of(clf: Any) -> Any:
    """Return the trained module of a fitted classifier with members.

    Raises
    ------
    TypeError
        If it has none.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    if not hasattr(clf, "predict_proba_members"):
        raise TypeError(
            f"A fitted sksve classifier is needed, such as SVEClassifier. Got {type(clf).__name__}."
        )
    check_is_fitted(clf)
    return clf.net_.module_


@torch.no_grad()
def layer_weights(module: Any) -> Iterator[LayerWeights]:
    """Yield every linear layer inside the blocks that members own, in the order of the model."""
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
        yield LayerWeights(name, _double(before), _double(torch.stack(dense)))


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def _double(t: Tensor) -> Tensor:
    return t.detach().to(device="cpu", dtype=torch.float64)

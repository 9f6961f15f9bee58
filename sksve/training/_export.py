"""Members taken out of an ensemble: one as an ordinary model, or the first few as a smaller one."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sksve.backbones import pool_tokens, run_model
from sksve.training._callbacks import MEMBER_KEYS
from sksve.training._fit import make_net
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet
from sksve.training._run import Run
from sksve.training._settings import Settings

__all__ = ["MemberModel", "merged_model", "take_first"]


class MemberModel(nn.Module):
    """One member, whole: ids to logits, with nothing of the ensemble's machinery.

    What ``torch.export``, ONNX export and servers take.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The backbone with the member's dense weights.
    head : nn.Linear
        The member's head.
    pooling : {"mean", "cls", "last"}

    Attributes
    ----------
    model, head, pooling
    """

    def __init__(self, model: nn.Module, head: nn.Linear, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.pooling = pooling

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits of each row.

        Parameters
        ----------
        input_ids : Tensor of shape (b, t)
            Token ids (pixel values for a model of images).
        attention_mask : Tensor of shape (b, t), optional
            1 for a token, 0 for padding.
        token_type_ids : Tensor of shape (b, t), optional
            For a model fitted on pairs of texts, whose tokenizer gives them.

        Returns
        -------
        Tensor of shape (b, c)
            Their softmax is the member's row of ``predict_proba_members``.
        """
        inputs = input_ids
        if token_type_ids is not None:
            inputs = torch.stack([input_ids, token_type_ids], dim=1)
        hidden = run_model(self.model, inputs, attention_mask)
        return self.head(pool_tokens(hidden, attention_mask, self.pooling))


def merged_model(module: EnsembleModule, member: int) -> MemberModel:
    """Write one member's dense weights and biases into a new model of the backbone's own class.

    Parameters
    ----------
    module : EnsembleModule
    member : int
        Position of the member.

    Returns
    -------
    MemberModel
        In eval mode, on the device of `module`; shares no memory with it.
    """
    adapted: Any = module.split.model
    with torch.random.fork_rng(devices=[]):  # a new model draws weights, which are all replaced
        model = type(adapted)(copy.deepcopy(adapted.config))
    model.to(device=module.heads.weight.device, dtype=module.heads.weight.dtype)
    if getattr(adapted, "pooler", None) is None and hasattr(model, "pooler"):
        model.pooler = None  # the backbone came without one
    with torch.no_grad():
        model.load_state_dict(_merged_state(module.split, model, member))
        weight = module.heads.weight[member]
        head = nn.utils.skip_init(
            nn.Linear, weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype
        )
        head.weight.copy_(weight)
        head.bias.copy_(module.heads.bias[member])
    return MemberModel(model, head, module.split.pooling).eval()


def _merged_state(split: Any, plain: nn.Module, member: int) -> dict[str, Tensor]:
    adapted, wanted = split.model, plain.state_dict()
    layers: dict[str, Any] = {n: m for n, m in adapted.named_modules() if hasattr(m, "merge")}
    inside = tuple(f"{name}." for name in layers)
    state = {
        name: value
        for name, value in adapted.state_dict().items()
        if name in wanted and not name.startswith(inside)
    }
    if hasattr(split, "member_values"):  # whole copies
        state |= split.member_values(member)
    for name, layer in layers.items():
        linear = layer.merge(member)
        # transformers' Conv1D stores the transposed matrix.
        is_linear = isinstance(plain.get_submodule(name), nn.Linear)
        state[f"{name}.weight"] = linear.weight if is_linear else linear.weight.T
        if linear.bias is not None:
            state[f"{name}.bias"] = linear.bias
    return state


def take_first(net: MemberNet, n_members: int, settings: Settings, run: Run) -> MemberNet:
    """Copy a net's first members; what is frozen is shared, not copied.

    Parameters
    ----------
    net : MemberNet
        Trained.
    n_members : int
    settings : Settings
    run : Run
        With the device the net is on.

    Returns
    -------
    MemberNet
    """
    own = {id(t) for t in net.module_.member_tensors()}
    tensors = [*net.module_.parameters(), *net.module_.buffers()]
    # What a deep copy has "copied" already, it takes as it is.
    module = copy.deepcopy(net.module_, {id(t): t for t in tensors if id(t) not in own})
    with torch.no_grad():
        for tensor in module.member_tensors():
            tensor.data = tensor.data[:n_members].clone()
            tensor.grad = None
    for layer in module.modules():
        if "n_members" in vars(layer):
            layer.n_members = n_members
    first = make_net(module, net.member_ids[:n_members], settings, run, None)
    first.initialize()
    first.history = copy.deepcopy(net.history)
    for row in first.history:
        row.update({key: row[key][:n_members] for key in MEMBER_KEYS if key in row})
    return first

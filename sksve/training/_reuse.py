"""A trained net used again: saved, restored on a fresh backbone, trained further, or taken apart."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sksve._exceptions import PersistenceError
from sksve.adapters import BasisMismatchError
from sksve.backbones import AdaptationPlan, LoadedBackbone, pool_tokens, run_model
from sksve.training._callbacks import MEMBER_KEYS
from sksve.training._data import MemberDataset
from sksve.training._fit import (
    LayerFactory,
    TrainedMembers,
    build_module,
    make_net,
    trained_members,
    warn_of,
)
from sksve.training._frozen import compute_features
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet
from sksve.training._run import Run
from sksve.training._settings import Settings


def restore_net(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: LayerFactory,
    ids: Sequence[int],
    settings: Settings,
    run: Run,
    state: Mapping[str, np.ndarray],
    frozen: Mapping[str, str],
) -> MemberNet:
    """The net that was saved, on the run's device; PersistenceError if something does not fit.

    `state` is what ``EnsembleModule.saved_state`` gave, `frozen` what its ``describe_frozen`` gave.
    """
    _check_size(state, len(ids), run.n_classes)
    module = build_module(backbone, plan, factory, ids, settings, run)
    _check_frozen(frozen, module.describe_frozen())
    _check_tensors(state, module.saved_state())
    with torch.no_grad():
        for name, layer in module.saving_layers():
            try:
                layer.align(_below(name, layer, state))
            except BasisMismatchError as error:
                raise PersistenceError(f"{name.removeprefix('split.model.')}: {error}") from error
        for name, p in module.named_parameters():
            if p.requires_grad:
                p.copy_(torch.from_numpy(np.array(state[name])))
    net = make_net(module, tuple(ids), settings, run, None)
    net.initialize()
    return net


def _below(name: str, layer: Any, state: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    parameters = {n for n, _ in layer.named_parameters()}
    start = f"{name}."
    keys = [
        key for key in state if key.startswith(start) and key.removeprefix(start) not in parameters
    ]
    return {key.removeprefix(start): torch.from_numpy(np.array(state[key])) for key in keys}


def _check_frozen(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    differ = [n for n in sorted({*saved, *now}) if saved.get(n) != now.get(n)]
    if differ:
        named = [n or "embeddings, norms or other weights that are not adapted" for n in differ]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        raise PersistenceError(
            "The backbone does not have the weights the model was fitted on. They differ in: "
            f"{', '.join(named[:3])}{more}. Give the right one with backbone=."
        )


def _check_size(state: Mapping[str, np.ndarray], n_members: int, n_classes: int) -> None:
    """Before anything is built: who only claims a million members has no tensors for them."""
    got = state.get("heads.bias")
    fault = "is missing" if got is None else f"has shape {got.shape}"
    if got is None or got.shape != (n_members, n_classes):
        raise PersistenceError(
            f"The saved tensors do not fit the model: heads.bias {fault}, but {n_members} members of "
            f"{n_classes} classes are named. The folder is damaged or was not written by "
            "save_pretrained()."
        )


def _check_tensors(state: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [f"{name} belongs to no part of it" for name in state if name not in wanted]
    for name, value in wanted.items():
        got = state.get(name)
        if got is None:
            continue
        # A layer may save more or fewer vectors of a basis, which it checks itself.
        loose = name.rpartition(".")[2] in {"S", "projected_U", "projected_V"}
        if got.dtype != value.dtype or (not loose and got.shape != value.shape):
            faults.append(
                f"{name} must be {value.dtype} of shape {value.shape}, got {got.dtype} of shape "
                f"{got.shape}"
            )
        elif not np.isfinite(got).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        more = f" ... and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise PersistenceError(
            f"The saved tensors do not fit the model: {'; '.join(faults[:5])}{more}. The folder is "
            "damaged or was not written by save_pretrained()."
        )


def train_further(
    net: MemberNet,
    history: list[dict[str, np.ndarray]],
    data: MemberDataset,
    settings: Settings,
    run: Run,
) -> TrainedMembers:
    """Train a net's members on from where they are, with a fresh optimizer; all or nothing."""
    module, run = net.module_, replace(run, max_time=settings.max_time)
    before = [p.detach().clone() for p in module.member_parameters()]
    further = make_net(module, net.member_ids, settings, run, None)
    further.initialize()  # brings the module to its device
    further.history = copy.deepcopy(net.history)
    n_before = len(further.history)
    try:
        compute_features(module.split, data, device=run.device, autocast=run.autocast)
        further.partial_fit(data, None)
        members = trained_members(further, since=n_before)
        warn_of(members)
    except BaseException:
        module.eval()
        with torch.no_grad():
            for p, value in zip(module.member_parameters(), before, strict=True):
                p.copy_(value)
        raise
    return replace(members, history=[*history, *members.history])


# -- members taken out: one as an ordinary model, the first few as a smaller ensemble --------------


class MemberModel(nn.Module):
    """One member, whole: ids to logits, with nothing of the ensemble's machinery.

    What ``torch.export``, ONNX export and servers take. `model` is the backbone with the member's dense
    weights; with `normalize`, the head takes vectors of Euclidean length 1, and side features after them.
    """

    def __init__(
        self, model: nn.Module, head: nn.Linear, pooling: str, normalize: bool = False
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.model = model
        self.head = head
        self.pooling = pooling

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        side_features: Tensor | None = None,
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
        side_features : Tensor of shape (b, s), optional
            For a model fitted on a table: what the classifier's ``side_features_.transform(X)`` gives.

        Returns
        -------
        Tensor of shape (b, c)
            Their softmax is the member's row of ``predict_proba_members``.
        """
        inputs = input_ids
        if token_type_ids is not None:
            inputs = torch.stack([input_ids, token_type_ids], dim=1)
        hidden = run_model(self.model, inputs, attention_mask)
        pooled = pool_tokens(hidden, attention_mask, self.pooling)
        pooled = nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled
        parts = [pooled] if side_features is None else [pooled, side_features.to(pooled.dtype)]
        return self.head(torch.cat(parts, dim=-1))


def merged_model(module: EnsembleModule, member: int) -> MemberModel:
    """Write one member's dense weights and biases into a new model of the backbone's class.

    It is in eval mode, on the device of `module`, and shares no memory with it.
    """
    adapted: Any = module.split.model
    with torch.random.fork_rng(devices=[]):  # a new model draws weights, which are all replaced
        model = type(adapted)(copy.deepcopy(adapted.config))
    model.to(device=module.heads.weight.device, dtype=module.heads.weight.dtype)
    if getattr(adapted, "pooler", None) is None and hasattr(model, "pooler"):
        model.pooler = None  # the backbone came without one
    with torch.no_grad():
        model.load_state_dict(_merged_state(module.split, model, member))
        weight = module.heads.matrix[member]
        head = nn.utils.skip_init(
            nn.Linear, weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype
        )
        head.weight.copy_(weight)
        head.bias.copy_(module.heads.bias[member])
    return MemberModel(model, head, module.split.pooling, module.heads.normalize).eval()


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
    """Copy a trained net's first members; what is frozen is shared, not copied."""
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

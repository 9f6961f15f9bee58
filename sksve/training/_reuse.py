"""A trained net used again: saved and restored on a fresh backbone, and trained further."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sksve._exceptions import PersistenceError
from sksve.adapters import BasisMismatchError
from sksve.backbones import AdaptationPlan, LoadedBackbone
from sksve.training._data import MemberDataset
from sksve.training._fit import (
    LayerFactory,
    TrainedMembers,
    build_module,
    make_net,
    trained_members,
    warn_of,
)
from sksve.training._inference import compute_features
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet
from sksve.training._run import Run
from sksve.training._settings import Settings

__all__ = ["describe_frozen", "restore_net", "saved_state", "train_further"]


def saved_state(module: EnsembleModule) -> dict[str, np.ndarray]:
    """Tensors that make the members, by dotted name in the module; the backbone is not saved.

    The parameters that learn, the members' buffers, and what a layer's ``saved_tensors()`` adds; such a
    layer has ``align(saved)``, which brings a fresh layer to the saved state or raises a ValueError.
    """
    tensors = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for name, layer in _saving_layers(module):
        buffers = {key: getattr(layer, key) for key in getattr(layer, "member_buffers", ())}
        saved = {
            key: value for key, value in buffers.items() if value is not None
        } | layer.saved_tensors()
        tensors |= {f"{name}.{key}": value for key, value in saved.items()}
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def describe_frozen(module: EnsembleModule) -> dict[str, str]:
    """Hash the frozen weights under the members, those that layers compute anew left out.

    Name of an adapted matrix -> its ``weight_hash``, and under ``""`` one SHA-256 of all other frozen
    floating tensors of the model, the unused pooler left out.
    """
    model = module.split.model
    hashes = {}
    skipped = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, layer in model.named_modules():
        skipped |= {f"{name}.{buffer}" for buffer in getattr(layer, "recomputed", ())}
        if weight_hash := getattr(layer, "weight_hash", ""):
            hashes[name] = weight_hash
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name in skipped or name.startswith("pooler.") or not value.is_floating_point():
            continue
        value = value.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(value.shape)}|{value.dtype}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hashes | {"": digest.hexdigest()}


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

    `state` is what :func:`saved_state` gave, `frozen` what :func:`describe_frozen` gave.
    """
    _check_size(state, len(ids), run.n_classes)
    module = build_module(backbone, plan, factory, ids, settings, run)
    _check_frozen(frozen, describe_frozen(module))
    _check_tensors(state, saved_state(module))
    with torch.no_grad():
        for name, layer in _saving_layers(module):
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


def _saving_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from ((n, m) for n, m in module.named_modules() if hasattr(m, "saved_tensors"))


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

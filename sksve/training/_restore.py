"""What of a trained net is saved, and the net made from it again on a fresh backbone."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sksve._exceptions import PersistenceError
from sksve.adapters import BasisMismatchError
from sksve.backbones import AdaptationPlan, LoadedBackbone
from sksve.training._fit import LayerFactory, TrainingConfig, build_module, make_net
from sksve.training._module import EnsembleModule
from sksve.training._net import MemberNet

__all__ = ["describe_frozen", "restore_net", "saved_state"]


def saved_state(module: EnsembleModule) -> dict[str, np.ndarray]:
    """Return the tensors that make the members, on a backbone that is not saved.

    The parameters that learn, the members' buffers, and what a layer with a method ``saved_tensors() ->
    dict of str to Tensor`` adds. Such a layer has ``align(saved)`` as well, which brings a freshly made
    layer, its members' buffers included, to the saved state or raises a ValueError.

    Returns
    -------
    dict of str to ndarray
        By dotted name in the module.
    """
    found = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for name, layer in _saving_layers(module):
        own = {key: getattr(layer, key) for key in getattr(layer, "member_buffers", ())}
        told = {
            key: value for key, value in own.items() if value is not None
        } | layer.saved_tensors()
        found |= {f"{name}.{key}": value for key, value in told.items()}
    return {name: value.detach().cpu().numpy() for name, value in found.items()}


def describe_frozen(module: EnsembleModule) -> dict[str, str]:
    """Hash the frozen weights under the members, those that layers compute anew left out.

    Returns
    -------
    dict of str to str
        Name of an adapted matrix -> its ``weight_hash``, and under ``""`` one SHA-256 of all other
        frozen floating tensors of the model, the unused pooler left out.
    """
    model = module.split.model
    hashes = {}
    skipped = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, layer in model.named_modules():
        skipped |= {f"{name}.{buffer}" for buffer in getattr(layer, "recomputed", ())}
        if told := getattr(layer, "weight_hash", ""):
            hashes[name] = told
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
    config: TrainingConfig,
    state: Mapping[str, np.ndarray],
    frozen: Mapping[str, str],
) -> MemberNet:
    """Make a net whose members are those that were saved.

    Parameters
    ----------
    backbone, plan, factory, ids, config
        As for training.
    state : mapping of str to ndarray
        What :func:`saved_state` gave.
    frozen : mapping of str to str
        What :func:`describe_frozen` gave.

    Returns
    -------
    MemberNet
        Initialised, on the configuration's device; it predicts as the saved one did.

    Raises
    ------
    sksve.PersistenceError
        If the backbone has other weights, a tensor is missing, superfluous or of another shape or
        dtype, or the singular vectors cannot be aligned.
    """
    _check_size(state, len(ids), config.n_classes)
    module = build_module(backbone, plan, factory, ids, config)
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
    net = make_net(module, tuple(ids), config, None)
    net.initialize()
    return net


def _saving_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from ((n, m) for n, m in module.named_modules() if hasattr(m, "saved_tensors"))


def _below(name: str, layer: Any, state: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    own = {n for n, _ in layer.named_parameters()}
    start = f"{name}."
    keys = [key for key in state if key.startswith(start) and key.removeprefix(start) not in own]
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
    told = "is missing" if got is None else f"has shape {got.shape}"
    if got is None or got.shape != (n_members, n_classes):
        raise PersistenceError(
            f"The saved tensors do not fit the model: heads.bias {told}, but {n_members} members of "
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

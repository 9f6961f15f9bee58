"""What two fits must share for one to go on from the checkpoint of the other."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sksve import __version__
from sksve.backbones import AdaptationPlan, Backbone
from sksve.training._checkpoint_files import Snapshot, checkpoints_in, stem_of
from sksve.training._data import TokenDataset
from sksve.training._feature_cache import weights_key

__all__ = ["CheckpointSettings", "check_same_fit", "describe_fit", "differences", "stored_seed"]

# Field of TrainingConfig -> what its user calls it. Others have the same name, or shape no member.
_CALLED = {
    "seed": "random_state",
    "head_init_std": "head_init_scale",
    "shared_batches": "member_batches",
    "patience": "n_iter_no_change",
    "dtype": "precision",
    "autocast": "precision of the forward pass",
    "n_classes": "the number of classes",
}
_FREE = {
    "part", "attempt", "diverged", "checkpoint", "interruptible", "callbacks", "processes", "verbose",
    "keeps_products",
}  # fmt: skip
_HASHED = "sha256:"
_PIXEL_ROWS = 64


@dataclass(frozen=True)
class CheckpointSettings:
    """Where checkpoints go.

    Attributes
    ----------
    folder : Path
    every : int or None
        Steps; None: after each epoch only.
    fit : dict of str to plain value
        What :func:`describe_fit` gives.
    """

    folder: Path
    every: int | None = None
    fit: dict[str, Any] = field(default_factory=dict)


def describe_fit(
    backbone: Backbone,
    plan: AdaptationPlan,
    factory: Any,
    train_data: TokenDataset,
    valid_data: TokenDataset | None,
    config: Any,
) -> dict[str, Any]:
    """Say in plain values everything that the members of a fit are a function of.

    Parameters
    ----------
    backbone, plan, factory, train_data, valid_data, config
        As for training; not changed.

    Returns
    -------
    dict
        What it is called -> its value, or its SHA-256.
    """
    told: dict[str, Any] = {}
    for setting in fields(config):
        if setting.name not in _FREE:
            told[_CALLED.get(setting.name, setting.name)] = getattr(config, setting.name)
    told["device"] = torch.device(config.device).type  # processes have cuda:0, cuda:1, ...
    own = asdict(factory) if is_dataclass(factory) and not isinstance(factory, type) else {}
    told |= {"method": getattr(factory, "__name__", type(factory).__name__), **own}
    told["target_modules"] = _sha256("\n".join(plan.targets).encode())
    told["adapt_blocks"] = plan.n_blocks - plan.first_block
    config_text = backbone.model.config.to_json_string()
    told["the backbone"] = _HASHED + weights_key(backbone.model, config_text, backbone.pooling)
    told |= _describe_rows(train_data, "X", "y", "the sample or class weights")
    if valid_data is not None:
        told |= _describe_rows(valid_data, "X_val", "y_val", "the weights of X_val")
    told |= {name: version(name) for name in ("torch", "numpy", "transformers")}
    told |= {"sksve": __version__}
    return {name: _plain(value) for name, value in told.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, torch.dtype) else value


def _describe_rows(data: TokenDataset, x: str, y: str, weight: str) -> dict[str, str]:
    key = data.content_key()
    if key is None:  # images
        digest = hashlib.sha256()
        for start in range(0, len(data), _PIXEL_ROWS):
            rows = np.arange(start, min(start + _PIXEL_ROWS, len(data)))
            digest.update(data.collate(rows[None], None)[0].input_ids.numpy().tobytes())
        key = digest.hexdigest()
    return {
        x: _HASHED + key,
        y: _sha256(data.y.numpy().tobytes()),
        weight: _sha256(data.weight.numpy().tobytes()),
    }


def _sha256(data: bytes) -> str:
    return _HASHED + hashlib.sha256(data).hexdigest()


def differences(found: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two descriptions.

    >>> differences({"lr": 0.1, "X": "sha256:a"}, {"lr": 0.2, "X": "sha256:b"})
    ['X differs', 'lr was 0.1, is 0.2']
    """
    named = []
    for name in sorted({*found, *now}):
        before, after = found.get(name), now.get(name)
        if before == after:
            continue
        hashed = any(isinstance(v, str) and v.startswith(_HASHED) for v in (before, after))
        named.append(f"{name} differs" if hashed else f"{name} was {before!r}, is {after!r}")
    return named


def check_same_fit(settings: CheckpointSettings, parts: Sequence[Sequence[int]]) -> None:
    """Refuse to go on from, or to write over, the checkpoints of another fit.

    Parameters
    ----------
    settings : CheckpointSettings
    parts : sequence of sequences of int
        The members that will be trained together.

    Raises
    ------
    ValueError
        If the folder holds any; the message names what differs.
    """
    expected = {stem_of(part): list(part) for part in parts}
    ids = sorted(k for part in parts for k in part)
    for stem, snapshot in checkpoints_in(settings.folder):
        told = snapshot.state
        faults = differences(told["fit"], settings.fit)
        retried = told["attempt"] > 0 and told["members"][0] in ids
        if not retried and expected.get(stem) != told["members"]:
            faults.append(
                f"members {_span(told['members'])} were trained together, now it is "
                f"{', '.join(map(_span, parts))} (n_members, n_jobs or warm_start)"
            )
        if faults:
            raise ValueError(
                f"checkpoint_dir={str(settings.folder)!r} holds the checkpoint of another fit: "
                f"{'; '.join(faults)}. Call fit with what it was called with to go on; to start "
                f"anew, remove {stem}.*.safetensors from it or give another folder."
            )


def _span(ids: Sequence[int]) -> str:
    return str(ids[0]) if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"


def stored_seed(folder: Path) -> int | None:
    """Seed of the fit whose checkpoints a folder holds; None if it holds none."""
    seeds = (_seed_of(snapshot) for _, snapshot in checkpoints_in(folder))
    return next((seed for seed in seeds if seed is not None), None)


def _seed_of(snapshot: Snapshot) -> int | None:
    seed = snapshot.state["fit"].get("random_state")
    return seed if type(seed) is int and seed >= 0 else None

"""Checkpoints: a killed fit, called again, continues after its last whole epoch with the same bits."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from skorch.callbacks import Callback
from torch import Tensor

from sksve import __version__
from sksve._exceptions import IntegrityError, PersistenceError
from sksve.adapters import dropout_layers
from sksve.backbones import AdaptationPlan, LoadedBackbone
from sksve.persistence import decode, encode, probe_folder, replace_file
from sksve.training._data import MemberDataset
from sksve.training._run import ALONE, Processes, Run
from sksve.training._settings import Settings

_STATE = "state"  # the tensor that holds the plain values as JSON
_HASH_BYTES = hashlib.sha256().digest_size


# -- which fit it is -----------------------------------------------------------------------------


def fit_hash(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: Any,
    groups: Sequence[Sequence[int]],
    datasets: Sequence[MemberDataset],
    settings: Settings,
    run: Run,
) -> str:
    """One SHA-256 of all that the bits of a fit depend on: data, settings, weights, versions."""
    values = settings.of_scope("member", "training") | {"random_state": settings.random_state}
    machine = (torch.device(run.device).type, run.dtype, run.autocast, run.n_classes)
    layer = asdict(factory) if is_dataclass(factory) and not isinstance(factory, type) else {}
    method = getattr(factory, "__name__", type(factory).__name__)
    blocks = plan.n_blocks - plan.first_block
    versions = [__version__, *map(version, ("torch", "numpy", "transformers"))]
    model = backbone.model
    facts = (sorted(values.items()), machine, method, sorted(layer.items()), plan.targets, blocks)
    facts += (backbone.pooling, model.config.to_json_string(), [list(g) for g in groups], versions)
    digest = hashlib.sha256(repr(facts).encode())
    for name, tensor in model.state_dict().items():
        _update(digest, name, tensor)
    for data in datasets:
        digest.update(data.content_key().encode())
        _update(digest, "y", data.y)
        _update(digest, "weight", data.weight)
    return digest.hexdigest()


def _update(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"|{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def check_same_fit(folder: Path, key: str) -> None:
    """Refuse to continue from, or to overwrite, the checkpoints of another fit."""
    for path, state, _ in _checkpoints(folder):
        if state["fit"] != key:
            raise ValueError(
                f"checkpoint_dir={str(folder)!r} holds the checkpoint of another fit: the data, a "
                "parameter, the backbone's weights or a version differ. To continue it, call fit as it "
                f"was called then; to start over, remove {path.name} or choose another folder."
            )


def stored_seed(folder: Path) -> int | None:
    """Seed of the fit whose checkpoints a folder holds; None if it holds none."""
    return next((state["seed"] for _, state, _ in _checkpoints(folder)), None)


# -- files ---------------------------------------------------------------------------------------


def checkpoint_path(folder: Path, ids: Sequence[int]) -> Path:
    """File of the members that train jointly; with `n_jobs` there are several."""
    return folder / f"members-{ids[0]}-{ids[-1]}.checkpoint"


def _write(path: Path, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    text = json.dumps(state, allow_nan=False, separators=(",", ":"))
    saved = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    saved[_STATE] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    data = save_tensors(saved)
    replace_file(path, hashlib.sha256(data).digest() + data)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    content = path.read_bytes()
    data = content[_HASH_BYTES:]
    if hashlib.sha256(data).digest() != content[:_HASH_BYTES]:
        raise IntegrityError(
            f"The checkpoint {str(path)!r} is damaged: its bytes do not have the SHA-256 that was "
            "written with them. Remove the file to train these members from the start."
        )
    # What was read shares one unaligned buffer; kernels want memory of their own.
    tensors = {name: value.clone() for name, value in load_tensors(data).items()}
    return json.loads(bytes(tensors.pop(_STATE).numpy())), tensors


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("members-*-*.checkpoint"))


def _checkpoints(folder: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Tensor]]]:
    for path in _paths(folder):
        try:
            yield (path, *_read(path))
        except FileNotFoundError:  # another process has just removed it
            continue


def clear_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a fit that is complete; warn if they cannot be removed."""
    try:
        for path in _paths(folder):
            path.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"The checkpoints of this fit could not be removed: {error}. Remove them, or the next "
            "call of the same fit returns their result.",
            UserWarning,
            stacklevel=2,
        )


def check_writable(folder: Path) -> None:
    """Make the folder if there is none, and write a small file into it; OSError if that fails."""
    try:
        probe_folder(folder)
    except OSError as error:
        raise OSError(
            error.errno,
            f"checkpoint_dir={str(folder)!r} cannot be written to ({error.strerror}), so training "
            "was not started. Choose a folder that can be written to, or checkpoint_dir=None",
        ) from error


# -- the net -------------------------------------------------------------------------------------


class Checkpoint(Callback):
    """Write a checkpoint after each epoch; continue from the one that is there.

    Must come after every callback whose work it saves. Of a user's callbacks nothing is saved but
    what they wrote into the history.
    """

    def __init__(self, path: Path, fit: str, seed: int, processes: Processes = ALONE) -> None:
        self.path, self.fit, self.seed = path, fit, seed
        self.processes = processes  # of a data-parallel training: all read, the main one writes

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        stored = _read(self.path) if self.path.exists() else None
        n_done = 0 if stored is None else stored[0]["epochs"]
        everyone = self.processes.gather(n_done)
        if len(set(everyone)) > 1:
            raise ValueError(
                "With data_parallel=True all processes must continue from the same state, but they find "
                f"checkpoints of {everyone} epochs. Put checkpoint_dir on a disk that all of them see."
            )
        self.failed_ = False
        self.rows_: list[Any] = []
        if stored is not None:
            self.rows_ = stored[0]["history"]
            _restore(net, *stored)
            if net.verbose:
                sink = dict(net.callbacks_)["print_log"].sink
                sink(f"continuing from a checkpoint after epoch {n_done}")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.rows_.append(_encoded_row(net.history[-1]))
        if not self.processes.is_main:
            return
        header = {"fit": self.fit, "seed": self.seed, "history": self.rows_}
        state, tensors = _snapshot(net)
        try:
            _write(self.path, header | state, tensors)
        except OSError as error:
            # A full disk at night is no reason to throw the night's training away.
            if not self.failed_:
                warnings.warn(
                    f"A checkpoint could not be written to {str(self.path.parent)!r}: {error}. "
                    "Training continues; the last checkpoint written stays valid.",
                    UserWarning,
                    stacklevel=2,
                )
            self.failed_ = True


def _snapshot(net: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Plain values and tensors that the next epoch depends on."""
    callbacks = dict(net.callbacks_)
    tensors = {f"member.{i}": p for i, p in enumerate(net.module_.member_parameters())}
    optimizer = net.optimizer_.state_dict()
    for i, moments in optimizer["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in moments.items()}
    for i, layer in enumerate(dropout_layers(net.module_)):
        if (masks := layer.random_state()) is not None:
            tensors[f"dropout.{i}"] = masks
    if (stopping := callbacks.get("member_early_stopping")) is not None:
        tensors |= {f"best.{i}": kept for i, kept in enumerate(stopping.weights_)}
        tensors["stopping.best"] = torch.from_numpy(stopping.best_)
        tensors["stopping.wait"] = torch.from_numpy(stopping.wait_)
    state = {
        "epochs": len(net.history),
        "steps": net.n_steps_,
        "active": list(net.active_),
        "schedule": callbacks["schedule"].schedule_.last_epoch,
        "rates": [group["lr"] for group in optimizer["param_groups"]],
        "streams": [encode(g.bit_generator.state, name="a stream") for g in _generators(net)],
    }
    return state, tensors


@torch.no_grad()
def _restore(net: Any, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Bring a net that has just begun to train to where :func:`_snapshot` was taken."""
    callbacks = dict(net.callbacks_)
    for i, p in enumerate(net.module_.member_parameters()):
        p.copy_(tensors[f"member.{i}"])
    _restore_optimizer(net.optimizer_, state["rates"], tensors)
    for i, layer in enumerate(dropout_layers(net.module_)):
        if f"dropout.{i}" in tensors:
            layer.set_random_state(tensors[f"dropout.{i}"])
    schedule = callbacks["schedule"].schedule_
    schedule.last_epoch, schedule._last_lr = state["schedule"], list(state["rates"])
    if (stopping := callbacks.get("member_early_stopping")) is not None:
        for i, kept in enumerate(stopping.weights_):
            kept.copy_(tensors[f"best.{i}"])
        stopping.best_ = tensors["stopping.best"].numpy()
        stopping.wait_ = tensors["stopping.wait"].numpy()
    net.active_[:] = state["active"]
    net.n_steps_, net.epochs_done_ = state["steps"], state["epochs"]
    for generator, stream in zip(_generators(net), state["streams"], strict=True):
        generator.bit_generator.state = decode(stream)
    net.history.extend(decode(row) for row in state["history"])
    for name in ("train_loss", "valid_loss"):
        known = [row[name] for row in net.history if name in row]
        callbacks[name].best_score_ = min(known, default=callbacks[name].best_score_)


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, rates: list[float], tensors: Mapping[str, Tensor]
) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".")
            moments.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _generators(net: Any) -> list[np.random.Generator]:
    return [*net.batch_streams_, net.shared_stream_]


def _encoded_row(row: Mapping[str, Any]) -> Any:
    """An epoch of the history as plain values, without what JSON cannot hold."""
    kept = {}
    for key, value in row.items():
        try:
            kept[key] = encode(value, name=key)
        except PersistenceError:
            continue
    return kept

"""The files of a checkpoint: safetensors with a checksum, two generations, replaced in one step."""

import hashlib
import json
import re
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from sksve._exceptions import IntegrityError, PersistenceError
from sksve.persistence import (
    TEMPORARY,
    dumps,
    loads,
    replace_file,
    sweep_temporary,
    sync_folder,
)

__all__ = [
    "CheckpointFiles",
    "Snapshot",
    "check_writable",
    "checkpoints_in",
    "clear_checkpoints",
    "pack",
    "stem_of",
    "unpack",
]

_NAME = re.compile(r"(members-\d+-\d+|member-\d+-attempt-\d+)\.[01]\.safetensors")
_STATE, _SHA256 = "sksve.state", "sksve.sha256"


@dataclass(frozen=True)
class Snapshot:
    """A training between two steps.

    Attributes
    ----------
    state : dict
        Plain JSON values; ``epoch`` and ``step`` say how far it has come.
    tensors : dict of str to Tensor
    """

    state: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def position(self) -> tuple[int, int]:
        """Epochs done, and steps done of the next one."""
        return int(self.state["epoch"]), int(self.state["step"])


def stem_of(ids: Sequence[int], attempt: int = 0) -> str:
    """Name of the checkpoint of some members, without its generation.

    >>> stem_of((0, 1, 2)), stem_of((3,), attempt=1)
    ('members-0-2', 'member-3-attempt-1')
    """
    if attempt:
        return f"member-{ids[0]}-attempt-{attempt}"
    return f"members-{ids[0]}-{ids[-1]}"


def pack(snapshot: Snapshot) -> bytes:
    """Turn a snapshot into the bytes of a safetensors file that holds its own SHA-256."""
    # Compact: the history of a long training has many numbers.
    text = json.dumps(snapshot.state, allow_nan=False, sort_keys=True, separators=(",", ":"))
    tensors = {name: t.detach().cpu().contiguous() for name, t in snapshot.tensors.items()}
    tensors[_STATE] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    digest = torch.frombuffer(bytearray(_digest(tensors)), dtype=torch.uint8)
    return save_tensors(tensors | {_SHA256: digest})


def unpack(data: bytes, name: str = "The checkpoint") -> Snapshot:
    """Turn the bytes that :func:`pack` made into the snapshot they were.

    Raises
    ------
    sksve.IntegrityError
        If they are not those bytes.
    """
    try:
        tensors = load_tensors(data)
        told = bytes(tensors.pop(_SHA256).numpy())
        if told != _digest(tensors):
            raise IntegrityError("it does not have the SHA-256 it names")
        state = loads(bytes(tensors.pop(_STATE).numpy()), name=name)
    except (SafetensorError, PersistenceError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{name} is damaged: {error}.") from error
    # What was read shares one unaligned buffer; kernels want memory of their own.
    return Snapshot(state, {key: value.clone() for key, value in tensors.items()})


def _digest(tensors: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}|{tuple(value.shape)}|{value.dtype}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


class CheckpointFiles:
    """Two generations of one checkpoint: the older is replaced, the newer is left alone.

    Parameters
    ----------
    folder : Path
    stem : str
        What :func:`stem_of` gives.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.stem = stem
        self.slot = 0  # the generation to be written next

    def path(self, slot: int) -> Path:
        """File of a generation, 0 or 1."""
        return self.folder / f"{self.stem}.{slot}.safetensors"

    def load(self) -> Snapshot | None:
        """Read the newest generation that is whole; a damaged one is never used.

        Warns
        -----
        UserWarning
            If a file is damaged, with what is done instead.
        """
        found: dict[int, Snapshot] = {}
        damaged: list[IntegrityError] = []
        for slot in (0, 1):
            try:
                found[slot] = unpack(self.path(slot).read_bytes(), str(self.path(slot)))
            except FileNotFoundError:
                continue
            except IntegrityError as error:
                damaged.append(error)
        newest = max(found, key=lambda slot: found[slot].position, default=None)
        for error in damaged:
            instead = "no other is left: training starts anew"
            if newest is not None:
                epoch, step = found[newest].position
                instead = f"training goes on from the one before it, epoch {epoch + 1}, step {step}"
            warnings.warn(f"{error} It is not used; {instead}.", UserWarning, stacklevel=2)
        if newest is None:
            return None
        self.slot = 1 - newest
        return found[newest]

    def save(self, snapshot: Snapshot) -> None:
        """Replace the older generation, in one step.

        Raises
        ------
        OSError
            If it cannot be written; both generations are then as they were.
        """
        replace_file(self.path(self.slot), pack(snapshot))
        sync_folder(self.folder)
        self.slot = 1 - self.slot


def checkpoints_in(folder: Path) -> Iterator[tuple[str, Snapshot]]:
    """Stem and content of every whole checkpoint in a folder; what is damaged is passed over."""
    for path in _files(folder):
        try:
            snapshot = unpack(path.read_bytes())
        except (FileNotFoundError, IntegrityError):
            continue
        yield path.name.rsplit(".", 2)[0], snapshot


def clear_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in a folder; other files stay."""
    for path in _files(folder):
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def check_writable(folder: Path) -> None:
    """Make the folder if there is none, and write a small file into it.

    Raises
    ------
    OSError
        Of the kind it is (``PermissionError``, ``NotADirectoryError``, ...), if that fails.
    """
    # Named as what `sweep_temporary` removes if this process is killed before it does.
    probe = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(probe, dumps({}).encode())
        probe.unlink()
    except OSError as error:
        raise OSError(
            error.errno,
            f"checkpoint_dir={str(folder)!r} cannot be written to ({error.strerror}), so training "
            "was not begun. Give a folder that can, or checkpoint_dir=None",
        ) from error
    sweep_temporary(folder)

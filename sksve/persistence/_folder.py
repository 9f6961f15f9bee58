"""The format of a saved model: one folder of three files, replaced in one step.

``sksve.json``
    The manifest, strict JSON: schema version, class, everything that is no tensor, the name, size
    and SHA-256 of the tensors' file, and its own SHA-256.
``members-<random>.safetensors``
    The tensors. Each save gives the file a new name, so that putting the new manifest in the place of
    the old one is the one step in which the new model replaces the old.
``README.md``
    The model card, for people; never read.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from sksve._exceptions import IntegrityError, PersistenceError
from sksve._leftovers import sweep
from sksve.persistence._values import MOST_BYTES, SavedModel, decode, dumps, encode, loads

# Version of the format that this sksve writes; it reads this one and older ones.
SCHEMA_VERSION = 1

MANIFEST, CARD, TEMPORARY = "sksve.json", "README.md", ".saving-"
_TENSORS = re.compile(r"members-[0-9a-f]{16}\.safetensors")
_KEYS = {"format", "schema_version", "sksve_version", "class", "tensors", "content", "sha256"}
_READS = 5  # a reader whose tensors vanish has met a writer: it looks at the new manifest


# -- files that are whole or not there -----------------------------------------------------------


def replace_file(path: Path, data: bytes) -> None:
    """Give `path` new content, in one step: whoever reads sees the old bytes or the new."""
    temporary = path.with_name(TEMPORARY + secrets.token_hex(8))
    try:
        _write_file(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def probe_folder(folder: Path) -> None:
    """Make the folder if there is none, and write a small file into it; OSError if that fails."""
    # Named as what is removed below if this process is killed before it does.
    probe = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(probe, b"")
    probe.unlink()
    _sweep_temporary(folder)


def _sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder; does nothing where folders cannot be synced."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep_temporary(folder: Path) -> None:
    """Remove what writers killed more than an hour ago left beside the files they meant to replace."""
    sweep(folder, re.compile(rf"{re.escape(TEMPORARY)}[0-9a-f]{{16}}"))


def _write_file(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


# -- writing -------------------------------------------------------------------------------------


def write_folder(folder: Any, saved: SavedModel, *, card: str = "", version: str = "") -> Path:
    """Save a model into a new or empty folder, or in the place of the one that is there; its absolute path.

    A process that is killed at any moment leaves the model that was there, or the new one; so does any
    error. Files of other people in a folder that holds a saved model stay.
    """
    files = _encode_files(saved, version)
    try:
        folder = Path(folder).expanduser().resolve()
    except RuntimeError as error:  # links in a circle, or no home folder
        raise OSError(
            f"The model was not saved: {folder} leads nowhere ({error}). Choose another folder."
        ) from error
    exists = _check_target(folder)
    files[CARD] = card.encode("utf-8", "replace")
    stale = rf"\.{re.escape(folder.name)}{re.escape(TEMPORARY)}[0-9a-f]{{16}}"
    sweep(folder.parent, re.compile(stale))
    try:
        if exists:
            _replace_model(folder, files)
        else:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _make_folder(folder, files)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}. The model was not saved, and what was in its place is as it "
            "was. Free space on the disk, or choose a folder that can be written",
            str(folder),
        ) from error
    return folder


def _encode_files(saved: SavedModel, version: str) -> dict[str, bytes]:
    """The manifest and the tensors as bytes, under their names."""
    tensors = dict(saved.tensors)
    content = {k: encode(v, name=k, tensors=tensors) for k, v in saved.content.items()}
    data = save_tensors({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    name = f"members-{secrets.token_hex(8)}.safetensors"
    manifest = {
        "format": "sksve",
        "schema_version": SCHEMA_VERSION,
        "sksve_version": version,
        "class": saved.class_name,
        "tensors": {"file": name, "bytes": len(data), "sha256": _sha256(data)},
        "content": content,
    }
    manifest["sha256"] = _sha256(dumps(manifest).encode())
    return {name: data, MANIFEST: dumps(manifest).encode()}


def _make_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with these files, in one step; a fault leaves nothing."""
    temporary = folder.with_name(f".{folder.name}{TEMPORARY}{secrets.token_hex(8)}")
    temporary.mkdir()
    try:
        for name, data in files.items():
            _write_file(temporary / name, data)
        _sync_folder(temporary)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(folder.parent)


def _replace_model(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a new model in the place of the one in the folder; the manifest is what counts."""
    [name] = files.keys() - {MANIFEST, CARD}
    before = _tensor_file_of(folder)
    # All that needs room on the disk is written before the step that makes the model the new one.
    new_card = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        _write_file(folder / name, files[name])
        _write_file(new_card, files[CARD])
        _sync_folder(folder)
        replace_file(folder / MANIFEST, files[MANIFEST])
    except BaseException:
        new_card.unlink(missing_ok=True)
        # Only if the manifest is not the new one: a fault may also come after the rename.
        if _tensor_file_of(folder) != name:
            (folder / name).unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):
        os.replace(new_card, folder / CARD)
    _sync_folder(folder)
    if before is not None:
        with contextlib.suppress(OSError):
            (folder / before).unlink(missing_ok=True)
    sweep(folder, re.compile(rf"(?!{re.escape(name)}){_TENSORS.pattern}"))
    _sweep_temporary(folder)


def _check_target(folder: Path) -> bool:
    """Whether the folder exists; refuse one that holds anything but a saved model."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise FileExistsError(
            f"The model must be saved into a folder. {folder} is a file: choose another name."
        )
    names = {path.name for path in folder.iterdir()}
    if MANIFEST in names:
        with contextlib.suppress(PersistenceError, OSError):
            manifest = loads(_read_file(folder / MANIFEST, MOST_BYTES + 1))
            if isinstance(manifest, dict) and manifest.get("format") == "sksve":
                return True
        raise FileExistsError(
            f"{folder} holds a {MANIFEST} that no save_pretrained() has written, or that is damaged. "
            "Remove the folder, or choose another."
        )
    # What a save into an empty folder leaves if it is killed: its own files, without the manifest.
    others = {n for n in names if not (_TENSORS.fullmatch(n) or n.startswith(TEMPORARY))}
    if others:
        raise FileExistsError(
            f"{folder} is not empty and holds no saved sksve model ({', '.join(sorted(others)[:3])}"
            "): nothing in it was touched. Choose a new or empty folder."
        )
    return True


def _tensor_file_of(folder: Path) -> str | None:
    """Name of the file the manifest on disk refers to, if it can be told."""
    try:
        manifest = loads(_read_file(folder / MANIFEST, MOST_BYTES + 1))
        name = manifest["tensors"]["file"]
        return name if _TENSORS.fullmatch(name) else None
    except (OSError, PersistenceError, KeyError, TypeError):
        return None


# -- reading -------------------------------------------------------------------------------------


def read_folder(folder: Any) -> SavedModel:
    """Read a saved model, checked byte for byte. Runs no code and reads no pickle."""
    with contextlib.suppress(RuntimeError):  # no home folder
        folder = Path(folder).expanduser()
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"There is no folder {folder}. For a model on the Hugging Face hub, download it first: "
            "huggingface_hub.snapshot_download(repo_id) gives its folder."
        )
    for attempt in range(_READS):
        manifest = _read_manifest(folder)
        try:
            data = _read_tensors(folder, manifest["tensors"])
            break
        except FileNotFoundError as error:
            if attempt + 1 == _READS:
                raise IntegrityError(
                    f"{error.filename} is missing: the folder was copied or downloaded in part. "
                    "Copy or download it again."
                ) from error
    try:
        tensors = load_tensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise PersistenceError(f"The tensors in {folder} cannot be read: {error}.") from error
    content = {k: decode(v, tensors) for k, v in manifest["content"].items()}
    return SavedModel(manifest["class"], content, tensors)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        data = _read_file(path, MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise PersistenceError(
            f"{folder} holds no {MANIFEST}: it is not the folder of a model that save_pretrained() "
            "of sksve has written, or it was downloaded in part."
        ) from error
    manifest = loads(data, name=str(path))
    if not isinstance(manifest, dict) or manifest.get("format") != "sksve":
        raise PersistenceError(f"{path} is not the manifest of a saved sksve model.")
    schema = manifest.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise PersistenceError(f"{path} has the schema version {schema!r}, which never existed.")
    if schema > SCHEMA_VERSION:
        raise PersistenceError(
            f"{path} has schema version {schema}, written by sksve "
            f"{manifest.get('sksve_version')!s:.40}; this sksve reads versions up to "
            f"{SCHEMA_VERSION}. Install a newer sksve."
        )
    if set(manifest) != _KEYS:
        raise PersistenceError(
            f"{path} must have the keys {sorted(_KEYS)}. Got {sorted(manifest)}."
        )
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    if _sha256(dumps(rest).encode()) != manifest["sha256"]:
        raise IntegrityError(
            f"{path} does not have the SHA-256 it names: it was damaged or edited by hand. Save or "
            "download the model again; to load it with another backbone, use backbone=."
        )
    entry = manifest["tensors"]
    if not isinstance(entry, dict) or set(entry) != {"file", "bytes", "sha256"}:
        raise PersistenceError(f"{path} does not say which file holds the tensors.")
    if type(entry["file"]) is not str or not _TENSORS.fullmatch(entry["file"]):
        raise PersistenceError(
            f"{path} names the file {entry['file']!r:.80}; the tensors of a saved model lie beside "
            "the manifest, in members-<16 hexadecimal digits>.safetensors. Nothing else is opened."
        )
    if type(manifest["class"]) is not str or not isinstance(manifest["content"], dict):
        raise PersistenceError(f"{path} does not say what was saved.")
    return manifest


def _read_tensors(folder: Path, entry: Mapping[str, Any]) -> bytes:
    path = folder / entry["file"]
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise IntegrityError(
            f"{path} must have {entry['bytes']} bytes. Got {size}: it was truncated or changed. Copy "
            "or download it again."
        )
    data = _read_file(path, size)
    if (got := _sha256(data)) != entry["sha256"]:
        raise IntegrityError(
            f"{path} must have the SHA-256 {entry['sha256']}. Got {got}: it was damaged or changed. "
            "Copy or download it again."
        )
    return data


def _read_file(path: Path, most: int) -> bytes:
    """Read at most so many bytes of a file: a pipe would wait for ever, a device never end."""
    # One look: between two, a writer beside this reader may take the file away.
    if not stat.S_ISREG(path.stat().st_mode):
        raise PersistenceError(f"{path} is no regular file. The folder was not written by sksve.")
    with open(path, "rb") as file:
        return file.read(most)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

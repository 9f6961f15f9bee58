"""Decompositions are made once: a memory cache for the process, a disk cache for the machine."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sksve._exceptions import FetchError
from sksve._forks import ForkSafeLock
from sksve._leftovers import sweep
from sksve._registry import cache_folder
from sksve.adapters._decompose import decompose

__all__ = [
    "SVDCache",
    "cached_decompose",
    "clear_svd_cache",
    "mark_frozen",
    "svd_cache",
    "weight_key",
]

# Part of every key: raise it when `decompose` changes what it returns.
FORMAT_VERSION = 1

Triple = tuple[Tensor, Tensor, Tensor]


# Memory whose numbers never change -> keys of the matrices in it, by where in it they lie.
_frozen: "WeakKeyDictionary[torch.UntypedStorage, dict[tuple[Any, ...], str]]" = WeakKeyDictionary()


def mark_frozen(tensor: Tensor) -> None:
    """Promise that a tensor's numbers never change: matrices in its memory are hashed once, not per fit."""
    _frozen.setdefault(tensor.untyped_storage(), {})


def weight_key(weight: Tensor) -> str:
    """Hash of a matrix: its bytes, shape, dtype and the format version."""
    matrix = weight.detach()
    about = tuple(matrix.shape), matrix.dtype
    known = _frozen.get(matrix.untyped_storage(), {})
    place = (*about, matrix.storage_offset(), matrix.stride())
    if place not in known:
        matrix = matrix.cpu().contiguous()
        digest = hashlib.sha256(f"{FORMAT_VERSION}|{about[0]}|{about[1]}|".encode())
        digest.update(matrix.view(torch.uint8).numpy().data)
        known[place] = digest.hexdigest()
    return known[place]


class SVDCache:
    """Least-recently-used cache of decompositions in memory, with a second level on disk.

    Parameters
    ----------
    memory_bytes : int, default=1 GiB
        Most bytes kept in memory.
    disk_bytes : int, default=4 GiB
        Most bytes kept on disk; the entries unused for longest go first.
    folder : path-like or None, default=None
        Where entries lie. None: the ``svd`` folder in ``SKSVE_CACHE``, else in the platform's cache
        folder.
    use_disk : bool or None, default=None
        None: yes, unless the environment variable ``SKSVE_SVD_CACHE`` is ``off``.
    min_disk_size : int, default=16384
        Matrices with fewer entries are not worth a file: decomposing them is as fast as reading.

    Notes
    -----
    Safe among threads (a lock) and processes (an entry is written to a temporary file and renamed).
    An entry holds a checksum of its key and numbers; one that is damaged, or of another matrix, is
    made again. A folder that cannot be found or written is no error: the decomposition is simply not
    kept. Temporary files of killed processes go after an hour.
    """

    def __init__(
        self,
        memory_bytes: int = 2**30,
        disk_bytes: int = 2**32,
        folder: "str | os.PathLike[str] | None" = None,
        use_disk: bool | None = None,
        min_disk_size: int = 2**14,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self.folder = folder
        self.use_disk = use_disk
        self.min_disk_size = min_disk_size
        self._entries: OrderedDict[str, Triple] = OrderedDict()
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        """Return the number of entries in memory."""
        return len(self._entries)

    def clear(self, *, disk: bool = False) -> None:
        """Forget the entries in memory; with `disk`, delete those in the folder as well."""
        with self._lock:
            self._entries.clear()
        folder = self._folder() if disk else None
        if folder is not None:
            for pattern in ("*.safetensors", "*.tmp"):
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)

    def location(self) -> Path:
        """Folder in which entries lie on disk; it may not exist.

        Raises
        ------
        sksve.FetchError
            If it would lie in the home folder, and the system does not know where that is.
        """
        return cache_folder() / "svd" if self.folder is None else Path(self.folder)

    def get(self, weight: Tensor, key: str | None = None) -> Triple:
        """Return ``decompose(weight)``, from memory, from disk or fresh; do not modify it."""
        key = weight_key(weight) if key is None else key
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        path = self._path(key) if weight.numel() >= self.min_disk_size else None
        found = None if path is None else _read(path, key, tuple(weight.shape))
        if found is None:
            found = decompose(weight)
            if path is not None:
                _write(path, key, found)
                _shrink(path.parent, self.disk_bytes)
        with self._lock:
            self._entries[key] = found
            while len(self._entries) > 1 and self._memory() > self.memory_bytes:
                self._entries.popitem(last=False)
        return found

    def _memory(self) -> int:
        return sum(t.nbytes for triple in self._entries.values() for t in triple)

    def _path(self, key: str) -> Path | None:
        on = self.use_disk
        if on is None:
            on = os.environ.get("SKSVE_SVD_CACHE", "on").lower() not in {"off", "0", "false"}
        folder = self._folder() if on else None
        return None if folder is None else folder / f"{key}.safetensors"

    def _folder(self) -> Path | None:
        try:
            return self.location()
        except FetchError:  # no home folder
            return None


def _checksum(key: str, triple: Triple) -> Tensor:
    """Hash of the key and the numbers, against damage, not forgery: who can write here can write a hash."""
    digest = hashlib.sha256(key.encode())
    for tensor in triple:
        digest.update(f"|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.contiguous().numpy().data)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _read(path: Path, key: str, shape: tuple[int, ...]) -> Triple | None:
    try:
        # Not mapped: what has been checked must not change any more.
        entry = load(path.read_bytes())
        triple = entry["U"], entry["S"], entry["Vh"]
        whole = torch.equal(entry["checksum"], _checksum(key, triple))
    except Exception:  # a damaged header can make a reader stumble in any way
        return None
    with contextlib.suppress(OSError):  # a cache that others write for us to read
        os.utime(path)  # used just now: last to go when the folder is full
    k = min(shape)
    right = [tuple(t.shape) for t in triple] == [(shape[0], k), (k,), (k, shape[1])]
    return triple if whole and right and all(t.dtype == torch.float64 for t in triple) else None


def _write(path: Path, key: str, triple: Triple) -> None:
    temporary = None
    entry = dict(zip(("U", "S", "Vh"), triple)) | {"checksum": _checksum(key, triple)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(save(entry))
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        # A full or read-only disk costs time, not correctness.
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)


def _shrink(folder: Path, limit: int) -> None:
    """Delete the entries unused for longest, and temporary files of killed processes."""
    sweep(folder, re.compile(r".*\.tmp"))
    with contextlib.suppress(OSError):  # another process deletes, too
        files = [(p, p.stat()) for p in folder.glob("*.safetensors")]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda f: f[1].st_mtime):
            if total <= limit:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


#: The cache of the process. Assign to its attributes to change limits or switch the disk off.
svd_cache = SVDCache()


def cached_decompose(weight: Tensor, key: str | None = None) -> Triple:
    """Return ``decompose(weight)`` through the process-wide cache; the result must not be modified.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
    key : str, optional
        Its ``weight_key``, where that is known.

    Returns
    -------
    U, S, Vh : Tensor
        As :func:`decompose`.
    """
    return svd_cache.get(weight, key)


def clear_svd_cache() -> None:
    """Delete every decomposition that sksve keeps, in this process's memory and on disk.

    They are made again when needed. Other processes keep what they hold in memory.

    Examples
    --------
    >>> from sksve.adapters import clear_svd_cache, svd_cache
    >>> clear_svd_cache()  # doctest: +SKIP
    >>> len(svd_cache)  # doctest: +SKIP
    0
    """
    svd_cache.clear(disk=True)

"""Decompositions are made once: a memory cache for the process, a disk cache for the machine."""

import hashlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from pathlib import Path

import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sksve.adapters._decompose import decompose
from sksve.adapters._decompose_top import leading_basis

__all__ = ["SVDCache", "cached_decompose", "clear_svd_cache", "svd_cache", "weight_key"]

# Part of every key: raise it when `decompose` changes what it returns.
FORMAT_VERSION = 1

_STALE_SECONDS = 3600

Triple = tuple[Tensor, Tensor, Tensor]


def weight_key(weight: Tensor) -> str:
    """Hash of a matrix: its bytes, shape, dtype and the format version."""
    matrix = weight.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{FORMAT_VERSION}|{tuple(matrix.shape)}|{matrix.dtype}|".encode())
    digest.update(matrix.view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    An entry that cannot be read is made again. A folder that cannot be written is no error: the
    decomposition is simply not kept.
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
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Return the number of entries in memory."""
        return len(self._entries)

    def clear(self, *, disk: bool = False) -> None:
        """Forget the entries in memory; with `disk`, delete those in the folder as well."""
        with self._lock:
            self._entries.clear()
        if disk:
            for pattern in ("*.safetensors", "*.tmp"):
                for path in self.location().glob(pattern):
                    path.unlink(missing_ok=True)

    def location(self) -> Path:
        """Folder in which entries lie on disk; it may not exist."""
        if self.folder is not None:
            return Path(self.folder)
        root = os.environ.get("SKSVE_CACHE")
        return (Path(root).expanduser() if root else user_cache_path("sksve")) / "svd"

    def get(self, weight: Tensor, rank: int | None = None) -> Triple:
        """Return ``decompose(weight)``, from memory, from disk or fresh; do not modify it.

        With `rank`, at least so many leading triplets of it, which are an entry of their own.
        """
        key = weight_key(weight)
        key = key if rank is None else f"{key}-{rank}"
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        path = self._path(key) if weight.numel() >= self.min_disk_size else None
        found = _read(path, tuple(weight.shape), rank) if path is not None else None
        if found is None:
            found = decompose(weight) if rank is None else leading_basis(weight, rank)
            if path is not None:
                _write(path, found)
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
        if not on:
            return None
        return self.location() / f"{key}.safetensors"


def _read(path: Path, shape: tuple[int, ...], rank: int | None) -> Triple | None:
    try:
        entry = load_file(path)
        triple = entry["U"], entry["S"], entry["Vh"]
        os.utime(path)  # used just now: last to go when the folder is full
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    k = triple[1].shape[0] if triple[1].ndim == 1 else 0
    sizes = [(shape[0], k), (k,), (k, shape[1])]
    least = min(*shape, shape[0] if rank is None else rank)
    right = least <= k <= min(shape) and [tuple(t.shape) for t in triple] == sizes
    return triple if right and all(t.dtype == torch.float64 for t in triple) else None


def _write(path: Path, triple: Triple) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        save_file(dict(zip(("U", "S", "Vh"), triple)), temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        # A full or read-only disk costs time, not correctness.
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _shrink(folder: Path, limit: int) -> None:
    try:
        files = [(p, p.stat()) for p in folder.glob("*.safetensors")]
        # Left by writers that were killed: nobody takes that long to write one.
        dead = [p for p in folder.glob("*.tmp") if time.time() - p.stat().st_mtime > _STALE_SECONDS]
    except OSError:  # another process deletes, too
        return
    for path in dead:
        path.unlink(missing_ok=True)
    total = sum(stat.st_size for _, stat in files)
    for path, stat in sorted(files, key=lambda f: f[1].st_mtime):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= stat.st_size


#: The cache of the process. Assign to its attributes to change limits or switch the disk off.
svd_cache = SVDCache()


def cached_decompose(weight: Tensor, rank: int | None = None) -> Triple:
    """Return ``decompose(weight)`` through the process-wide cache; the result must not be modified.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
    rank : int, optional
        Only so many leading triplets are needed: a few more may be returned, or all of them.

    Returns
    -------
    U, S, Vh : Tensor
        As :func:`decompose`.
    """
    return svd_cache.get(weight, rank)


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

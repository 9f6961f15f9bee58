"""Output of the frozen part of a backbone: in memory, or mapped to a file, and shared between fits."""

import contextlib
import hashlib
import os
import re
import tempfile
import time
import weakref
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sksve._forks import ForkSafeLock
from sksve._leftovers import HOUR

__all__ = ["FeatureCache", "FeatureFile", "allocate_features", "feature_cache", "weights_key"]

# Features are held in memory up to this size; beyond it they lie in a memory-mapped file.
MEMORY_BYTES = 4 * 2**30
_OURS = re.compile(r"sksve-[^/]*\.features")


class FeatureFile:
    """A tensor in a memory-mapped temporary file, which goes when nobody holds the object.

    A copy in another process (joblib, fork) maps the same file, for reading, and does not remove it.
    Where the file is not in reach, is cut, damaged or another one of that name, the copy's `tensor` is
    None.
    The file of a process that was killed goes when the next one is made, an hour later or more.

    Parameters
    ----------
    shape : tuple of int
    dtype : torch.dtype
    folder : pathlib.Path, optional
        Where the file is made; the platform's folder for temporary files without it.

    Attributes
    ----------
    tensor : Tensor of shape `shape`, or None

    Raises
    ------
    OSError
        If the disk has no room for it.
    """

    tensor: Tensor | None

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, folder: Path | None = None
    ) -> None:
        folder = Path(tempfile.gettempdir()) if folder is None else folder
        _sweep(folder)
        handle, name = tempfile.mkstemp(prefix="sksve-", suffix=".features", dir=folder)
        self.path, self.shape, self.dtype = Path(name), shape, dtype
        # Set before the room is taken: a full disk must not leave a file behind.
        self._remove = weakref.finalize(self, _release, handle, self.path, os.getpid())
        try:
            _lock(handle, exclusive=False)
            # Taken now: to write to a mapped file on a full disk is a bus error, which kills.
            _take_room(handle, self._bytes)
            self.tensor = self._mapped(shared=True)
        except BaseException:
            self._remove()
            raise

    @property
    def _size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def _bytes(self) -> int:
        return self._size * self.dtype.itemsize

    def _mapped(self, *, shared: bool) -> Tensor:
        flat = torch.from_file(str(self.path), shared=shared, size=self._size, dtype=self.dtype)
        return flat.reshape(self.shape)

    def _fingerprint(self) -> str:
        """Hash of every byte: a second or two for each gigabyte, which training reads many times."""
        assert self.tensor is not None
        return hashlib.sha256(self.tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()

    def __getstate__(self) -> dict[str, object]:
        told = {"path": self.path, "shape": self.shape, "dtype": self.dtype}
        return {**told, "fingerprint": self._fingerprint()}

    def __setstate__(self, state: dict[str, object]) -> None:
        fingerprint = state.pop("fingerprint")
        self.__dict__.update(state)
        self.tensor = None
        # Mapping would make a missing file, full of zeros, and lengthen a short one.
        if self.path.is_file() and self.path.stat().st_size >= self._bytes:
            self.tensor = self._mapped(shared=False)
            if self._fingerprint() != fingerprint:
                self.tensor = None


def _take_room(handle: int, n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, max(1, n_bytes))
    else:
        os.ftruncate(handle, max(1, n_bytes))


def _lock(handle: int, *, exclusive: bool) -> None:
    """Tell other processes that the file is in use, as long as it is open; raise if it is."""
    try:
        import fcntl
    except ImportError:  # Windows, where no file goes that is in use
        return
    fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def _release(handle: int, path: Path, owner: int) -> None:
    with contextlib.suppress(OSError):
        os.close(handle)
        if os.getpid() == owner:  # not in a forked child
            path.unlink(missing_ok=True)  # fails while mapped, on some systems


def _sweep(folder: Path) -> None:
    """Remove the files of processes that were killed."""
    with contextlib.suppress(OSError):
        for path in [p for p in folder.iterdir() if _OURS.fullmatch(p.name)]:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > HOUR:
                    _remove_if_unused(path)


def _remove_if_unused(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        _lock(handle, exclusive=True)
        if os.name != "nt":
            path.unlink()
    finally:
        os.close(handle)
    if os.name == "nt":  # which removes no open file
        path.unlink()


def allocate_features(
    n: int, d: int, dtype: torch.dtype, memory_bytes: int | None = None
) -> tuple[Tensor, FeatureFile | None]:
    """Make room for n vectors of size d: in memory, or in a file if they are larger than the limit.

    Returns
    -------
    flat : Tensor of shape (n, d)
        Uninitialised.
    file : FeatureFile or None
        What must be kept as long as `flat` is used.

    Raises
    ------
    OSError
        If they do not fit on the disk.
    """
    limit = MEMORY_BYTES if memory_bytes is None else memory_bytes
    if n * d * dtype.itemsize <= limit:
        return torch.empty(n, d, dtype=dtype), None
    file = FeatureFile((n, d), dtype)
    assert file.tensor is not None
    return file.tensor, file


def weights_key(module: nn.Module, *extra: object) -> str:
    """Hash of a module's class, its parameters and buffers by name, and whatever else is given."""
    digest = hashlib.sha256(f"{type(module).__qualname__}|{extra!r}".encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"|{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class FeatureCache:
    """Features of the last fits, so that candidates of a search that share a frozen part share its run.

    Parameters
    ----------
    max_bytes : int, default=512 MiB
        Most bytes kept; the least recently used go first. 0 switches the cache off. What lies in a
        file is not kept.
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[Tensor, np.ndarray]] = OrderedDict()
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()

    def get(self, key: str) -> tuple[Tensor, np.ndarray] | None:
        """Features and vectors per row, not to be modified; None if they are not there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: str, flat: Tensor, lengths: np.ndarray) -> None:
        """Keep features unless they alone are larger than the limit."""
        if flat.nbytes > self.max_bytes:
            return
        with self._lock:
            self._entries[key] = (flat, lengths)
            while sum(f.nbytes for f, _ in self._entries.values()) > self.max_bytes:
                self._entries.popitem(last=False)


#: The cache of the process: ``clear()`` empties it, ``max_bytes`` bounds it.
feature_cache = FeatureCache()

"""Output of the frozen part of a backbone: in memory, or mapped to a file, and shared between fits."""

import hashlib
import os
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FeatureCache", "FeatureFile", "allocate_features", "feature_cache", "weights_key"]

# Features are held in memory up to this size; beyond it they lie in a memory-mapped file.
MEMORY_BYTES = 4 * 2**30
# Files of this age in the shared folder belong to nobody.
STALE_SECONDS = 7 * 86400


class FeatureFile:
    """A tensor in a memory-mapped temporary file, which goes when nobody holds the object.

    A copy in another process (joblib) maps the same file, for reading, and does not remove it. Where
    the file is not in reach, or is another one of that name, the copy's `tensor` is None.

    Parameters
    ----------
    shape : tuple of int
    dtype : torch.dtype
    folder : path-like, optional
        Where the file is made; the platform's folder for temporary files without it.

    Attributes
    ----------
    tensor : Tensor of shape `shape`, or None
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, folder: Path | None = None
    ) -> None:
        handle, name = tempfile.mkstemp(prefix="sksve-", suffix=".features", dir=folder)
        os.close(handle)
        self.path, self.shape, self.dtype = Path(name), shape, dtype
        # Set before the mapping: a full disk must not leave a file behind.
        self._remove = weakref.finalize(self, _unlink, self.path)
        self.tensor: Tensor | None = self._mapped(shared=True)

    @classmethod
    def holding(cls, values: Tensor, folder: Path) -> "FeatureFile":
        """Write a tensor into a file that other machines may read, and map it.

        Written and closed, not mapped: of a network file system only that is seen by others.

        Raises
        ------
        OSError
            If the folder cannot be written or is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _forget_old(folder)
        file = cls.__new__(cls)
        handle, name = tempfile.mkstemp(prefix="sksve-", suffix=".features", dir=folder)
        file.path, file.shape, file.dtype = Path(name), tuple(values.shape), values.dtype
        file._remove = weakref.finalize(file, _unlink, file.path)
        with os.fdopen(handle, "wb") as stream:
            stream.write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            stream.flush()
            os.fsync(stream.fileno())
        file.tensor = file._mapped(shared=False)
        return file

    def _mapped(self, *, shared: bool) -> Tensor:
        size = int(np.prod(self.shape))
        flat = torch.from_file(str(self.path), shared=shared, size=size, dtype=self.dtype)
        return flat.reshape(self.shape)

    def _fingerprint(self) -> str:
        """Hash of evenly spaced rows: tells another file from this one, without reading all of it."""
        assert self.tensor is not None
        step = max(1, len(self.tensor) // 1024)
        some = self.tensor[::step].contiguous().reshape(-1).view(torch.uint8)
        return hashlib.sha256(some.numpy().data).hexdigest()

    def __getstate__(self) -> dict[str, object]:
        told = {"path": self.path, "shape": self.shape, "dtype": self.dtype}
        return {**told, "fingerprint": self._fingerprint()}

    def __setstate__(self, state: dict[str, object]) -> None:
        fingerprint = state.pop("fingerprint")
        self.__dict__.update(state)
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        self.tensor = None
        # torch would make a file that is not there, full of zeros.
        if self.path.is_file() and self.path.stat().st_size == size:
            self.tensor = self._mapped(shared=False)
            if self._fingerprint() != fingerprint:
                self.tensor = None


def _forget_old(folder: Path) -> None:
    """Remove what killed processes left; should one still be wanted, its numbers are computed anew."""
    for path in folder.glob("sksve-*.features"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except OSError:  # another process was first
            pass


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # still mapped, on systems that do not remove such a file
        pass


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
        self._lock = threading.RLock()

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

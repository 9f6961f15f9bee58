"""Output of the frozen part of a backbone: in memory, or mapped to a file, and shared between fits."""

import hashlib
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FeatureCache", "FeatureFile", "allocate_features", "feature_cache", "weights_key"]

# Features are held in memory up to this size; beyond it they lie in a memory-mapped file.
MEMORY_BYTES = 4 * 2**30


class FeatureFile:
    """A tensor in a memory-mapped temporary file, which goes when nobody holds the object.

    A copy in another process (joblib) maps the same file and does not remove it.

    Parameters
    ----------
    shape : tuple of int
    dtype : torch.dtype
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        handle, name = tempfile.mkstemp(prefix="sksve-", suffix=".features")
        os.close(handle)
        self.path, self.shape, self.dtype = Path(name), shape, dtype
        # Set before the mapping: a full disk must not leave a file behind.
        self._remove = weakref.finalize(self, _unlink, self.path)
        self.tensor = self._mapped()

    def _mapped(self) -> Tensor:
        size = int(np.prod(self.shape))
        flat = torch.from_file(str(self.path), shared=True, size=size, dtype=self.dtype)
        return flat.reshape(self.shape)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "shape": self.shape, "dtype": self.dtype}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.tensor = self._mapped()


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

"""The thin singular value decomposition, how many of its values are trained, and its cache.

Decompositions are made once: a memory cache for the process, a disk cache for the machine.
"""

import contextlib
import hashlib
import operator
import os
import re
import tempfile
from collections import OrderedDict
from numbers import Integral, Real
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

# A singular value this much smaller than the first is rounding noise of a float32 weight (its
# machine epsilon): its vectors are arbitrary, so it must not be trained.
NUMERICAL_ZERO = 1.2e-7


def decompose(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Thin singular value decomposition ``weight = U @ diag(S) @ Vh``, in float64 on the CPU.

    A singular vector pair may be flipped, :math:`(u, v) \to (-u, -v)`, without changing the product,
    and LAPACK's drivers disagree about half of all signs. Here, in each column of ``U`` the entry of
    largest magnitude (the first, in a tie) is positive.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
        Any floating dtype, any device; never modified.

    Returns
    -------
    U : Tensor of shape (out_features, k), float64
        Orthonormal columns, ``k = min(out_features, in_features)``.
    S : Tensor of shape (k,), float64
        Singular values, largest first.
    Vh : Tensor of shape (k, in_features), float64
        Orthonormal rows.

    Raises
    ------
    ValueError
        If `weight` is not a matrix, is empty, or holds NaN or infinity.

    References
    ----------
    .. [1] Golub and Reinsch (1970), "Singular value decomposition and least squares solutions",
       https://doi.org/10.1007/BF02163027

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import decompose
    >>> U, S, Vh = decompose(torch.tensor([[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]]))
    >>> S.tolist()
    [3.0, 2.0]
    >>> U @ torch.diag(S) @ Vh
    tensor([[ 3.,  0.],
            [ 0., -2.],
            [ 0.,  0.]], dtype=torch.float64)
    """
    if weight.ndim != 2 or weight.numel() == 0:
        raise ValueError(
            "The weight to decompose must be a non-empty matrix of shape "
            f"(out_features, in_features). Got shape {tuple(weight.shape)} instead."
        )
    matrix = weight.detach().to(device="cpu", dtype=torch.float64)
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError(
            f"The weight of shape {tuple(weight.shape)} holds NaN or infinity and has no singular "
            "value decomposition. Load the backbone again: its weights are damaged."
        )
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    sign = U.gather(0, U.abs().argmax(dim=0, keepdim=True)).sign()
    return (U * sign).contiguous(), S, (Vh * sign.T).contiguous()


def resolve_rank(S: Tensor, rank: int | float | None) -> int:
    """Turn the `rank` parameter into the number of trained singular values of one layer.

    None: all. An int r >= 1: the first r. A float in (0, 1): the smallest r that holds this share of the
    energy ``sum(S ** 2)``. Values up to ``1.2e-7 * S[0]`` never count, so it is 0 for a zero matrix.

    >>> [resolve_rank(torch.tensor([3.0, 1.0, 1.0, 0.0]), rank) for rank in (None, 2, 9, 0.9)]
    [3, 2, 3, 2]
    """
    limit = int((S > NUMERICAL_ZERO * S[0]).sum())
    if rank is None:
        return limit
    is_share = isinstance(rank, Real) and not isinstance(rank, Integral)  # numpy's, too
    if is_share and 0.0 < rank < 1.0:
        energy = torch.cumsum(S.to(torch.float64) ** 2, dim=0)
        reached = energy >= float(rank) * energy[-1]
        return min(int(reached.to(torch.int64).argmax()) + 1, limit)
    r = _as_count(rank)
    if r < 1:
        raise ValueError(
            "The 'rank' parameter must be None, an int in the range [1, inf) or a float in the "
            f"range (0.0, 1.0). Got {rank!r} instead."
        )
    return min(r, limit)


def check_pool(direction_pool: int | None, rank: int | float | None) -> None:
    """Raise ValueError unless members can draw `rank` directions from this pool (None: they do not)."""
    if direction_pool is None:
        return
    r, pool = _as_count(rank), _as_count(direction_pool)
    if not 1 <= r <= pool:
        raise ValueError(
            "The 'direction_pool' parameter must be None, or an int of at least 'rank', which must then "
            f"be an int in the range [1, inf). Got direction_pool={direction_pool!r:.80} with "
            f"rank={rank!r:.80}."
        )


def _as_count(rank: int | float | None) -> int:
    """The rank if it is an int, else 0."""
    try:
        return 0 if isinstance(rank, bool) else operator.index(rank)  # type: ignore[arg-type]
    except TypeError:
        return 0


# -- a memory cache for the process, a disk cache for the machine ----------------------------------

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
        """Return ``decompose(weight)``, from memory, from disk or fresh; do not modify it.

        `key` is the matrix' ``weight_key``, where that is known.
        """
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

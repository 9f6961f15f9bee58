"""Fashion-MNIST: small grey photographs of clothes, in the files of the Debian package."""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from sksve._validation import check_parameters
from sksve.datasets._debian import debian_files
from sksve.datasets._order import row_order

__all__ = ["fetch_fashion_mnist", "read_idx"]

PACKAGE, INSIDE = "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"
HASHES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
NAMES = [
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
]  # fmt: skip
_PARTS = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}
_DESCR = """\
Fashion-MNIST
-------------

Photographs of articles of clothing, grey, 28 x 28 pixels, light on black.

:Samples: 60,000 for training, 10,000 for testing, equally many of each class
:Classes: 10
:Images: ndarray of shape (n, 28, 28) and dtype uint8
:Source: Debian package dataset-fashion-mnist, MIT licence, (c) 2017 Zalando SE

Please cite: H. Xiao, K. Rasul and R. Vollgraf (2017). Fashion-MNIST: a Novel Image Dataset for
Benchmarking Machine Learning Algorithms. https://arxiv.org/abs/1708.07747
"""
_CONSTRAINTS = {
    "subset": [StrOptions(set(_PARTS))],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "return_X_y": ["boolean"],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
}


def fetch_fashion_mnist(
    *,
    subset: str = "train",
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load 70,000 grey photographs of clothes in 10 classes, 28 x 28 pixels each.

    The files are read where the Debian package ``dataset-fashion-mnist`` is installed; otherwise
    ``apt-get download`` fetches it (31 MB, no root needed) and the files are kept in the cache.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which part.
    shuffle : bool, default=True
        Whether to shuffle the rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle. None: another order at each call, without touching numpy's
        global generator.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder. None: the environment variable ``SKSVE_CACHE``, else the platform's cache
        folder for ``sksve``.
    download_if_missing : bool, default=True
        If False, raise an OSError when the files are neither installed nor in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        With n images:

        data : ndarray of shape (n, 28, 28) and dtype uint8
            The images, 0 (black) to 255.
        target : ndarray of shape (n,) and dtype int64
            Position of the image's class in `target_names`.
        target_names : list of str
            The classes.
        DESCR : str
            Description, licence and citation.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    OSError
        If the files are neither at hand nor downloadable; the message holds the cure.
    ValueError
        If a parameter is out of range, or the files have the wrong SHA-256.

    See Also
    --------
    fetch_mnist_sample : Handwritten digits of the same size, foreign to these.

    References
    ----------
    .. [1] Xiao, H., Rasul, K. and Vollgraf, R. (2017). Fashion-MNIST: a Novel Image Dataset for
           Benchmarking Machine Learning Algorithms. :arxiv:`1708.07747`

    Examples
    --------
    >>> from sksve.datasets import fetch_fashion_mnist
    >>> clothes = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> clothes.data.shape  # doctest: +SKIP
    (10000, 28, 28)
    """
    params = {
        "subset": subset,
        "shuffle": shuffle,
        "random_state": random_state,
        "return_X_y": return_X_y,
        "data_home": data_home,
        "download_if_missing": download_if_missing,
    }
    check_parameters(_CONSTRAINTS, params, owner="fetch_fashion_mnist")
    folder = debian_files(
        PACKAGE, INSIDE, HASHES, folder=data_home, download_if_missing=download_if_missing
    )
    stems = _PARTS[subset]
    images = np.concatenate([read_idx(folder / f"{s}-images-idx3-ubyte.gz") for s in stems])
    labels = np.concatenate([read_idx(folder / f"{s}-labels-idx1-ubyte.gz") for s in stems])
    rows = row_order(len(images), shuffle, random_state)
    data, target = images[rows], labels[rows].astype(np.int64)
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, target_names=list(NAMES), DESCR=_DESCR)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one compressed IDX file of bytes.

    Parameters
    ----------
    path : pathlib.Path
        A gzip file: two zero bytes, 8 (unsigned bytes), the number of axes, the length of each axis as
        a big-endian 32-bit number, and the values in C order.

    Returns
    -------
    ndarray of dtype uint8
        With the axes of the file.

    Raises
    ------
    ValueError
        If the file is not of this kind.
    """
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} must be an IDX file of bytes. It begins with {raw[:4]!r}.")
    axes = raw[3]
    shape = tuple(np.frombuffer(raw, dtype=">u4", count=axes, offset=4).tolist())
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)

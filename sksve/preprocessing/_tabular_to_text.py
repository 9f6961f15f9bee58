"""Rows of a table as sentences."""

import string
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from sksve._validation import check_parameters
from sksve.preprocessing._cell import FLOAT32_DIGITS, cell_text, is_missing
from sksve.preprocessing._table import object_table

__all__ = ["TabularToText"]

_CONSTRAINTS: dict[str, list[Any]] = {
    "template": [str],
    "separator": [str],
    "columns": ["array-like", None],
    "names": ["array-like", Mapping, None],
    "digits": [Interval(Integral, 1, 17, closed="both")],
    "missing": [str],
}


# The output is 1-D, so set_output has nothing to wrap.
class TabularToText(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Write each row of a table as one text, such as ``"age: 39; job: nurse"``.

    The text of a cell depends on its value only, never on the container or the type it is stored
    in: ``3``, ``3.0`` and ``numpy.float32(3)``, a list, an array and a frame give the same text,
    and so does an integer column that has become float because a cell is missing. Whole numbers are
    written in full (from 1e21 on with an exponent), others rounded to `digits`; dates in ISO
    format; booleans as ``True`` and ``False``; any other object through ``str``.

    Parameters
    ----------
    template : str, default="{name}: {value}"
        Text of one cell. It must contain ``{value}`` and may contain ``{name}``, both with an
        optional format such as ``{value:>4}``.
    separator : str, default="; "
        Stands between the cells of a row.
    columns : list of str or int, default=None
        Which columns to write, in this order, by name or by position. None: all, as they come.
    names : list of str or mapping, default=None
        What to call the columns in the text: one name per column of the table, or a mapping from
        a column's own name to the one to write. None: their own names, ``x0``, ``x1``, ... where
        they have none.
    digits : int, default=6
        Significant digits of numbers that are not whole, 1 to 17; digits before the decimal point
        are always all written. Above 6, a float32 and a float64 may read differently.
    missing : str, default="skip"
        Text of a missing cell (None, NaN, NaT, NA). ``"skip"`` leaves the cell out with its name;
        a row without any value is then the empty text.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,) and dtype object
        Names of the columns, if all of them are strings.
    columns_ : ndarray of shape (n_columns,) and dtype int64
        Positions of the columns that are written, in order.
    names_ : list of str
        What each of them is called in the text.

    See Also
    --------
    sklearn.preprocessing.FunctionTransformer : For a serialisation of your own.

    Notes
    -----
    The output is a 1-D array of texts, what scikit-learn's text vectorisers and sksve's classifiers
    read. It has no columns, hence neither ``get_feature_names_out`` nor ``set_output``.

    The wording of such texts is studied in [1]_, where ``The name is value.`` did as well as
    wordings made by a language model.

    References
    ----------
    .. [1] Hegselmann, S., Buendia, A., Lang, H., Agrawal, M., Jiang, X. and Sontag, D. (2023).
           TabLLM: Few-shot Classification of Tabular Data with Large Language Models. AISTATS.
           :arxiv:`2210.10723`

    Examples
    --------
    >>> from sksve.preprocessing import TabularToText
    >>> X = [[39, 0.1, "nurse"], [47.0, None, "cook"]]
    >>> TabularToText().fit_transform(X)
    array(['x0: 39; x1: 0.1; x2: nurse', 'x0: 47; x2: cook'], dtype=object)
    >>> to_text = TabularToText(
    ...     template="The {name} is {value}.",
    ...     separator=" ",
    ...     names=["age", "dose", "job"],
    ...     columns=[2, 0],
    ... )
    >>> print(to_text.fit_transform(X)[0])
    The job is nurse. The age is 39.
    """

    def __init__(
        self,
        template: str = "{name}: {value}",
        *,
        separator: str = "; ",
        columns: Sequence[str | int] | None = None,
        names: Sequence[str] | Mapping[str, str] | None = None,
        digits: int = FLOAT32_DIGITS,
        missing: str = "skip",
    ) -> None:
        self.template = template
        self.separator = separator
        self.columns = columns
        self.names = names
        self.digits = digits
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the columns' names and check the parameters against them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table of any cells.
        y : None
            Ignored.

        Returns
        -------
        TabularToText
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter or `X` is malformed, or `columns` or `names` do not fit `X`.
        """
        check_parameters(_CONSTRAINTS, self.get_params(deep=False), owner=type(self).__name__)
        _check_template(self.template)
        self._read(X, reset=True)
        own = getattr(self, "feature_names_in_", None)
        own_names = [f"x{i}" for i in range(self.n_features_in_)] if own is None else list(own)
        written = _written_names(self.names, own_names)
        self.columns_ = np.array(_positions(self.columns, own_names), dtype=np.int64)
        self.names_ = [written[i] for i in self.columns_]
        return self

    def transform(self, X: Any) -> NDArray[np.object_]:
        """Write each row as a text.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table with the columns seen in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,) and dtype object
            One str a row.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If `X` does not have the columns seen in `fit`.
        """
        check_is_fitted(self)
        table = self._read(X, reset=False)[:, self.columns_]
        texts = np.empty(len(table), dtype=object)
        for i, row in enumerate(table):
            texts[i] = self.separator.join(self._parts(row))
        return texts

    def _parts(self, row: NDArray[np.object_]) -> list[str]:
        parts = []
        for name, cell in zip(self.names_, row):
            if not is_missing(cell):
                value = cell_text(cell, self.digits)
            elif self.missing == "skip":
                continue
            else:
                value = self.missing
            parts.append(self.template.format(name=name, value=value))
        return parts

    def _read(self, X: Any, *, reset: bool) -> NDArray[np.object_]:
        table = object_table(X, self)
        named = X if hasattr(X, "columns") else table
        validate_data(self, named, reset=reset, skip_check_array=True)
        return table

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_template(template: str) -> None:
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
        fields = {field for _, field, _, _ in parts}
        nested = any("{" in (spec or "") for _, _, spec, _ in parts)
        template.format(name="", value="")
    except (ValueError, KeyError, IndexError, AttributeError):
        fields, nested = set(), False
    if nested or not {"value"} <= fields <= {"name", "value"}:
        raise ValueError(
            "The 'template' parameter of TabularToText must contain {value}, may contain {name} "
            f"and no other field; a brace itself is written twice. Got {template!r} instead."
        )


def _written_names(
    names: Sequence[str] | Mapping[str, str] | None, own_names: list[str]
) -> list[str]:
    if names is None:
        return own_names
    if isinstance(names, Mapping):
        for name in names:
            if name not in own_names:
                raise ValueError(f"'names' has {name!r}. {_known(name, own_names)}")
        return [str(names.get(name, name)) for name in own_names]
    if len(names) != len(own_names):
        raise ValueError(
            f"'names' must hold one name per column of X, which has {len(own_names)}. "
            f"Got {len(names)} instead."
        )
    return [str(name) for name in names]


def _positions(columns: Sequence[str | int] | None, own_names: list[str]) -> list[int]:
    if columns is None:
        return list(range(len(own_names)))
    positions = [_position(column, own_names) for column in columns]
    if len(positions) == 0 or len(set(positions)) < len(positions):
        raise ValueError(
            f"'columns' must name at least one column, and each only once. Got {list(columns)!r}."
        )
    return positions


def _position(column: str | int, own_names: list[str]) -> int:
    if isinstance(column, Integral) and not isinstance(column, bool):
        if -len(own_names) <= column < len(own_names):
            return int(column) % len(own_names)
    elif column in own_names:
        return own_names.index(str(column))
    raise ValueError(f"'columns' has {column!r}. {_known(column, own_names)}")


def _known(name: Any, own_names: list[str]) -> str:
    close = get_close_matches(str(name), own_names, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(repr(n) for n in own_names[:10]) + (", ..." if len(own_names) > 10 else "")
    return f"X has no such column; it has {len(own_names)}: {shown}.{meant}"

"""Rows of a table as sentences."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sksve._validation import check_parameters
from sksve.preprocessing._cell import FLOAT32_DIGITS, cell_text, is_free_text, is_missing
from sksve.preprocessing._table import in_fitted_order, object_table

_WIDE = re.compile(r"\d{5}")  # in a format: a cell of ten thousand characters or more

_CONSTRAINTS: dict[str, list[Any]] = {
    "template": [str, callable],
    "separator": [str],
    "columns": ["array-like", None],
    "names": ["array-like", Mapping, None],
    "humanize": ["boolean"],
    "text_columns": [StrOptions({"auto"}), "array-like"],
    "digits": [Interval(Integral, 1, 17, closed="both")],
    "missing": [str],
    "as_column": ["boolean"],
}


class TabularToText(TransformerMixin, BaseEstimator):
    """Write each row of a table as one text, such as ``"age: 39; job: nurse"``.

    The text of a cell depends on its value only, never on the container or the type it is stored
    in: ``3``, ``3.0`` and ``numpy.float32(3)``, a list, an array and a frame give the same text,
    and so does an integer column that has become float because a cell is missing. Whole numbers are
    written in full (from 1e21 on with an exponent), others rounded to `digits`; dates in ISO
    format; booleans as ``True`` and ``False``; any other object through ``str``.

    Parameters
    ----------
    template : str or callable, default="{name}: {value}"
        Text of one cell: ``"{name} is {value}."``, say. It must contain ``{value}`` and may contain
        ``{name}``, both with an optional format such as ``{value:>4}``. A callable is given the name
        and the value, both str, and returns the text.
    separator : str, default="; "
        Stands between the cells of a row.
    columns : list of str or int, default=None
        Which columns to write, in this order, by name or by position. None: all, as they come, free
        text last.
    names : list of str or mapping, default=None
        What to call the columns in the text: one name per column of the table, or a mapping from
        a column's own name to the one to write. None: their own names, ``x0``, ``x1``, ... where
        they have none.
    humanize : bool, default=True
        Whether names not given in `names` are written as people do: ``annual_income`` and
        ``AnnualIncome`` as ``annual income``.
    text_columns : "auto" or list of str or int, default="auto"
        Columns of free text. They are written after all others, in their own order, each cell whole,
        so that a text too long for the model is cut at its end and costs no other cell. "auto": if
        `columns` is None, columns of strings with at least 2.5 words in the mean cell and more
        than half of them, or at least 20, different. An empty list: none.
    digits : int, default=6
        Significant digits of numbers that are not whole, 1 to 17; digits before the decimal point
        are always all written. Above 6, a float32 and a float64 may read differently.
    missing : str, default="skip"
        Text of a missing cell (None, NaN, NaT, NA). ``"skip"`` leaves the cell out with its name;
        a row without any value is then the empty text.
    as_column : bool, default=False
        Return a column, of shape (n_samples, 1), which a :class:`~sklearn.compose.ColumnTransformer` takes
        and text vectorisers do not. With ``set_output`` it is a frame's column in any case.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,) and dtype object
        Names of the columns, if all of them are strings.
    columns_ : ndarray of shape (n_columns,) and dtype int64
        Positions of the columns that are written, in order.
    names_ : list of str
        What each of them is called in the text.
    text_columns_ : ndarray of shape (n_text_columns,) and dtype int64
        Positions of the columns of free text.

    See Also
    --------
    sklearn.preprocessing.FunctionTransformer : To write your own serializer.

    Notes
    -----
    The output is a 1-D array of texts, what scikit-learn's text vectorisers and sksve's classifiers
    read, or with `as_column` a column of them. A classifier of sksve needs no transformer in front of it:
    it takes the table itself, see :doc:`/guide/text_and_columns`.

    A frame's columns are found by name: in `transform` they may come in another order and beside
    others, as in :class:`~sklearn.compose.ColumnTransformer`.

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
        template: str | Callable[[str, str], str] = "{name}: {value}",
        *,
        separator: str = "; ",
        columns: Sequence[str | int] | None = None,
        names: Sequence[str] | Mapping[str, str] | None = None,
        humanize: bool = True,
        text_columns: Sequence[str | int] | str = "auto",
        digits: int = FLOAT32_DIGITS,
        missing: str = "skip",
        as_column: bool = False,
    ) -> None:
        self.template = template
        self.separator = separator
        self.columns = columns
        self.names = names
        self.humanize = humanize
        self.text_columns = text_columns
        self.digits = digits
        self.missing = missing
        self.as_column = as_column

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
            If a parameter or `X` is malformed, or `columns`, `names` or `text_columns` do not fit
            `X`.
        """
        check_parameters(_CONSTRAINTS, self.get_params(deep=False), owner=type(self).__name__)
        if isinstance(self.template, str):
            _check_template(self.template)
        table = self._read(X, reset=True)
        known = getattr(self, "feature_names_in_", None)
        names_of_X = [f"x{i}" for i in range(self.n_features_in_)] if known is None else list(known)
        written = _written_names(self.names, names_of_X, self.humanize)
        order, last = _written_order(self.columns, self.text_columns, names_of_X, table)
        self.columns_ = np.array(order, dtype=np.int64)
        self.text_columns_ = np.array(last, dtype=np.int64)
        self.names_ = [written[j] for j in order]
        return self

    def transform(self, X: Any) -> NDArray[np.object_]:
        """Write each row as a text.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table with the columns seen in `fit`; those of a frame in any order, beside any others.

        Returns
        -------
        ndarray of shape (n_samples,) and dtype object, or (n_samples, 1) with `as_column`
            One str a row.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If `X` does not have the columns seen in `fit`.
        """
        check_is_fitted(self)
        if isinstance(self.template, str):
            _check_template(self.template)  # it may have been set, or loaded, after fit
        table = self._read(
            in_fitted_order(X, getattr(self, "feature_names_in_", None)), reset=False
        )
        texts = np.empty(len(table), dtype=object)
        for i, row in enumerate(table[:, self.columns_]):
            cells = zip(self.names_, row)
            if self.missing == "skip":
                cells = ((name, cell) for name, cell in cells if not is_missing(cell))
            texts[i] = self.separator.join(self._part(name, cell) for name, cell in cells)
        return texts[:, None] if self.as_column else texts

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name of the one column.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (1,) and dtype object
            ``["text"]``.
        """
        check_is_fitted(self)
        return np.array(["text"], dtype=object)

    def _part(self, name: str, cell: Any) -> str:
        value = self.missing if is_missing(cell) else cell_text(cell, self.digits)
        if isinstance(self.template, str):
            return self.template.format(name=name, value=value)
        try:
            text = self.template(name, value)
        except Exception as error:
            raise ValueError(
                f"The 'template' parameter of TabularToText fails on {name!r} and {value!r} "
                f"with {type(error).__name__}: it must take two str and return one."
            ) from error
        if not isinstance(text, str):
            raise ValueError(
                "The 'template' parameter of TabularToText, called with a name and a value, must "
                f"return a str. Got {text!r} for {name!r} and {value!r}."
            )
        return text

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
        nested = any("{" in (spec or "") or _WIDE.search(spec or "") for _, _, spec, _ in parts)
        if not nested:
            template.format(name="", value="")
    except (ValueError, KeyError, IndexError, AttributeError):
        fields, nested = set(), False
    if nested or not {"value"} <= fields <= {"name", "value"}:
        raise ValueError(
            "The 'template' parameter of TabularToText must contain {value}, may contain {name} "
            "and no other field, each at most 9999 wide; a brace itself is written twice. Got "
            f"{template!r:.200} instead."
        )


# -- columns: which are written, in what order, and what they are called --------------------------

_BREAKS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def humanize(name: str) -> str:
    """Write a column's name as people do: words in lower case, but for abbreviations.

    >>> [humanize(name) for name in ("annual_income", "PaymentMethod", "StreamingTV", "x0", "ID")]
    ['annual income', 'payment method', 'streaming TV', 'x0', 'ID']
    """
    words = re.split(r"[_.\s]+", _BREAKS.sub(" ", name))
    words = [w if len(w) > 1 and w.isupper() else w[:1].lower() + w[1:] for w in words if w]
    return " ".join(words) or name


def _written_names(
    names: Sequence[str] | Mapping[str, str] | None, names_of_X: list[str], humanized: bool
) -> list[str]:
    """What each column is called in the text; two whose humanised names agree keep their own."""
    shown = [humanize(name) for name in names_of_X] if humanized else names_of_X
    twice = {name for name, n in Counter(shown).items() if n > 1}
    shown = [old if name in twice else name for name, old in zip(shown, names_of_X)]
    if names is None:
        return shown
    if isinstance(names, Mapping):
        for name in names:
            if name not in names_of_X:
                raise ValueError(f"'names' has {name!r}. {_known(name, names_of_X)}")
        return [str(names.get(old, name)) for old, name in zip(names_of_X, shown)]
    if len(names) != len(names_of_X):
        raise ValueError(
            f"'names' must hold one name per column of X, which has {len(names_of_X)}. "
            f"Got {len(names)} instead."
        )
    return [str(name) for name in names]


def _written_order(
    columns: Sequence[str | int] | None,
    text_columns: Sequence[str | int] | str,
    names_of_X: list[str],
    table: NDArray[np.object_],
) -> tuple[list[int], list[int]]:
    """Positions of the columns to write, free text last; and which of them are free text."""
    order = list(range(len(names_of_X)))
    if columns is not None:
        order = _positions(columns, names_of_X, "columns")
    if isinstance(text_columns, str):  # "auto"
        last = [] if columns is not None else [j for j in order if _is_text(table[:, j])]
    else:
        last = _positions(text_columns, names_of_X, "text_columns") if len(text_columns) else []
        absent = [names_of_X[j] for j in last if j not in order]
        if absent:
            raise ValueError(f"'text_columns' has {absent}, which 'columns' leaves out.")
    return [j for j in order if j not in last] + last, last


def _is_text(cells: NDArray[np.object_]) -> bool:
    return is_free_text([cell for cell in cells if not is_missing(cell)])


def _positions(columns: Sequence[str | int], names_of_X: list[str], owner: str) -> list[int]:
    positions = [_position(column, names_of_X, owner) for column in columns]
    if len(positions) == 0 or len(set(positions)) < len(positions):
        raise ValueError(
            f"'{owner}' must name at least one column, and each only once. Got {list(columns)!r}."
        )
    return positions


def _position(column: str | int, names_of_X: list[str], owner: str) -> int:
    if isinstance(column, Integral) and not isinstance(column, bool):
        if -len(names_of_X) <= column < len(names_of_X):
            return int(column) % len(names_of_X)
    elif column in names_of_X:
        return names_of_X.index(str(column))
    raise ValueError(f"'{owner}' has {column!r}. {_known(column, names_of_X)}")


def _known(name: Any, names_of_X: list[str]) -> str:
    close = get_close_matches(str(name), names_of_X, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(repr(n) for n in names_of_X[:10]) + (", ..." if len(names_of_X) > 10 else "")
    return f"X has no such column; it has {len(names_of_X)}: {shown}.{meant}"

"""Rows of a table as sentences."""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sksve._validation import check_parameters
from sksve.preprocessing._bins import bin_edges, bin_of, bin_words, is_number
from sksve.preprocessing._cell import FLOAT32_DIGITS, cell_text, is_missing
from sksve.preprocessing._columns import written_names, written_order
from sksve.preprocessing._table import in_fitted_order, object_table

__all__ = ["TabularToText"]

_WIDE = re.compile(r"\d{5}")  # in a format: a cell of ten thousand characters or more

_CONSTRAINTS: dict[str, list[Any]] = {
    "template": [str, callable],
    "separator": [str],
    "columns": ["array-like", None],
    "names": ["array-like", Mapping, None],
    "humanize": ["boolean"],
    "text_columns": [StrOptions({"auto"}), "array-like"],
    "digits": [Interval(Integral, 1, 17, closed="both")],
    "bins": [Interval(Integral, 2, None, closed="left"), list, tuple, None],
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
        `columns` is None, columns of strings with at least 4 words in the mean cell, most of them
        different. An empty list: none.
    digits : int, default=6
        Significant digits of numbers that are not whole, 1 to 17; digits before the decimal point
        are always all written. Above 6, a float32 and a float64 may read differently.
    bins : int or list of str, default=None
        Write numbers as words: in which of so many equally filled bins of the column a value lies.
        2, 3, 5 or 7, such as "very low", "low", "medium", "high", "very high"; or your own words,
        from lowest to highest. Columns with no more different numbers than words stay as they
        are. None: write the numbers.
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
    text_columns_ : ndarray of shape (n_text_columns,) and dtype int64
        Positions of the columns of free text.
    bin_edges_ : dict of int to ndarray of shape (n_bins - 1,)
        Position of each binned column -> the largest value of every bin but the last.

    See Also
    --------
    sklearn.preprocessing.FunctionTransformer : For a serialisation of your own.

    Notes
    -----
    The output is a 1-D array of texts, what scikit-learn's text vectorisers and sksve's classifiers
    read. It has no columns, hence neither ``get_feature_names_out`` nor ``set_output``.

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
    >>> ages = [[age] for age in range(20, 70)]
    >>> TabularToText(bins=3, names=["age"]).fit(ages).transform([[23], [68.5]])
    array(['age: low', 'age: high'], dtype=object)
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
        bins: int | Sequence[str] | None = None,
        missing: str = "skip",
    ) -> None:
        self.template = template
        self.separator = separator
        self.columns = columns
        self.names = names
        self.humanize = humanize
        self.text_columns = text_columns
        self.digits = digits
        self.bins = bins
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
            If a parameter or `X` is malformed, or `columns`, `names` or `text_columns` do not fit
            `X`.
        """
        check_parameters(_CONSTRAINTS, self.get_params(deep=False), owner=type(self).__name__)
        words = bin_words(self.bins)
        if isinstance(self.template, str):
            _check_template(self.template)
        table = self._read(X, reset=True)
        own = getattr(self, "feature_names_in_", None)
        own_names = [f"x{i}" for i in range(self.n_features_in_)] if own is None else list(own)
        written = written_names(self.names, own_names, self.humanize)
        order, last = written_order(self.columns, self.text_columns, own_names, table)
        self.columns_ = np.array(order, dtype=np.int64)
        self.text_columns_ = np.array(last, dtype=np.int64)
        self.names_ = [written[j] for j in order]
        edges = {j: bin_edges(table[:, j], len(words)) for j in (order if words else ())}
        self.bin_edges_ = {j: e for j, e in edges.items() if e is not None}
        return self

    def transform(self, X: Any) -> NDArray[np.object_]:
        """Write each row as a text.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table with the columns seen in `fit`; those of a frame in any order, beside any others.

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
        if isinstance(self.template, str):
            _check_template(self.template)  # it may have been set, or loaded, after fit
        table = self._read(
            in_fitted_order(X, getattr(self, "feature_names_in_", None)), reset=False
        )
        table = table[:, self.columns_]
        words = bin_words(self.bins)
        texts = np.empty(len(table), dtype=object)
        for i, row in enumerate(table):
            texts[i] = self.separator.join(self._parts(row, words))
        return texts

    def _parts(self, row: NDArray[np.object_], words: list[str]) -> list[str]:
        parts = []
        for j, name, cell in zip(self.columns_.tolist(), self.names_, row):
            if not is_missing(cell):
                edges = self.bin_edges_.get(j) if is_number(cell) else None
                value = (
                    cell_text(cell, self.digits) if edges is None else words[bin_of(cell, edges)]
                )
            elif self.missing == "skip":
                continue
            else:
                value = self.missing
            parts.append(self._part(name, value))
        return parts

    def _part(self, name: str, value: str) -> str:
        if isinstance(self.template, str):
            return self.template.format(name=name, value=value)
        text = self.template(name, value)
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

"""What every calibrator shares: checks, labels, spaces."""

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from sksve._arrays import column_names, in_label_order
from sksve._exceptions import CalibrationWarning
from sksve._validation import check_parameters
from sksve.calibration._scores import as_columns, keep_argmax, restrict, to_space
from sksve.metrics._inputs import check_series_name, validate_inputs


class Calibrator(ABC, BaseEstimator):
    """Base of all calibrators: a map from probabilities to probabilities, learned from labels.

    A subclass says on which scores it works (`_space`), learns its numbers in `_fit` and applies them
    in `_map`. Both see only classes with calibration rows: a class without keeps its probability, and
    what the others have together is calibrated among them. Everything fitted is a number, a string, an
    array, or a list of arrays, in attributes that end in an underscore; so ``get_params()`` and those
    attributes are the whole calibrator.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.
    has_rows_ : ndarray of shape (n_classes,) and dtype bool
        Which classes had calibration rows; not of temperatures, which are one map for all classes.
    """

    # "logits", "log_proba" or "proba": see sksve.calibration._scores.to_space.
    _space: ClassVar[str]
    # Whether the map is one for all classes and must never change which class comes first.
    _monotone: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, list]] = {"input": [StrOptions({"proba", "logits"})]}
    # y_proba is data, not metadata to be routed.
    __metadata_request__fit: ClassVar[dict[str, str]] = {"y_proba": UNUSED, "labels": UNUSED}
    __metadata_request__predict_proba: ClassVar[dict[str, str]] = {"y_proba": UNUSED}

    classes_: ndarray
    has_rows_: ndarray

    def __init__(self, *, input: str = "proba") -> None:
        self.input = input

    def fit(self, y_proba: Any, y: Any, sample_weight: Any = None, *, labels: Any = None) -> Self:
        """Learn the map from probabilities of rows that the classifier was not trained on.

        Parameters
        ----------
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
            Probabilities, or logits if ``input="logits"``; one-dimensional: of the positive class. A
            frame's columns are found by their names, the labels. Exact 0 and 1 are allowed. Computed
            in float64, whatever comes in.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; weight 2 equals the row twice, weight 0 its absence.
        labels : array-like of shape (n_classes,), default=None
            The columns' labels. None: the sorted labels of `y`. Needed where `y` misses a class, which
            then keeps its probability (temperatures, one map for all classes, apply to it as well).

        Returns
        -------
        self : object
            The fitted calibrator.

        Raises
        ------
        ValueError
            If a parameter, shapes, labels, probabilities or weights are not as above, or the fit would
            take minutes; the message names an alternative. A failed fit leaves the calibrator as it was.

        Warns
        -----
        CalibrationWarning
            If a class has no rows of positive weight.
        """
        check_parameters(
            self._parameter_constraints, self.get_params(deep=False), owner=type(self).__name__
        )
        names, series = column_names(y_proba), getattr(y_proba, "name", None)
        columns = as_columns(y_proba, self.input)
        # All rows are checked, those of weight zero too; then these are dropped.
        scores = to_space(columns, self.input, self._space)
        if labels is None and sample_weight is not None:
            # A class seen only in rows of weight zero still has its column.
            labels = validate_inputs(y, columns, normalise=False, names=names).labels
        rows = validate_inputs(y, columns, labels, sample_weight, normalise=False, names=names)
        check_series_name(series, rows.labels)
        codes, has_rows, some = rows.codes, None, rows.proba
        if not self._monotone:
            has_rows = np.bincount(codes, minlength=len(rows.labels)) > 0
            if not has_rows.all():
                _warn_absent(rows.labels[~has_rows].tolist())
                some, codes = restrict(some, has_rows, self.input), has_rows.cumsum()[codes] - 1
        if some is not columns:
            scores = to_space(some, self.input, self._space)
        fitted = {}
        if has_rows is None or has_rows.sum() > 1:  # of one class alone nothing can be learned
            self._demand_quick(*scores.shape)
            fitted = self._fit(scores, codes, rows.weight)
        for name, value in fitted.items():
            setattr(self, name, value)
        if has_rows is not None:
            self.has_rows_ = has_rows
        self.classes_ = rows.labels
        return self

    def predict_proba(self, y_proba: Any) -> ndarray:
        """Calibrated probabilities.

        Parameters
        ----------
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
            As in `fit`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Float64, columns as `classes_`; every row sums to 1.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `y_proba` does not have the form described in `fit`, or another number of columns.
        """
        check_is_fitted(self, "classes_")
        y_proba = in_label_order(y_proba, self.classes_)
        columns = as_columns(y_proba, self.input, len(self.classes_))
        scores = to_space(columns, self.input, self._space)
        if self._monotone:
            return keep_argmax(self._map(scores), columns)
        if self.has_rows_.all():
            return self._map(scores)
        proba = to_space(columns, self.input, "proba").copy()
        if self.has_rows_.sum() > 1:
            some = restrict(columns, self.has_rows_, self.input)
            among = self._map(to_space(some, self.input, self._space))
            proba[:, self.has_rows_] = among * proba[:, self.has_rows_].sum(axis=1, keepdims=True)
        return proba

    def _demand_quick(self, n_samples: int, n_classes: int) -> None:
        """Refuse a fit that would take minutes, before it starts."""

    @abstractmethod
    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        """Learn from scores ``(n, c)``, columns of the labels, positive weights; return attributes."""

    @abstractmethod
    def _map(self, scores: ndarray) -> ndarray:
        """Return new probabilities ``(n, c)`` for scores, rows summing to 1."""


def _warn_absent(labels: list[Any]) -> None:
    names = ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
    warnings.warn(
        f"No calibration row is of class {names}, so nothing can be learned of it: its probability stays "
        "as it is, and the others are calibrated among themselves. Calibrate on rows of every class.",
        CalibrationWarning,
        stacklevel=3,
    )

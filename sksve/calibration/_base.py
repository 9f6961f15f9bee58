"""What every calibrator shares: checks, labels, spaces."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from sksve._validation import check_parameters
from sksve.calibration._scores import as_columns, keep_argmax, to_space
from sksve.metrics._inputs import validate_inputs

__all__ = ["Calibrator"]


class Calibrator(ABC, BaseEstimator):
    """Base of all calibrators: a map from probabilities to probabilities, learned from labels.

    A subclass says on which scores it works (`_space`), learns its numbers in `_fit` and applies them
    in `_map`. Everything fitted is a number, a string, an array, or a list of arrays, in attributes
    that end in an underscore; so ``get_params()`` and those attributes are the whole calibrator.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.
    """

    # "logits", "log_proba" or "proba": see sksve.calibration._scores.to_space.
    _space: ClassVar[str]
    # Whether the map must never change which class comes first.
    _monotone: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, list]] = {"input": [StrOptions({"proba", "logits"})]}
    # y_proba is data, not metadata to be routed.
    __metadata_request__fit: ClassVar[dict[str, str]] = {"y_proba": UNUSED, "labels": UNUSED}
    __metadata_request__predict_proba: ClassVar[dict[str, str]] = {"y_proba": UNUSED}

    classes_: ndarray

    def __init__(self, *, input: str = "proba") -> None:
        self.input = input

    def fit(self, y_proba: Any, y: Any, sample_weight: Any = None, *, labels: Any = None) -> Self:
        """Learn the map from probabilities of rows that the classifier was not trained on.

        Parameters
        ----------
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
            Probabilities, or logits if ``input="logits"``; one-dimensional: of the positive class.
            Exact 0 and 1 are allowed. Computed in float64, whatever comes in.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; weight 2 equals the row twice, weight 0 its absence.
        labels : array-like of shape (n_classes,), default=None
            The columns' labels. None: the sorted labels of `y`. Needed where `y` misses a class.

        Returns
        -------
        self : object
            The fitted calibrator.

        Raises
        ------
        ValueError
            If a parameter, shapes, labels, probabilities or weights are not as above. A failed fit
            leaves the calibrator as it was.
        """
        check_parameters(
            self._parameter_constraints, self.get_params(deep=False), owner=type(self).__name__
        )
        columns = as_columns(y_proba, self.input)
        # All rows are checked, those of weight zero too; then these are dropped.
        scores = to_space(columns, self.input, self._space)
        y = np.asarray(y)
        if labels is None and sample_weight is not None:
            # A class seen only in rows of weight zero still has its column.
            labels = validate_inputs(y, scores, normalise=False).labels
        rows = validate_inputs(y, scores, labels, sample_weight, normalise=False)
        fitted = self._fit(rows.proba, rows.codes, rows.weight)
        for name, value in fitted.items():
            setattr(self, name, value)
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
        columns = as_columns(y_proba, self.input, len(self.classes_))
        proba = self._map(to_space(columns, self.input, self._space))
        return keep_argmax(proba, columns) if self._monotone else proba

    @abstractmethod
    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        """Learn from scores ``(n, c)``, columns of the labels, positive weights; return attributes."""

    @abstractmethod
    def _map(self, scores: ndarray) -> ndarray:
        """Return new probabilities ``(n, c)`` for scores, rows summing to 1."""

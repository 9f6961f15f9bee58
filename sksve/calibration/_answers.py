"""Answers of the wrappers: those of the estimator inside, or its probabilities after a map."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy import ndarray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sksve.calibration._wrapper import align_rows, read_proba
from sksve.metrics import Uncertainty
from sksve.metrics._inputs import normalise_rows
from sksve.metrics._predict_uncertainty import (
    has_members,
    is_mean_of_members,
    predict_members,
    predict_members_and_novelty,
    predict_novelty,
    predict_uncertainty,
    row_names,
)


def members_inside(wrapper: Any) -> bool:
    """Check for ``available_if``: is there a classifier with members inside?"""
    inner = getattr(wrapper, "estimator_", wrapper.estimator)
    if not has_members(inner):
        raise AttributeError(
            f"{type(inner).__name__} has no members. Wrap a classifier with predict_proba_members, "
            "such as sksve.SVEClassifier."
        )
    return True


def _inner_has(name: str) -> Callable[[Any], bool]:
    """Check for ``available_if``: the wrapped estimator has this method."""

    def check(wrapper: Any) -> bool:
        getattr(getattr(wrapper, "estimator_", wrapper.estimator), name)
        return True

    return check


class DelegatingMixin:
    """Answers of a wrapper that are its estimator's."""

    estimator_: Any

    def predict(self, X: Any) -> ndarray:
        """Label of every row, as the estimator gives it.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: Any) -> ndarray:
        """Class probabilities of every row, as the estimator gives them.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_inner_has("predict_proba_iter"))
    def predict_proba_iter(self, X: Any, *, chunk_size: int = 1024) -> Iterator[ndarray]:
        """Class probabilities of any number of rows, piece by piece, as the estimator gives them.

        Parameters
        ----------
        X : iterable of rows or of chunks
            As the estimator's ``predict_proba_iter`` takes it.
        chunk_size : int, default=1024
            Rows of a piece.

        Returns
        -------
        iterator of ndarray of shape (n_rows, n_classes)
            As ``predict_proba``, of the next rows.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba_iter(X, chunk_size=chunk_size)

    @available_if(_inner_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> ndarray:
        """Logarithm of the probabilities, as the estimator gives it.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In nats.
        """
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X: Any) -> ndarray:
        """Decision values, as the estimator gives them.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples,)
            The estimator's.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    @available_if(members_inside)
    def predict_proba_members(self, X: Any) -> ndarray:
        """Class probabilities of each member of the ensemble inside.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_classes)
            The ensemble's.
        """
        check_is_fitted(self)
        return predict_members(self.estimator_, X)

    @available_if(members_inside)
    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Uncertainty of the ensemble inside.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        Uncertainty
            Of every row, answered or not.
        """
        check_is_fitted(self)
        return predict_uncertainty(self.estimator_, X)

    def _predict_members_and_novelty(self, X: Any) -> tuple[ndarray, ndarray | None]:
        return predict_members_and_novelty(self.estimator_, X)

    def _predict_novelty(self, X: Any) -> ndarray | None:
        return predict_novelty(self.estimator_, X)


class MappingMixin:
    """Answers of a wrapper that maps probabilities: the pool's and each member's by the same map."""

    estimator_: Any
    classes_: ndarray

    @property
    def _pools_by_mean(self) -> bool:
        """Whether predict_proba is the mean of the mapped members."""
        return False

    @abstractmethod
    def _map_proba(self, proba: ndarray) -> ndarray:
        """New probabilities ``(n, c)`` for those of the estimator."""

    def _map_members(self, members: ndarray) -> ndarray:
        flat = members.reshape(-1, members.shape[-1])
        return self._map_proba(flat).reshape(members.shape)

    def _read(self, X: Any, by_member: bool = False) -> ndarray:
        return read_proba(self.estimator_, X, classes=self.classes_, by_member=by_member)

    def _read_with_novelty(self, X: Any) -> tuple[ndarray, ndarray | None]:
        members, novelty = predict_members_and_novelty(self.estimator_, X)
        flat = members.reshape(-1, members.shape[-1])
        flat = align_rows(flat, self.estimator_.classes_, self.classes_)
        return flat.reshape(*members.shape[:2], -1), novelty

    def _predict_members_and_novelty(self, X: Any) -> tuple[ndarray, ndarray | None]:
        before, novelty = self._read_with_novelty(X)
        return self._map_members(before), novelty

    def _predict_novelty(self, X: Any) -> ndarray | None:
        return predict_novelty(self.estimator_, X)

    def predict_proba(self, X: Any) -> ndarray:
        """Class probabilities after the map.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows sum to 1 (float64), columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        if self._pools_by_mean:
            return normalise_rows(self._map_members(self._read(X, True)).mean(axis=0), "The mean")
        return self._map_proba(self._read(X)[0])

    def predict(self, X: Any) -> ndarray:
        """Most probable class.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, of the kind given to fit.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_log_proba(self, X: Any) -> ndarray:
        """Logarithm of ``predict_proba``; minus infinity where it is 0.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In nats.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_inner_has("predict_proba_iter"))
    def predict_proba_iter(self, X: Any, *, chunk_size: int = 1024) -> Iterator[ndarray]:
        """Class probabilities of any number of rows, piece by piece, in bounded memory.

        Parameters
        ----------
        X : iterable of rows or of chunks
            As the estimator's ``predict_proba_iter`` takes it.
        chunk_size : int, default=1024
            Rows of a piece.

        Returns
        -------
        iterator of ndarray of shape (n_rows, n_classes)
            As ``predict_proba``, of the next rows.
        """
        check_is_fitted(self)
        return self.estimator_._in_pieces(self.predict_proba, X, chunk_size)

    @available_if(members_inside)
    def predict_proba_members(self, X: Any) -> ndarray:
        """Class probabilities of each member, after the map.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_classes)
            Rows sum to 1 (float64). Their mean is ``predict_proba`` only where members are mapped before
            they are pooled.
        """
        check_is_fitted(self)
        return self._map_members(self._read(X, by_member=True))

    @available_if(members_inside)
    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Uncertainty after the map, split into its parts.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        Uncertainty
            Of the mapped members. ``confidence`` is the largest entry of ``predict_proba``, and
            ``disagreement`` the share of members whose class is not the one ``predict`` gives.
        """
        check_is_fitted(self)
        before, novelty = self._read_with_novelty(X)
        members = self._map_members(before)
        uncertainty = Uncertainty.from_members(members, novelty=novelty, index=row_names(X))
        if self._pools_by_mean:
            return uncertainty
        if is_mean_of_members(self.estimator_):
            mean = before.mean(axis=0)
            proba = self._map_proba(mean / mean.sum(axis=1, keepdims=True))
        else:
            proba = self.predict_proba(X)
        differs = members.argmax(axis=2) != proba.argmax(axis=1)
        return replace(uncertainty, confidence=proba.max(axis=1), disagreement=differs.mean(axis=0))

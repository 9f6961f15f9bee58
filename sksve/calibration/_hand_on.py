"""Answers of a wrapper that are its estimator's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sksve.calibration._wrapper import ClassifierWrapper, members_inside
from sksve.metrics import Uncertainty
from sksve.metrics._predict_uncertainty import predict_members, predict_uncertainty

__all__ = ["HandsOn"]


def _inner_has(name: str) -> Callable[[Any], bool]:
    """Check for ``available_if``: the wrapped estimator has this method."""

    def check(wrapper: Any) -> bool:
        getattr(getattr(wrapper, "estimator_", wrapper.estimator), name)
        return True

    return check


class HandsOn(ClassifierWrapper):
    """Base of wrappers that do not change probabilities."""

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
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

    @available_if(_inner_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> np.ndarray:
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
    def decision_function(self, X: Any) -> np.ndarray:
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
    def predict_proba_members(self, X: Any) -> np.ndarray:
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

"""What displays of a classifier's probabilities share: the way from an estimator to a drawing."""

from abc import ABC, abstractmethod
from typing import Any, Self

__all__ = ["ProbabilityDisplay"]


class ProbabilityDisplay(ABC):
    """Base of the displays that need true labels and class probabilities."""

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        name: str | None = None,
        ax: Any = None,
        **params: Any,
    ) -> Self:
        """Draw what a fitted classifier predicts.

        Parameters
        ----------
        estimator : classifier
            Fitted, with ``predict_proba`` and ``classes_``.
        X : array-like of length n_samples
            What it predicts from; rows it was not trained on.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        name : str, default=None
            Name for the legend. None: the class name of the estimator.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **params : dict
            Further parameters of :meth:`from_predictions`.

        Returns
        -------
        display : object
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator has no ``predict_proba``, or as :meth:`from_predictions`.
        """
        own_name = type(estimator).__name__
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"from_estimator needs a classifier with predict_proba. Got {own_name}. "
                "With probabilities from elsewhere, use from_predictions."
            )
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            sample_weight=sample_weight,
            name=own_name if name is None else name,
            ax=ax,
            **params,
        )

    @classmethod
    @abstractmethod
    def from_predictions(cls, y_true: Any, y_proba: Any, **params: Any) -> Self:
        """Draw probabilities that were computed before."""

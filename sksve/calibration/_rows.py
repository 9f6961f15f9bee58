"""Rows, labels and weights of a wrapper's fit: checked before any model is trained."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y

from sksve.metrics._inputs import check_sample_weight

__all__ = ["Rows", "read_rows"]


class Rows(NamedTuple):
    """What fit was given. X is whatever the estimator takes, texts too: it is only ever indexed."""

    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    classes: np.ndarray


def read_rows(X: Any, y: Any, sample_weight: Any, classes: Any, *, owner: str) -> Rows:
    """Check labels and weights.

    Parameters
    ----------
    X : sequence or array-like of length n_samples
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,) or None
    classes : array-like of shape (n_classes,) or None
        What a frozen estimator knows; None: the labels of `y`, at least two.
    owner : str
        Name of the class, for messages.

    Returns
    -------
    Rows
        Weights of None stay None.

    Raises
    ------
    ValueError
        If lengths differ, labels are missing, continuous or unknown, weights are negative or all
        zero, or fewer than two classes have a positive weight.
    """
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")
    X, y = indexable(X, y)
    y = _check_y(y)
    if not len(y):
        raise ValueError("Found array with 0 sample(s): at least one row is needed.")
    _demand_labels(y)
    check_classification_targets(y)
    weight = check_sample_weight(sample_weight, len(y))
    if classes is not None:
        classes = np.asarray(classes)
        unknown = sorted(set(y.tolist()) - set(classes.tolist()), key=str)
        if unknown:
            raise ValueError(
                f"y holds labels that the frozen estimator does not know: {unknown}. "
                f"Its classes are {classes.tolist()}."
            )
        return Rows(X, y, weight, classes)
    classes = np.unique(y)
    present = classes if weight is None else np.unique(y[weight > 0])
    if len(present) < 2:
        raise ValueError(
            "The training data must hold at least two classes. Got only one class, "
            f"{present.tolist()[0]!r}, in the rows of positive weight."
        )
    return Rows(X, y, weight, classes)


def _demand_labels(y: np.ndarray) -> None:
    """Refuse None and NaN among labels of any kind; scikit-learn looks at numbers only."""
    if y.dtype != object:
        return
    missing = [i for i, label in enumerate(y.tolist()) if label is None or label != label]
    if missing:
        raise ValueError(
            f"Input y contains NaN or None: every row needs a label. Row {missing[0]} has none."
        )

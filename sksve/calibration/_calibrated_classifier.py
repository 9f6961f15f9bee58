"""Any classifier with any calibrator; an ensemble stays one."""

import inspect
import warnings
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy import ndarray
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions

from sksve._exceptions import CalibrationWarning
from sksve._validation import check_parameters
from sksve.calibration._answers import MappingMixin
from sksve.calibration._base import Calibrator
from sksve.calibration._make import make_calibrator
from sksve.calibration._scores import PROBA_FLOOR
from sksve.calibration._wrapper import ClassifierWrapper, Fold, Rows, read_proba
from sksve.metrics._inputs import normalise_rows
from sksve.metrics._predict_uncertainty import has_members

POOL_FIRST, CALIBRATE_FIRST = "pool-then-calibrate", "calibrate-then-pool"
CONSTRAINTS = {
    "cv": ["cv_object"],
    "order": [StrOptions({POOL_FIRST, CALIBRATE_FIRST})],
    "n_jobs": [Integral, None],
}


class CalibratedClassifier(MappingMixin, ClassifierWrapper):
    r"""A classifier whose probabilities go through a calibrator; an ensemble keeps its members.

    The calibrator learns from out-of-fold probabilities: each fold's rows are judged by a clone that
    has not seen them. Then one estimator is fitted on all rows. An estimator inside
    ``FrozenEstimator`` is not fitted again: the rows given to ``fit`` are those it is calibrated on.

    With members :math:`p_1, \dots, p_m`, the estimator's own :math:`\bar p` and a calibrator's map g,

    - ``order="pool-then-calibrate"``: ``predict_proba`` is :math:`g(\bar p)`; the members, and so the
      uncertainty, are :math:`g(p_j)`, through the same map;
    - ``order="calibrate-then-pool"``: each member has a map of its own, fitted on its out-of-fold
      probabilities, and ``predict_proba`` is :math:`\frac1m \sum_j g_j(p_j)`.

    Either way ``epistemic >= 0``, and ``confidence`` is that of ``predict_proba``.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``. `X` may be whatever it takes, texts too. A pipeline or a search
        object around an ensemble keeps the members as well.
    method : str or calibrator, default="temperature"
        A name out of ``sksve.calibration.CALIBRATORS``, or any object with ``fit(y_proba, y,
        sample_weight)`` and ``predict_proba(y_proba)``; it is cloned. One with ``input="logits"`` is
        given the logarithm of the probabilities, floored at 2.2e-16.
    cv : int, splitter or iterable of (train, test), default=5
        Folds; an int makes stratified ones. Not used with ``FrozenEstimator``. Rows may be in
        several test parts or in none.
    order : {"pool-then-calibrate", "calibrate-then-pool"}, default="pool-then-calibrate"
        Whether the mean is calibrated or the members. The second needs members.
    n_jobs : int, default=None
        Folds fitted at the same time.

    Attributes
    ----------
    estimator_ : classifier
        Fitted on all rows, or the ``FrozenEstimator``.
    calibrators_ : list of calibrators
        One, or one a member.
    classes_ : ndarray of shape (n_classes,)
        Labels; those of a frozen estimator.
    n_features_in_ : int
        If the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features,)
        If the fitted estimator has them.

    See Also
    --------
    sksve.predict_uncertainty : Finds this wrapper's calibrated uncertainty inside others.
    SelectiveClassifier : Abstains where it is not confident.

    Notes
    -----
    A class that is in no training row of a fold has probability 0 there. Rows of that class say
    nothing of the map then, and are left out with a warning.

    Decision values are no probabilities on any scale, so they are not turned into some. For a
    classifier without ``predict_proba``, wrap ``CalibratedClassifierCV``, which reads them.

    References
    ----------
    .. [1] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K.Q. (2017). On Calibration of Modern Neural
           Networks. ICML. :arxiv:`1706.04599`
    .. [2] Rahaman, R. and Thiery, A.H. (2021). Uncertainty Quantification and Deep Ensembles.
           NeurIPS. :arxiv:`2007.08792` (pool, then calibrate)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sksve.calibration import CalibratedClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = CalibratedClassifier(GaussianNB(), method="temperature").fit(X, y)
    >>> round(clf.calibrators_[0].temperature_, 3)
    1.749
    >>> clf.predict_proba(X[:1]).round(3)
    array([[1., 0., 0.]])
    """

    _saved: ClassVar[dict[str, Any]] = {"classes_": ndarray, "calibrators_": [Calibrator]}
    _saved_parameters: ClassVar[dict[str, Any]] = {"method": (str, Calibrator)}

    def __init__(
        self,
        estimator: Any,
        method: Any = "temperature",
        *,
        cv: Any = 5,
        order: str = POOL_FIRST,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.order = order
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit calibrators on out-of-fold probabilities, then the estimator on all rows.

        Parameters
        ----------
        X : sequence or array-like of length n_samples
            As the estimator takes it.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Goes to the calibrators always, and to the estimator if its ``fit`` takes it (with
            metadata routing: if it requests it).
        **fit_params : dict
            For the estimator's ``fit``; what has one entry a row is indexed. ``groups`` goes to the
            splitter. With metadata routing: as requested.

        Returns
        -------
        self : object
            The fitted wrapper.

        Raises
        ------
        ValueError
            If a parameter or the data are at fault, or a fold leaves one class to train on.

        Warns
        -----
        CalibrationWarning
            If folds lack a class, so that its rows cannot be used.
        """
        check_parameters(CONSTRAINTS, self.get_params(deep=False), owner=type(self).__name__)
        calibrator = make_calibrator(self.method)
        self._demand_estimator()
        rows = self._read_rows(X, y, sample_weight)
        read = partial(read_proba, classes=rows.classes, by_member=self.order == CALIBRATE_FIRST)
        fitted, folds = self._fit_and_read(rows, read, sample_weight, fit_params)
        calibrators = _fit_calibrators(calibrator, *_join_folds(folds, rows))
        self.classes_ = rows.classes
        self.calibrators_ = calibrators
        self.estimator_ = fitted
        return self

    @property
    def _pools_by_mean(self) -> bool:
        return self.order == CALIBRATE_FIRST

    def _map_proba(self, proba: ndarray) -> ndarray:
        (calibrator,) = self.calibrators_
        return _calibrate(calibrator, proba)

    def _map_members(self, members: ndarray) -> ndarray:
        if self.order != CALIBRATE_FIRST:
            return super()._map_members(members)
        _demand_as_many(len(members), len(self.calibrators_))
        return np.stack([_calibrate(g, p) for g, p in zip(self.calibrators_, members)])

    def _demand_estimator(self) -> None:
        """Refuse what cannot be calibrated, before anything is trained."""
        self._demand_instance(proba="a calibrator")
        if self.order == CALIBRATE_FIRST and not has_members(self.estimator):
            raise ValueError(
                f"order={CALIBRATE_FIRST!r} calibrates each member, but {type(self.estimator).__name__} "
                f"has none (predict_proba_members). Use order={POOL_FIRST!r}."
            )

    def _card_words(self) -> str:
        names = {type(c).__name__: None for c in self.calibrators_}
        return f"{', '.join(names)}, {self.order}"


def _calibrate(calibrator: Any, proba: ndarray) -> ndarray:
    """Apply a fitted calibrator to probabilities ``(n, c)``."""
    calibrated = calibrator.predict_proba(_scores_for(calibrator, proba))
    calibrated = np.asarray(calibrated, dtype=np.float64)
    if calibrated.shape != proba.shape:
        raise ValueError(
            f"{type(calibrator).__name__}.predict_proba must return an array of shape "
            f"{proba.shape}. Got shape {calibrated.shape}."
        )
    return normalise_rows(calibrated, f"What {type(calibrator).__name__} returns")


def _scores_for(calibrator: Any, proba: ndarray) -> ndarray:
    """What a calibrator asks for: the probabilities, or their logarithms."""
    if getattr(calibrator, "input", "proba") == "logits":
        return np.log(np.maximum(proba, PROBA_FLOOR))
    return proba


def _join_folds(folds: list[Fold], rows: Rows) -> tuple[ndarray, Rows]:
    """Join the folds in the order of the rows; leave out rows whose class a fold does not know."""
    for fold in folds:
        _demand_as_many(len(fold.result), len(folds[0].result))
    test = np.concatenate([fold.test for fold in folds])
    known = np.concatenate([np.isin(rows.y[fold.test], fold.classes) for fold in folds])
    if not known.all():
        lost = np.unique(rows.y[test[~known]]).tolist()
        warnings.warn(
            f"{np.count_nonzero(~known)} rows of {lost} are in folds whose training rows hold no "
            "such class. Calibration does without them. Use fewer folds or a stratified splitter.",
            CalibrationWarning,
            stacklevel=3,
        )
    proba = np.concatenate([fold.result for fold in folds], axis=1)
    order = np.argsort(test, kind="stable")
    order = order[known[order]]
    weight = None if rows.weight is None else rows.weight[test[order]]
    if not len(order) or (weight is not None and not weight.any()):
        raise ValueError(
            "No row of positive weight is left to calibrate on: no fold was trained on the classes "
            "of its test rows. Use a stratified splitter, or fewer folds."
        )
    return proba[:, order], rows._replace(y=rows.y[test[order]], weight=weight)


def _fit_calibrators(calibrator: Any, proba: ndarray, rows: Rows) -> list[Any]:
    """Fit one calibrator for each of ``(k, n, c)``."""
    optional: dict[str, Any] = {"sample_weight": rows.weight, "labels": rows.classes}
    if rows.weight is None:
        del optional["sample_weight"]
    takes = inspect.signature(calibrator.fit).parameters.values()
    if not any(p.name == "labels" or p.kind is p.VAR_KEYWORD for p in takes):
        del optional["labels"]
    fitted = []
    for p in proba:
        one = clone(calibrator)
        fitted.append(one.fit(_scores_for(one, p), rows.y, **optional))
        _calibrate(fitted[-1], p[:1])  # a map that does not fit shows now, not in prediction
    return fitted


def _demand_as_many(n_members: int, expected: int) -> None:
    if n_members != expected:
        raise ValueError(
            f"Each member has a calibrator of its own, so the number of members must not change. "
            f"Expected {expected} members. Got {n_members}."
        )

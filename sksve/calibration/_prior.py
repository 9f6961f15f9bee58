"""Other class shares than those of training, and other costs than one per error."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy import ndarray
from sklearn.utils.validation import check_is_fitted

from sksve._arrays import as_real, in_label_order, shown
from sksve._exceptions import CalibrationWarning
from sksve.calibration._answers import DelegatingMixin, MappingMixin
from sksve.calibration._scores import normalise
from sksve.calibration._wrapper import ClassifierWrapper, read_proba

# Change of a share at which the EM algorithm has converged, and its most steps.
CONVERGED, MOST_STEPS = 1e-8, 20_000


class PriorCorrection(MappingMixin, ClassifierWrapper):
    r"""A classifier whose probabilities follow other class shares than those it was trained on.

    If classes become more or less frequent while rows of a class stay alike (label shift), then

    .. math:: q_k(x) \propto p_k(x)\, \frac{\pi'_k}{\pi_k},

    with the shares :math:`\pi` in the probabilities and :math:`\pi'` now. :meth:`adapt` takes these, or
    estimates them from unlabelled rows by the EM algorithm of Saerens et al., which maximises their
    likelihood. Predictions never adapt by themselves: a row's answer does not depend on its batch.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``, which should be calibrated: wrap ``CalibratedClassifier``. `X` may be
        whatever it takes, texts too. One in ``FrozenEstimator`` is not fitted again.
    source_priors : array-like of shape (n_classes,), mapping of label to share, or None, default=None
        The shares that the probabilities reflect; an array in the order of ``classes_``. None: those of
        the rows given to ``fit``. Give them where others hold: equal ones after
        ``class_weight="balanced"`` or resampling, those of the calibration rows after calibration.

    Attributes
    ----------
    estimator_ : classifier
        The fitted estimator, or the ``FrozenEstimator``.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    source_priors_ : ndarray of shape (n_classes,)
        The shares in the estimator's probabilities.
    priors_ : ndarray of shape (n_classes,)
        The shares in this wrapper's probabilities; after ``fit`` equal to ``source_priors_``.
    n_iter_ : int
        Steps of the EM algorithm; 0 where the shares were given.
    n_features_in_ : int
        If the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features,)
        If the fitted estimator has them.

    See Also
    --------
    CostSensitiveClassifier : Other costs instead of other shares.

    References
    ----------
    .. [1] Saerens, M., Latinne, P. and Decaestecker, C. (2002). Adjusting the Outputs of a Classifier to
           New a Priori Probabilities. Neural Computation 14, 21-41. :doi:`10.1162/089976602753284446`
    .. [2] Alexandari, A., Kundaje, A. and Shrikumar, A. (2020). Maximum Likelihood with Bias-Corrected
           Calibration is Hard-To-Beat at Label Shift Adaptation. ICML. :arxiv:`1901.06852`

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sksve.calibration import PriorCorrection
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = PriorCorrection(GaussianNB()).fit(X[::2], y[::2])
    >>> clf.adapt(X[50:110]).priors_.round(2)  # 50 rows of class 1, 10 of class 2
    array([0.  , 0.83, 0.17])
    """

    _saved: ClassVar[dict[str, Any]] = {
        "classes_": ndarray, "source_priors_": ndarray, "priors_": ndarray, "n_iter_": int,
    }  # fmt: skip

    def __init__(self, estimator: Any, *, source_priors: Any = None) -> None:
        self.estimator = estimator
        self.source_priors = source_priors

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit the estimator, and take the shares of the classes.

        Parameters
        ----------
        X : sequence or array-like of length n_samples
            As the estimator takes it.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Counts in the shares, and goes to the estimator if its ``fit`` takes it (with metadata
            routing: if it requests it).
        **fit_params : dict
            For the estimator's ``fit``. With metadata routing: as requested.

        Returns
        -------
        self : object
            The fitted wrapper.

        Raises
        ------
        ValueError
            If the data or `source_priors` are at fault, or a class that the estimator knows has no rows
            and `source_priors` is None.
        """
        self._demand_instance(proba="a correction of priors")
        rows = self._read_rows(X, y, sample_weight)
        if self.source_priors is None:
            codes = np.searchsorted(rows.classes, rows.y)
            counts = np.bincount(codes, rows.weight, minlength=len(rows.classes))
            source = counts / counts.sum()
        else:
            source = _read_priors(self.source_priors, rows.classes, "source_priors")
        if not source.all():
            raise ValueError(
                f"The source priors of {shown(rows.classes[source == 0])} are 0, which no other share can "
                "be corrected for. Pass source_priors=, the shares behind the estimator's probabilities."
            )
        self.estimator_ = self._fit_whole(rows, sample_weight, fit_params)
        self.classes_, self.source_priors_ = rows.classes, source
        self.priors_, self.n_iter_ = source.copy(), 0
        return self

    def adapt(self, X: Any = None, *, priors: Any = None) -> Self:
        """Correct for new shares of the classes, from now on.

        Parameters
        ----------
        X : as in fit, default=None
            Rows without labels, drawn as those to come; the shares are estimated from them.
        priors : array-like of shape (n_classes,) or mapping of label to share, default=None
            The shares themselves, in place of `X`; an array in the order of ``classes_``.

        Returns
        -------
        self : object
            Adapted; ``adapt`` again replaces the shares.

        Raises
        ------
        ValueError
            If not just one of `X` and `priors` is given, or `priors` are no shares of the classes.

        Warns
        -----
        CalibrationWarning
            If the shares have not settled after 20,000 steps.
        """
        check_is_fitted(self)
        if (X is None) == (priors is None):
            raise ValueError("Pass either rows without labels, adapt(X), or adapt(priors=...).")
        if priors is not None:
            self.priors_, self.n_iter_ = _read_priors(priors, self.classes_, "priors"), 0
        else:
            proba = read_proba(self.estimator_, X, classes=self.classes_)[0]
            self.priors_, self.n_iter_ = _estimate_priors(proba, self.source_priors_)
        return self

    def _map_proba(self, proba: ndarray) -> ndarray:
        return normalise(proba * (self.priors_ / self.source_priors_), fallback=proba)


def _estimate_priors(proba: ndarray, source: ndarray) -> tuple[ndarray, int]:
    """Shares of largest likelihood, and the steps of the EM algorithm that led there."""
    priors = source
    for step in range(1, MOST_STEPS + 1):
        new = normalise(proba * (priors / source), fallback=proba).mean(axis=0)
        moved = np.abs(new - priors).max()
        priors = new
        if moved < CONVERGED:
            return priors, step
    warnings.warn(
        f"The shares still move by {moved:.1g} after {MOST_STEPS:,} steps: the classifier hardly tells "
        "the classes apart, so that many shares fit equally well.",
        CalibrationWarning,
        stacklevel=3,
    )
    return priors, MOST_STEPS


def _read_priors(priors: Any, classes: ndarray, name: str) -> ndarray:
    """Shares in the order of the classes, from an array, a mapping or a Series by label."""
    if hasattr(priors, "to_dict"):
        priors = priors.to_dict()
    if isinstance(priors, Mapping):
        if set(priors) != set(classes.tolist()):
            raise ValueError(
                f"{name} must give a share for each of {shown(classes)}. Got {shown(list(priors))}."
            )
        priors = [priors[label] for label in classes.tolist()]
    shares = as_real(priors, name).astype(np.float64)
    if shares.shape != classes.shape:
        raise ValueError(
            f"{name} must have shape {classes.shape}, a share for each of {shown(classes)}. Got shape "
            f"{shares.shape}."
        )
    if not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-3:
        raise ValueError(f"{name} must not be negative and sum to 1. Got {shown(shares)}.")
    return shares / shares.sum()


class CostSensitiveClassifier(DelegatingMixin, ClassifierWrapper):
    r"""A classifier that decides for the class of least expected cost.

    .. math:: \hat y(x) = \arg\min_j \sum_k p_k(x)\, C_{kj},

    with the cost :math:`C_{kj}` of deciding for j where k is true. Probabilities and all other answers are
    the estimator's; what decisions are worth depends on their calibration, so wrap
    ``CalibratedClassifier``.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``. `X` may be whatever it takes, texts too. One in ``FrozenEstimator`` is not
        fitted again.
    cost_matrix : DataFrame, mapping or array-like of shape (n_classes, n_classes), default=None
        What a decision costs: a frame with the true labels as index and the decisions as columns, a
        mapping ``{true: {decision: cost}}``, in which right decisions may be left out and cost 0, or an
        array in the order of ``classes_``. Negative costs are gains. None: every error costs 1.

    Attributes
    ----------
    estimator_ : classifier
        The fitted estimator, or the ``FrozenEstimator``.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    cost_matrix_ : ndarray of shape (n_classes, n_classes)
        Costs: a row for each true class, a column for each decision.
    n_features_in_ : int
        If the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features,)
        If the fitted estimator has them.

    See Also
    --------
    sklearn.model_selection.TunedThresholdClassifierCV : Two classes: a threshold tuned for any score.
    PriorCorrection : Other class shares.

    References
    ----------
    .. [1] Elkan, C. (2001). The Foundations of Cost-Sensitive Learning. IJCAI.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sksve.calibration import CostSensitiveClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> y = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
    >>> costs = {
    ...     "setosa": {"versicolor": 1, "virginica": 1},
    ...     "versicolor": {"setosa": 1, "virginica": 1},
    ...     "virginica": {"setosa": 50, "versicolor": 50},  # to miss a virginica is dear
    ... }
    >>> clf = CostSensitiveClassifier(GaussianNB(), costs).fit(X, y)
    >>> clf.estimator_.predict(X[70:71]).item(), clf.predict(X[56:57]).item()
    ('virginica', 'virginica')
    """

    _saved: ClassVar[dict[str, Any]] = {"classes_": ndarray, "cost_matrix_": ndarray}

    def __init__(self, estimator: Any, cost_matrix: Any = None) -> None:
        self.estimator = estimator
        self.cost_matrix = cost_matrix

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : sequence or array-like of length n_samples
            As the estimator takes it.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Goes to the estimator if its ``fit`` takes it (with metadata routing: if it requests it).
        **fit_params : dict
            For the estimator's ``fit``. With metadata routing: as requested.

        Returns
        -------
        self : object
            The fitted wrapper.

        Raises
        ------
        ValueError
            If the data or `cost_matrix` are at fault; before the estimator is fitted.
        """
        self._demand_instance(proba="an expected cost")
        rows = self._read_rows(X, y, sample_weight)
        costs = _read_costs(self.cost_matrix, rows.classes)
        self.estimator_ = self._fit_whole(rows, sample_weight, fit_params)
        self.classes_, self.cost_matrix_ = rows.classes, costs
        return self

    def expected_costs(self, X: Any) -> ndarray:
        """Expected cost of every decision for every row.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the unit of `cost_matrix`, columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        return read_proba(self.estimator_, X, classes=self.classes_)[0] @ self.cost_matrix_

    def predict(self, X: Any) -> ndarray:
        """Class of least expected cost.

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
        return self.classes_[self.expected_costs(X).argmin(axis=1)]


def _read_costs(costs: Any, classes: ndarray) -> ndarray:
    """Costs ``(c, c)`` in the order of the classes, from a frame, a mapping or an array."""
    c = len(classes)
    if costs is None:
        return 1.0 - np.eye(c)
    names = classes.tolist()
    if isinstance(costs, Mapping):
        given = [(true, decision) for true in costs for decision in costs[true]]
        unknown = sorted({str(label) for pair in given for label in pair if label not in names})
        missing = [(k, j) for k in names for j in names if k != j and j not in costs.get(k, {})]
        if unknown or missing:
            what = f"unknown labels {unknown}" if unknown else f"no cost of {missing[0]}"
            raise ValueError(
                f"cost_matrix must give costs[true][decision] for every pair of {shown(classes)}. Got "
                f"{what}."
            )
        costs = [[costs.get(k, {}).get(j, 0.0) for j in names] for k in names]
    elif hasattr(costs, "columns") and hasattr(costs, "index"):
        index = costs.index.tolist()
        if sorted(map(str, index)) != sorted(map(str, names)):
            raise ValueError(
                f"The rows of cost_matrix are named {shown(index)}, but the labels are {shown(classes)}."
            )
        costs = in_label_order(costs, classes, "cost_matrix")
        place = {str(label): row for row, label in enumerate(index)}
        costs = costs[[place[str(label)] for label in names]]
    matrix = as_real(costs, "cost_matrix").astype(np.float64)
    if matrix.shape != (c, c) or not np.isfinite(matrix).all():
        raise ValueError(
            f"cost_matrix must hold a finite cost for each true class (rows) and decision (columns), shape "
            f"{(c, c)} for {shown(classes)}. Got shape {matrix.shape}"
            + ("." if np.isfinite(matrix).all() else ", not all finite.")
        )
    return matrix

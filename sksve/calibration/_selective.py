"""A classifier that says where it is not sure."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy import ndarray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sksve._exceptions import CalibrationWarning
from sksve._validation import check_parameters
from sksve.calibration._answers import DelegatingMixin
from sksve.calibration._confidence import MEASURES, read_answers, score_rows, too_novel
from sksve.calibration._threshold import (
    OperatingPoint,
    measure_at,
    threshold_for_accuracy,
    threshold_for_coverage,
    threshold_for_risk,
    what_can_be_guaranteed,
)
from sksve.calibration._wrapper import ClassifierWrapper
from sksve.metrics._inputs import label_kind
from sksve.metrics._predict_uncertainty import has_members

_SHARE = Interval(Real, 0, 1, closed="neither")
CONSTRAINTS = {
    "coverage": [Interval(Real, 0, 1, closed="right"), None],
    "max_risk": [_SHARE, None],
    "target_accuracy": [_SHARE, None],
    "max_novelty": [Interval(Real, 0, 1, closed="both"), None],
    "measure": [StrOptions(set(MEASURES)), callable],
    "cv": [StrOptions({"auto"}), _SHARE, "cv_object"],
    "confidence_level": [_SHARE],
    "n_jobs": [Integral, None],
}


class SelectiveClassifier(DelegatingMixin, ClassifierWrapper):
    r"""A classifier that abstains where it is not sure.

    A row is answered if its confidence score s(x) is at least a threshold, learned on held-out rows:

    - ``coverage=c``: a new row is answered with probability at least c;
    - ``max_risk=r``: as many rows are answered as the risk, the share of wrong answers among those
      given, allows: with probability `confidence_level` over the held-out rows, the risk on new rows
      is at most r. If no threshold guarantees that, it warns, says what could be guaranteed, and
      answers nothing;
    - ``target_accuracy=a``: as many rows are answered as leave the share of right answers at a, by
      estimate: at each threshold alone it would be at least a in four of five data sets. On average over
      data sets the target is met; there is no guarantee for the one at hand, and the fewer rows it
      answers, the less should be believed.

    With `max_novelty`, rows of another kind than the training rows are declined before that, however
    confident the classifier is of them; `coverage` counts them as not answered.

    ``predict`` gives a label for every row, as any classifier's, unless `reject_label` is set;
    :meth:`accepts` says which rows are answered, and :meth:`predict_selective` masks the others.

    Parameters
    ----------
    estimator : classifier
        `X` may be whatever it takes, texts too.
    coverage : float in (0, 1], default=None
        Share of rows to answer. Give this, `max_risk` or `target_accuracy`.
    max_risk : float in (0, 1), default=None
        Largest share of wrong answers among those given, guaranteed.
    target_accuracy : float in (0, 1), default=None
        Share of right answers among those given, estimated.
    max_novelty : float in [0, 1], default=None
        Largest ``novelty`` (see ``SVEClassifier.predict_uncertainty``) of a row that is answered: 0.95
        declines about one in twenty rows like the training rows, and nearly all foreign ones. Needs a
        classifier with members inside. None: no row is declined for it.
    measure : {"confidence", "margin", "entropy", "epistemic"} or callable, default="confidence"
        The confidence score: the largest probability; its distance to the second largest; minus the
        entropy; minus the epistemic uncertainty of the ensemble inside. A callable takes
        ``(fitted estimator, X)`` and returns ``(n_samples,)``, larger where more confident.
    cv : "auto", float in (0, 1), int, splitter or iterable, default="auto"
        "auto": 0.25, and with `target_accuracy` 5 folds. A float holds out this share of the rows,
        stratified, and the estimator is fitted on the others only: the interval speaks of the very model
        that answers. Otherwise all rows are judged out-of-fold and the estimator is fitted on all: no
        row is lost, but the threshold is learned from other models than the one that answers, so its
        guarantee is approximate. Not used with ``FrozenEstimator``: then all rows given are held out.
    confidence_level : float, default=0.95
        Level of the intervals and of the guarantee for the risk.
    reject_label : label, default=None
        What ``predict`` gives where it abstains; of the labels' kind and none of them, such as -1 or
        "unsure". None: ``predict`` always answers. ``score`` counts it as wrong.
    n_jobs : int, default=None
        Folds fitted at the same time.
    random_state : int, RandomState or Generator, default=None
        Of the rows held out.

    Attributes
    ----------
    estimator_ : classifier
        The fitted estimator, or the ``FrozenEstimator``.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    threshold_ : float
        Least confidence score that is answered; infinite where nothing or everything is.
    coverage_ : float
        Share of the held-out rows answered.
    coverage_interval_ : tuple of float
        Of the share of new rows answered.
    risk_ : float
        Share of wrong answers among those given on held-out rows; NaN if there are none.
    risk_interval_ : tuple of float
        Of the risk on new rows. With `max_risk`, widened for having chosen among thresholds: its
        upper end is guaranteed. With `target_accuracy`, that of the chosen threshold as if it had been
        fixed beforehand.
    n_held_out_ : int
        Rows the threshold was learned from.
    n_features_in_ : int
        If the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features,)
        If the fitted estimator has them.

    See Also
    --------
    CalibratedClassifier : Calibrates the confidence; wrap it in this class.
    sksve.metrics.risk_coverage_curve : Risk at every coverage.

    Notes
    -----
    For `coverage`, the threshold is the k-th largest of n held-out values,
    :math:`k = \lceil c\,(n + 1) \rceil`. For `max_risk`, Clopper and Pearson's upper bounds at
    :math:`\sqrt n / 3` thresholds, 8 to 32, hold together (Bonferroni), and the one that answers most
    is taken, as in [1]_. There the thresholds are found by bisection; here they are ranks fixed
    beforehand, because a path that depends on the labels is not covered by a union over its own length.
    Both guarantees hold for any measure and any model, if held-out and new rows are drawn alike. A
    weight of 2 counts as two rows, in the guarantees too.

    For `target_accuracy`, the smallest threshold is taken at which Clopper and Pearson's one-sided 80 % bound
    for the held-out rows above it allows it: for 0.95, no wrong row among 32, or one among 59. Rows that
    `max_novelty` declines count among the n, but in no threshold.

    References
    ----------
    .. [1] Geifman, Y. and El-Yaniv, R. (2017). Selective Classification for Deep Neural Networks.
           NeurIPS. :arxiv:`1705.08500`

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sksve.calibration import SelectiveClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> clf = SelectiveClassifier(GaussianNB(), max_risk=0.1, random_state=0).fit(X[:400], y[:400])
    >>> clf.coverage_, round(clf.risk_, 3), round(clf.risk_interval_[1], 3)
    (0.92, 0.022, 0.094)
    >>> clf.predict_selective(X[538:542])
    masked_array(data=[1, 1, 1, --],
                 mask=[False, False, False,  True],
           fill_value=999999)
    """

    _saved: ClassVar[dict[str, Any]] = {
        "classes_": ndarray, "threshold_": float, "coverage_": float, "coverage_interval_": tuple,
        "risk_": float, "risk_interval_": tuple, "n_held_out_": int,
    }  # fmt: skip

    def __init__(
        self,
        estimator: Any,
        *,
        coverage: float | None = None,
        max_risk: float | None = None,
        target_accuracy: float | None = None,
        max_novelty: float | None = None,
        measure: Any = "confidence",
        cv: Any = "auto",
        confidence_level: float = 0.95,
        reject_label: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.coverage = coverage
        self.max_risk = max_risk
        self.target_accuracy = target_accuracy
        self.max_novelty = max_novelty
        self.measure = measure
        self.cv = cv
        self.confidence_level = confidence_level
        self.reject_label = reject_label
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit the estimator and learn the threshold on rows it has not seen.

        Parameters
        ----------
        X : sequence or array-like of length n_samples
            As the estimator takes it.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Counts in the threshold always, and goes to the estimator if its ``fit`` takes it (with
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
            If `max_risk` cannot be guaranteed, or no threshold reaches `target_accuracy`: then no row is
            answered.
        """
        self._check_parameters()
        rows = self._read_rows(X, y, sample_weight)
        self._check_reject_label(rows.classes)
        fitted, folds = self._fit_and_read(
            rows,
            partial(read_answers, measure=self.measure, max_novelty=self.max_novelty),
            sample_weight,
            fit_params,
            self.random_state,
        )
        test = np.concatenate([fold.test for fold in folds])
        score = np.concatenate([fold.result[0] for fold in folds])
        correct = np.concatenate([fold.result[1] for fold in folds]) == rows.y[test]
        weight = None if rows.weight is None else rows.weight[test]
        if weight is not None:
            if not weight.any():
                raise ValueError(
                    "Every held-out row has weight zero, so no threshold can be learned."
                )
            some = weight > 0
            score, correct, weight = score[some], correct[some], weight[some]
        point = self._choose(score, correct, weight)
        self.estimator_ = fitted
        self.classes_ = np.asarray(fitted.classes_)
        self.n_held_out_ = len(score)
        self.threshold_ = point.threshold
        self.coverage_, self.coverage_interval_ = point.coverage, point.coverage_interval
        self.risk_, self.risk_interval_ = point.risk, point.risk_interval
        return self

    # -- answers ---------------------------------------------------------------------------------

    def confidence_score(self, X: Any) -> ndarray:
        """How confident the classifier is of each row, by `measure`.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples,)
            Larger where more confident; a row is answered from ``threshold_`` on, if it is not too novel.
        """
        check_is_fitted(self, "threshold_")
        return score_rows(self.estimator_, X, self.measure)

    def accepts(self, X: Any) -> ndarray:
        """Which rows are answered.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples,) and dtype bool
            False where the classifier abstains.
        """
        confident = self.confidence_score(X) >= self.threshold_
        return confident & ~too_novel(self.estimator_, X, self.max_novelty)

    def predict(self, X: Any) -> ndarray:
        """Label of every row; with `reject_label`, that one where the classifier abstains.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self, "threshold_")
        labels = self.estimator_.predict(X)
        if self.reject_label is None:
            return labels
        return np.where(self.accepts(X), labels, self.reject_label)

    def predict_selective(self, X: Any) -> np.ma.MaskedArray:
        """Labels, masked where the classifier abstains.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        numpy.ma.MaskedArray of shape (n_samples,)
            ``.compressed()`` gives the answers, ``.mask`` the abstentions, ``.filled(label)`` an array
            with a label of your own for these.
        """
        check_is_fitted(self, "threshold_")
        return np.ma.MaskedArray(self.estimator_.predict(X), mask=~self.accepts(X))

    # -- fit, step by step -----------------------------------------------------------------------

    def _check_parameters(self) -> None:
        owner = type(self).__name__
        check_parameters(CONSTRAINTS, self.get_params(deep=False), owner=owner)
        rules = {name: getattr(self, name) for name in ("coverage", "max_risk", "target_accuracy")}
        if sum(value is not None for value in rules.values()) != 1:
            values = ", ".join(f"{name}={value!r}" for name, value in rules.items())
            raise ValueError(
                f"{owner} needs one of 'coverage', 'max_risk' and 'target_accuracy'. Got {values}."
            )
        self._demand_instance()
        name = type(self.estimator).__name__
        if self.max_novelty is not None and not has_members(self.estimator):
            raise ValueError(
                f"max_novelty needs a classifier that knows its training rows, such as SVEClassifier or "
                f"LinearProbeClassifier, but {name} does not. sksve.NoveltyDetector can stand beside it."
            )
        if self.measure == "epistemic" and not has_members(self.estimator):
            raise ValueError(
                f"measure='epistemic' needs an ensemble, but {name} has no members. Use another "
                f"measure: {', '.join(sorted(MEASURES))}."
            )
        if isinstance(self.measure, str) and self.measure != "epistemic":
            if not hasattr(self.estimator, "predict_proba"):
                raise ValueError(
                    f"measure={self.measure!r} needs predict_proba, which {name} does not have. Pass "
                    "a callable, such as lambda clf, X: abs(clf.decision_function(X)) for two classes."
                )

    def _chosen_cv(self) -> Any:
        if not isinstance(self.cv, str):
            return self.cv
        return 0.25 if self.target_accuracy is None else 5

    def _check_reject_label(self, classes: ndarray) -> None:
        if self.reject_label is None:
            return
        label = np.asarray([self.reject_label])
        if label_kind(label) != label_kind(classes) or self.reject_label in classes.tolist():
            raise ValueError(
                "The 'reject_label' parameter must be of the labels' kind and none of them. The "
                f"labels are {classes.tolist()}. Got {self.reject_label!r} instead."
            )

    def _choose(self, score: ndarray, correct: ndarray, weight: ndarray | None) -> OperatingPoint:
        level = self.confidence_level
        if self.coverage is not None:
            threshold = threshold_for_coverage(score, self.coverage, weight)
            return measure_at(threshold, score, correct, level, level, weight)
        if self.target_accuracy is not None:
            threshold = threshold_for_accuracy(score, correct, self.target_accuracy, weight)
            if threshold == np.inf:
                warnings.warn(
                    f"target_accuracy={self.target_accuracy:g} is not reached on {len(score)} held-out rows, "
                    "however few are answered, so the classifier abstains on every row. Lower it, or pass "
                    "more rows.",
                    CalibrationWarning,
                    stacklevel=3,
                )
            return measure_at(threshold, score, correct, level, level, weight)
        assert self.max_risk is not None
        threshold, risk_level = threshold_for_risk(score, correct, self.max_risk, level, weight)
        if threshold == np.inf:
            n = len(score) if weight is None else weight.sum()
            warnings.warn(
                f"max_risk={self.max_risk:g} cannot be guaranteed at level {level:g} from {n:g} "
                "held-out rows, so the classifier abstains on every row. "
                + what_can_be_guaranteed(score, correct, self.max_risk, level, weight),
                CalibrationWarning,
                stacklevel=3,
            )
        return measure_at(threshold, score, correct, level, risk_level, weight)

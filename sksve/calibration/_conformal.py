"""Sets of classes that hold the true one with a given probability."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy import ndarray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sksve._arrays import as_array, import_pandas
from sksve._exceptions import CalibrationWarning
from sksve._validation import Number, check_parameters
from sksve.calibration._answers import DelegatingMixin
from sksve.calibration._wrapper import ClassifierWrapper, read_proba
from sksve.metrics._curve import clopper_pearson

_SHARE = Interval(Real, 0, 1, closed="neither")
CONSTRAINTS = {
    "confidence_level": [_SHARE],
    "method": [StrOptions({"lac", "aps", "raps"})],
    "conditional": [StrOptions({"class"}), None],
    "cv": [_SHARE, "cv_object"],
    "penalty": [Number(Real, 0, None, closed="left")],
    "free_ranks": [Number(Integral, 0, None, closed="left")],
    "n_jobs": [Integral, None],
}


class CoverageEstimate(NamedTuple):
    """How often the sets of some rows hold their label, with Clopper and Pearson's interval."""

    n_samples: int
    coverage: float
    low: float
    high: float
    mean_size: float


@dataclass(frozen=True)
class CoverageReport:
    """What prediction sets do on rows with labels; made by ``ConformalClassifier.coverage_report``.

    Parameters
    ----------
    overall : CoverageEstimate
        Of all rows: ``n_samples``, ``coverage``, ``low``, ``high``, ``mean_size``.
    by_class : mapping of label to CoverageEstimate
        Of the rows of each class.
    sizes : ndarray of shape (n_classes + 1,)
        Number of rows whose set has 0, 1, ..., n_classes classes.
    confidence_level : float
        That of the sets.
    """

    overall: CoverageEstimate
    by_class: Mapping[Any, CoverageEstimate]
    sizes: ndarray
    confidence_level: float

    def to_frame(self) -> Any:
        """Return the estimates as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            A row for "all" and one for each class; columns ``n_samples``, ``coverage``, ``low``,
            ``high`` and ``mean_size``.
        """
        pd = import_pandas("to_frame")

        index = pd.Index(["all", *self.by_class], dtype=object, name="class")
        rows = [self.overall, *self.by_class.values()]
        return pd.DataFrame(rows, index=index, columns=CoverageEstimate._fields)


class ConformalClassifier(DelegatingMixin, ClassifierWrapper):
    r"""A classifier that gives sets of classes, which hold the true class as often as was asked for.

    The set of a row x holds class k if its conformity score s(x, k) is not among the worst of those that
    held-out rows have for their own labels,

    .. math:: C(x) = \Bigl\{k : 1 + \sum_i w_i\, [s_i \ge s(x, k)] > \alpha\, \bigl(1 + \sum_i w_i\bigr)
              \Bigr\}, \qquad \alpha = 1 - \text{confidence level}.

    If rows are exchangeable, a new row's set holds its class with probability at least
    `confidence_level`, whatever the classifier is: over the draw of held-out and new rows, on average, not
    for each row. With folds (`cv` of 2 and more) the guarantee is :math:`1 - 2\alpha` [3]_, and what is
    seen is near :math:`1 - \alpha`. All other answers are the estimator's.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``. `X` may be whatever it takes, texts too.
    confidence_level : float in (0, 1), default=0.9
        Probability that a set holds the true class. It may be changed after ``fit``.
    method : {"lac", "aps", "raps"}, default="lac"
        The score. "lac": one minus the class's probability; smallest sets, which may be empty. "aps": sum
        of the probabilities down to the class's own; sets grow with the row's difficulty, and hold the
        most probable class always, so that they cover somewhat more. "raps": as "aps", with a penalty on
        every rank below `free_ranks`, which cuts long tails of improbable classes.
    conditional : {"class"} or None, default=None
        "class": each class has held-out scores of its own, and the guarantee holds for every class
        alone. A class with too few held-out rows is in every set.
    cv : float in (0, 1), int, splitter or iterable, default=0.25
        A float holds out this share of the rows, stratified, and the estimator is fitted on the others
        only (split conformal). Otherwise cross-conformal: no row is lost, the models of all folds are
        kept and asked, and the guarantee is the weaker one. Not used with ``FrozenEstimator``: then all
        rows given are held-out rows.
    penalty : float, default=0.1
        Of "raps": what each rank costs.
    free_ranks : int, default=1
        Of "raps": ranks that cost nothing.
    n_jobs : int, default=None
        Folds fitted at the same time.
    random_state : int, RandomState or Generator, default=None
        Of the rows held out.

    Attributes
    ----------
    estimator_ : classifier
        The fitted estimator, or the ``FrozenEstimator``; with folds the one fitted on all rows.
    estimators_ : list of classifiers
        Those that the sets ask: ``estimator_``, or one for each fold.
    classes_ : ndarray of shape (n_classes,)
        Labels; columns of the sets.
    scores_ : list of lists of ndarrays
        Scores of held-out rows, sorted: for each of ``estimators_``, of all rows or of each class's.
    tails_ : list of lists of ndarrays
        Beside each score the weight of the rows whose score is at least as large, and a final 0.
    n_features_in_ : int
        If the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features,)
        If the fitted estimator has them.

    See Also
    --------
    SelectiveClassifier : Abstains instead of giving several classes.
    CalibratedClassifier : Calibrates the probabilities; wrap it in this class.

    Notes
    -----
    The scores of "aps" and "raps" are not randomised, so a row always has the same set, alone or among
    others. A weight of 2 counts as two rows.

    References
    ----------
    .. [1] Sadinle, M., Lei, J. and Wasserman, L. (2019). Least Ambiguous Set-Valued Classifiers with
           Bounded Error Levels. JASA 114, 223-234. :arxiv:`1609.00451`
    .. [2] Angelopoulos, A., Bates, S., Malik, J. and Jordan, M.I. (2021). Uncertainty Sets for Image
           Classifiers using Conformal Prediction. ICLR. :arxiv:`2009.14193` (aps of Romano et al., raps)
    .. [3] Romano, Y., Sesia, M. and Candès, E. (2020). Classification with Valid and Adaptive Coverage.
           NeurIPS. :arxiv:`2006.02544`

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sksve.calibration import ConformalClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ConformalClassifier(GaussianNB(), confidence_level=0.95, random_state=0).fit(X, y)
    >>> clf.predict_set(X[[0, 70, 133]])
    array([[ True, False, False],
           [False,  True,  True],
           [False,  True,  True]])
    """

    _saved: ClassVar[dict[str, Any]] = {
        "classes_": ndarray, "scores_": [[ndarray]], "tails_": [[ndarray]],
    }  # fmt: skip

    def __init__(
        self,
        estimator: Any,
        *,
        confidence_level: float = 0.9,
        method: str = "lac",
        conditional: str | None = None,
        cv: Any = 0.25,
        penalty: float = 0.1,
        free_ranks: int = 1,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.method = method
        self.conditional = conditional
        self.cv = cv
        self.penalty = penalty
        self.free_ranks = free_ranks
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit the estimator, and learn the scores of rows it has not seen.

        Parameters
        ----------
        X : sequence or array-like of length n_samples
            As the estimator takes it.
        y : array-like of shape (n_samples,)
            Labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Counts among the scores always, and goes to the estimator if its ``fit`` takes it (with
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
            If held-out rows, or those of a class, are too few for the level: their sets hold everything.
        """
        check_parameters(CONSTRAINTS, self.get_params(deep=False), owner=type(self).__name__)
        self._demand_instance(proba="a conformity score")
        rows = self._read_rows(X, y, sample_weight)
        read = partial(read_proba, classes=rows.classes)
        fitted, folds = self._fit_and_read(
            rows, read, sample_weight, fit_params, self.random_state, keep=True
        )
        codes = np.searchsorted(rows.classes, rows.y)
        scores, tails = [], []
        for fold in folds:
            own = codes[fold.test]
            score = self._score(fold.result[0])[np.arange(len(own)), own]
            weight = np.ones(len(own)) if rows.weight is None else rows.weight[fold.test]
            per_class = [own == k for k in range(len(rows.classes))]
            groups = per_class if self.conditional else [weight > 0]
            kept = [_sorted_tail(score[g & (weight > 0)], weight[g & (weight > 0)]) for g in groups]
            scores.append([score for score, _ in kept])
            tails.append([tail for _, tail in kept])
        self.classes_, self.scores_, self.tails_ = rows.classes, scores, tails
        self.estimator_ = fitted
        self._set_folds([fold.estimator for fold in folds if fold.estimator is not None])
        self._warn_few()
        return self

    def predict_set(self, X: Any) -> ndarray:
        """Return the classes that each row's set holds.

        Parameters
        ----------
        X : as in fit
            Rows to judge.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) and dtype bool
            Columns in the order of ``classes_``. ``clf.classes_[row]`` names a row's classes.
        """
        check_is_fitted(self)
        count, top = 0.0, None
        for estimator, scores, tails in zip(self.estimators_, self.scores_, self.tails_):
            proba = read_proba(estimator, X, classes=self.classes_)[0]
            new = self._score(proba)
            place = [np.searchsorted(scores[g], new[:, k]) for k, g in self._groups(scores)]
            count = count + np.stack(
                [tails[g][i] for i, (_, g) in zip(place, self._groups(scores))], 1
            )
            top = proba if top is None else top + proba
        alpha = 1.0 - self.confidence_level
        # Rounding must not let a row in whose count is just alpha's share.
        sets = count + 1.0 > alpha * (self._totals() + 1.0) * (1.0 + 1e-9)
        if self.method != "lac":
            assert top is not None  # there is an estimator
            sets[np.arange(len(sets)), top.argmax(axis=1)] = True
        return sets

    def coverage_report(self, X: Any, y: Any, *, interval_level: float = 0.95) -> CoverageReport:
        """How often sets hold the label, and how large they are, over all rows and by class.

        Parameters
        ----------
        X : as in fit
            Rows that took no part in ``fit``.
        y : array-like of shape (n_samples,)
            Their labels. A label that was not there in ``fit`` is in no set.
        interval_level : float, default=0.95
            Level of the intervals.

        Returns
        -------
        CoverageReport
            ``.overall``, ``.by_class``, ``.sizes`` and ``.to_frame()``.

        Raises
        ------
        ValueError
            If `X` and `y` differ in length, or there are no rows.
        """
        check_parameters(
            {"interval_level": [_SHARE]},
            {"interval_level": interval_level},
            owner="coverage_report",
        )
        labels = as_array(y, "y")
        sets = self.predict_set(X)
        if labels.shape != (len(sets),) or not len(sets):
            raise ValueError(f"y must hold one label a row: {len(sets)} rows. Got {labels.shape}.")
        own = labels[:, None] == self.classes_
        hit, size = (sets & own).any(axis=1), sets.sum(axis=1)

        def estimate(rows: ndarray) -> CoverageEstimate:
            n, hits = int(rows.sum()), int(hit[rows].sum())
            low, high = clopper_pearson(np.array([hits]), np.array([n]), interval_level)[0]
            return CoverageEstimate(n, hits / n, float(low), float(high), float(size[rows].mean()))

        by_class = {k: estimate(labels == k) for k in np.unique(labels).tolist()}
        sizes = np.bincount(size, minlength=len(self.classes_) + 1)
        everything = np.ones(len(sets), dtype=bool)
        return CoverageReport(estimate(everything), by_class, sizes, float(self.confidence_level))

    # -- how ---------------------------------------------------------------------------------------

    def _score(self, proba: ndarray) -> ndarray:
        """Conformity scores ``(n, c)``, larger where a class fits less; rounded, so that equal rows tie."""
        if self.method == "lac":
            return np.round(1.0 - proba, 12)
        order = np.argsort(-proba, axis=1, kind="stable")
        sums = np.take_along_axis(proba, order, axis=1).cumsum(axis=1)
        if self.method == "raps":
            ranks = np.arange(1, proba.shape[1] + 1)
            sums = sums + self.penalty * np.maximum(ranks - self.free_ranks, 0)
        score = np.empty_like(sums)
        np.put_along_axis(score, order, np.round(sums, 12), axis=1)
        return score

    def _groups(self, scores: list[ndarray]) -> list[tuple[int, int]]:
        """Each class and the place of its scores."""
        return [(k, k if len(scores) > 1 else 0) for k in range(len(self.classes_))]

    def _totals(self) -> ndarray:
        """Weight of the held-out rows behind each group of scores."""
        return np.sum([[tail[0] for tail in fold] for fold in self.tails_], axis=0)

    def _warn_few(self) -> None:
        totals, needed = self._totals(), np.ceil(1 / (1 - self.confidence_level) - 1 - 1e-9)
        if not (few := totals < needed).any():
            return
        names = ", ".join(map(repr, self.classes_[few].tolist())) if self.conditional else ""
        warnings.warn(
            f"A level of {self.confidence_level:g} needs at least {needed:g} held-out rows"
            + (f" of each class. Too few, so in every set: {names}." if names else "")
            + ("" if names else f", got {totals[0]:g}: every set holds all classes.")
            + " Hold out more rows, use folds (cv=5), or ask for a lower level.",
            CalibrationWarning,
            stacklevel=3,
        )

    def _fold_estimators(self) -> list[Any]:
        return [] if self.estimators_ == [self.estimator_] else self.estimators_

    def _set_folds(self, estimators: list[Any]) -> None:
        self.estimators_ = estimators or [self.estimator_]


def _sorted_tail(score: ndarray, weight: ndarray) -> tuple[ndarray, ndarray]:
    """Scores in order, and the weight from each one on, and 0 beyond the last."""
    order = np.argsort(score, kind="stable")
    tail = np.append(weight[order][::-1].cumsum()[::-1], 0.0)
    return score[order], tail

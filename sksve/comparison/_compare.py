"""Several models x several calibrators -> one record."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy import ndarray
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions

from sksve._validation import check_parameters
from sksve.calibration import make_calibrator
from sksve.comparison._models import Split, from_folds, from_test_set
from sksve.comparison._record import METRICS, UNCALIBRATED, Variant
from sksve.comparison._result import CalibrationComparison
from sksve.metrics import brier_score, negative_log_likelihood
from sksve.metrics._bootstrap import centre_of, interval_of
from sksve.metrics._inputs import Rows, make_generator, normalise_rows, reduce_rows
from sksve.metrics._kinds import kind_of
from sksve.metrics._report import MetricEstimate, headlines
from sksve.metrics._resampling import CommonResamples

FOLDS = 5  # of the calibration rows, to choose by
METHODS = ("temperature", "vector", "dirichlet", "beta", "isotonic")
_LOSSES = {
    "negative_log_likelihood": kind_of(negative_log_likelihood),
    "brier_score": kind_of(brier_score),
}


def compare_calibration(
    models: Mapping[str, Any],
    X_cal: Any,
    y_cal: Any,
    X_test: Any = None,
    y_test: Any = None,
    *,
    methods: Any = METHODS,
    cv: Any = None,
    groups: Any = None,
    labels: Any = None,
    choose_by: str = "negative_log_likelihood",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    random_state: Any = None,
) -> CalibrationComparison:
    r"""Compare models and calibrators: which to pick, how good it is, and how sure that is.

    Every model is calibrated by every method on the calibration rows and judged on the test rows;
    the model as it is, method ``"none"``, always takes part. The pick is made by the loss on the
    *calibration* rows, where each calibrator is judged on rows it did not learn from (5-fold
    cross-fitting): choosing by the test rows would flatter the winner. It is the model with the
    lowest loss, with the first of its methods that comes within one standard error of that. On the
    test rows all variants share their bootstrap resamples, so that a difference

    .. math:: \hat\Delta_{ab} = \theta(p_a, y) - \theta(p_b, y)

    is judged by its own spread, which is far smaller than that of either metric.

    Parameters
    ----------
    models : mapping of str to classifier or (proba_cal, proba_test)
        Fitted classifiers, or probabilities of shape (n_samples, n_classes) of calibration and test
        rows; two classes: also (n_samples,), of the positive class. With `cv`: classifiers, which
        are cloned and fitted (a ``FrozenEstimator`` stays as it is).
    X_cal : array-like or None
        Calibration rows: none of them may have trained a model. None if all models are pairs.
        With `cv`: all rows.
    y_cal : array-like of shape (n_calibration,)
        Their labels.
    X_test, y_test : array-like, default=None
        Test rows and labels. Left out: `cv` is needed.
    methods : sequence of str or calibrator, or mapping of str to either
        Calibrators, by default temperature, vector, dirichlet, beta and isotonic; names as in
        :data:`sksve.calibration.CALIBRATORS`, or objects, which are cloned. Simple ones first: of
        methods that the calibration rows do not tell apart, the first one is picked.
    cv : int, splitter or iterable, default=None
        Cross-validation in place of a test set, as scikit-learn takes it; at least 3 folds that hold
        each row once. Each fold is the test set once, the fold after it calibrates, the models learn
        from the others.
    groups : array-like of shape (n_calibration,), default=None
        Groups for `cv`.
    labels : array-like of shape (n_classes,), default=None
        Labels of the columns. None: ``classes_`` of the first classifier, else the sorted labels.
    choose_by : {"negative_log_likelihood", "brier_score"}, default="negative_log_likelihood"
        Loss by which the pick is made; both are proper.
    confidence_level : float, default=0.95
        Level of the intervals; one minus it is the level of the tests.
    n_resamples : int, default=1000
        Bootstrap resamples of the test rows.
    random_state : int, Generator, RandomState or None, default=None
        Source of the folds and resamples. None: others each time.

    Returns
    -------
    comparison : CalibrationComparison
        ``.pick``, ``.advice()``, ``.to_frame()``, ``.differences()``, ``.plot()``,
        ``.to_html(path)``.

    Raises
    ------
    ValueError
        If models, methods, labels, rows, probabilities or parameters are not as above, or a
        calibrator fails; the message names the model.
    NotFittedError
        If a classifier is not fitted and there is no `cv`.

    See Also
    --------
    sksve.calibration.CalibratedClassifier : Calibrates the model that was picked.
    sksve.metrics.calibration_report : One set of probabilities.

    Notes
    -----
    Intervals and tests tell how much the test rows leave open, given the fitted models and
    calibrators; that another training set would give other models is not in them.

    References
    ----------
    .. [1] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K.Q. (2017). On Calibration of Modern Neural
           Networks. ICML. :arxiv:`1706.04599`
    .. [2] Hsu, J.C. (1984). Constrained Simultaneous Confidence Intervals for Multiple Comparisons
           with the Best. Annals of Statistics 12, 1136-1144. :doi:`10.1214/aos/1176346732`
    .. [3] Westfall, P.H. and Young, S.S. (1993). Resampling-Based Multiple Testing. Wiley.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sksve import compare_calibration
    >>> X, y = load_digits(return_X_y=True)
    >>> model = GaussianNB().fit(X[:600], y[:600])
    >>> found = compare_calibration(
    ...     {"bayes": model}, X[600:1200], y[600:1200], X[1200:], y[1200:],
    ...     methods=["temperature"], n_resamples=100, random_state=0,
    ... )
    >>> found
    Calibration comparison: 1 models x 2 methods, 597 test rows, 10 classes
                                   NLL     Brier       ECE  Accuracy
      bayes, uncalibrated       5.4...    0.4...    0.2...    0.7...
    * bayes with temperature    0.8...    0.3...    0.0...    0.7...
    * the pick, by the calibration rows. NLL in nats, Brier from 0 (best) to 2.
    """
    check_parameters(
        {
            "choose_by": [StrOptions(set(_LOSSES))],
            "confidence_level": [Interval(Real, 0, 1, closed="neither")],
            "n_resamples": [Interval(Integral, 2, None, closed="left")],
        },
        {
            "choose_by": choose_by,
            "confidence_level": confidence_level,
            "n_resamples": n_resamples,
        },
        owner="compare_calibration",
    )
    calibrators = _read_methods(methods)
    rng = make_generator(random_state)
    if y_test is None and X_test is None:
        if cv is None:
            raise ValueError(
                "Neither test rows nor cv are given. Pass X_test and y_test, or cv=5 to fit and judge "
                "the models by cross-validation on X_cal and y_cal."
            )
        data = from_folds(models, X_cal, y_cal, cv, groups, labels)
    elif cv is not None or y_test is None:
        got = "both test rows and cv" if cv is not None else "X_test without y_test"
        raise ValueError(f"Pass either X_test and y_test or cv. Got {got}.")
    else:
        data = from_test_set(models, X_cal, y_cal, X_test, y_test, labels)
    loss = _LOSSES[choose_by]
    assert loss is not None  # both are ours
    probabilities, losses = _calibrate(data.splits, calibrators, len(data.codes), loss.core, rng)
    judged = _judge(probabilities, data.codes, data.labels, confidence_level, n_resamples, rng)
    return CalibrationComparison(
        labels=data.labels,
        y_test=data.labels[data.codes],
        probabilities=probabilities,
        **judged,
        choice={variant: float(row_losses.mean()) for variant, row_losses in losses.items()},
        pick=choose(losses),
        choose_by=choose_by,
        n_calibration=sum(len(split.codes) for split in data.splits),
        n_folds=len(data.splits) if cv is not None else 0,
        confidence_level=float(confidence_level),
        rows=X_test if cv is None else X_cal,
    )


def _judge(probabilities, codes, labels, confidence_level, n_resamples, rng) -> dict[str, Any]:
    """Metrics of every variant, their intervals, and the resamples behind them."""
    resamples = CommonResamples(len(codes), n_resamples, rng)
    metrics = {}
    draws: dict[str, list] = {name: [] for name in METRICS}
    centres: dict[str, list] = {name: [] for name in METRICS}
    for variant, proba in probabilities.items():
        rows = Rows(codes, proba, None, labels)
        top = reduce_rows(codes, proba)
        jobs = headlines(rows, top)
        drawn = resamples.evaluate({name: jobs[name][0] for name in METRICS}, rows, top)
        estimates = {}
        for name in METRICS:
            kind, value = jobs[name]
            interval = interval_of(
                kind, value, rows, confidence_level, n_resamples, rng, top, drawn[name]
            )
            estimates[name] = MetricEstimate(value, *interval)
            draws[name].append(drawn[name])
            # Metrics with a centre of their own read the predicted class.
            centres[name].append(centre_of(kind, value, top, None))
        metrics[variant] = estimates
    return {
        "metrics": metrics,
        "draws": {name: np.array(values) for name, values in draws.items()},
        "centres": {name: np.array(values) for name, values in centres.items()},
    }


def _read_methods(methods: Any) -> dict[str, Any]:
    """Names -> unfitted calibrators; the first one is None, no calibration."""
    if isinstance(methods, Mapping):
        named = list(methods.items())
    elif isinstance(methods, str) or not isinstance(methods, Sequence):
        raise ValueError(
            "methods must be a list of calibrators (names or objects) or a mapping of names to "
            f"calibrators. Got {methods!r}."
        )
    else:
        named = [(m if isinstance(m, str) else type(m).__name__, m) for m in methods]
    calibrators: dict[str, Any] = {UNCALIBRATED: None}
    for name, method in named:
        if method is None or (isinstance(method, str) and method == UNCALIBRATED):
            continue
        if name in calibrators:
            raise ValueError(
                f"Two methods are called {name!r}. Pass a mapping with a name of its own for each."
            )
        calibrators[str(name)] = make_calibrator(method)
        if getattr(calibrators[str(name)], "input", "proba") != "proba":
            raise ValueError(
                f"Method {name!r} expects logits, but models give probabilities. "
                'Pass it with input="proba".'
            )
    return calibrators


def _calibrate(
    splits: Sequence[Split],
    methods: Mapping[str, Any],
    n_test: int,
    losses: Any,
    rng: np.random.Generator,
) -> tuple[dict[Variant, ndarray], dict[Variant, ndarray]]:
    """Return each variant's test probabilities, and its losses on the calibration rows.

    These losses are cross-fitted: a calibrator is judged on calibration rows it did not learn from, so
    that a flexible one gains nothing by memorising them. Test labels play no part in it.
    """
    folds = [_folds(split.codes, rng) for split in splits]
    proba: dict[Variant, ndarray] = {}
    choice: dict[Variant, ndarray] = {}
    for model in splits[0].cal:
        for name, method in methods.items():
            parts, scores = None, []
            for split, fold in zip(splits, folds):
                cal, test = split.cal[model], split.test[model]
                try:
                    mapped = _fit_map(method, cal, split.codes, test)
                    held_out = _cross_fit(method, cal, split.codes, fold)
                except ValueError as error:
                    raise ValueError(f"Method {name!r} on model {model!r}: {error}") from error
                if parts is None:
                    parts = np.empty((n_test, test.shape[1]))
                parts[split.rows] = mapped
                scores.append(losses(split.codes, held_out))
            assert parts is not None  # there is at least one split
            proba[model, name] = parts
            choice[model, name] = np.concatenate(scores)
    return proba, choice


def choose(losses: Mapping[Variant, ndarray]) -> Variant:
    """Pick by losses on the calibration rows, with the one-standard-error rule among calibrators.

    The model is that of the lowest mean loss. Of its calibrators the first one is taken, in the order
    given, whose loss is within one standard error of the difference (Breiman et al. 1984): what
    those rows do not tell apart is not worth the more flexible map.
    """
    best = min(losses, key=lambda variant: losses[variant].mean())
    for variant, loss in losses.items():
        behind = loss - losses[best]
        error = behind.std() / np.sqrt(len(behind))
        if variant[0] == best[0] and behind.mean() <= error:
            return variant
    raise AssertionError("the best variant is no worse than itself")


def _folds(codes: ndarray, rng: np.random.Generator) -> ndarray:
    """Fold of each row; every class is spread as evenly as can be."""
    n = len(codes)
    if n < 2:
        raise ValueError(f"At least 2 calibration rows are needed. Got {n}.")
    fold = np.empty(n, dtype=np.int64)
    fold[np.lexsort((rng.random(n), codes))] = np.arange(n) % min(FOLDS, n)
    return fold


def _cross_fit(method: Any, proba: ndarray, codes: ndarray, fold: ndarray) -> ndarray:
    if method is None:
        return proba
    calibrated = np.empty_like(proba)
    with warnings.catch_warnings():
        # What a calibrator has to say of all calibration rows is heard; of a part of them, not.
        warnings.simplefilter("ignore")
        for k in range(fold.max() + 1):
            out = fold == k
            calibrated[out] = _fit_map(method, proba[~out], codes[~out], proba[out])
    return calibrated


def _fit_map(method: Any, cal: ndarray, codes: ndarray, test: ndarray) -> ndarray:
    """Fit a fresh calibrator on some rows and apply it to others."""
    if method is None:
        return test
    calibrator = clone(method)
    takes = inspect.signature(calibrator.fit).parameters
    named = {"labels": np.arange(cal.shape[1])} if "labels" in takes else {}
    calibrator.fit(cal, codes, **named)
    proba = np.asarray(calibrator.predict_proba(test))
    if proba.shape != test.shape:
        raise ValueError(
            f"it returned shape {proba.shape} for probabilities of shape {test.shape}."
        )
    return normalise_rows(proba, "its result")

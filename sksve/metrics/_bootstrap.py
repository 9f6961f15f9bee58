"""Intervals around a metric: which kind, and the bootstrap of calibration errors and any callable."""

import inspect
import itertools
from numbers import Integral, Real

import numpy as np
from scipy.special import ndtr, ndtri
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics._binning import fill_bins, pool_bins, pool_classes, uniform_edges
from sksve.metrics._dirichlet import area_interval, mean_interval, proportion_interval
from sksve.metrics._inputs import counts_rows, make_generator, reduce_rows, validate_inputs
from sksve.metrics._kinds import ACCURACY, Kind, kind_of
from sksve.metrics._resampling import (
    bootstrap_sums,
    class_null_gaps,
    evaluate_counts,
    null_gaps,
    null_labels,
    resampled_rows,
    row_counts,
)
from sksve.metrics._selective import excess_risk_area

PARTS = 500  # evaluations of the jackknife, at most
INTERVAL_CONSTRAINTS = {
    "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    "n_resamples": [Interval(Integral, 2, None, closed="left")],
}


def bootstrap_interval(
    metric,
    y_true,
    y_proba,
    *,
    confidence_level=0.95,
    n_resamples=1000,
    random_state=None,
    labels=None,
    sample_weight=None,
):
    r"""Interval of a metric; which kind follows the metric.

    **Proportions** (:func:`selective_accuracy`, and accuracy: scikit-learn's ``accuracy_score``): Clopper
    and Pearson's exact interval of k right answers among n,

    .. math:: [\,B_{\alpha/2}(k, n - k + 1), \; B_{1 - \alpha/2}(k + 1, n - k)\,],
        \qquad \alpha = 1 - \mathrm{confidence\_level}

    with B the beta distribution's quantiles.

    **Means** (:func:`negative_log_likelihood`, :func:`brier_score`) and **areas** (:func:`aurc`,
    :func:`eaurc`): the same for losses of any size. Rows get independent weights
    :math:`w_i \sim \mathrm{Exp}(1)` (Dirichlet, once divided by their sum), and one more row joins, a random
    row's loss :math:`\ell^+` under its label or its most probable other label, whichever is larger,

    .. math:: \mathrm{high} = Q_{1 - \alpha/2} \Big(
        \frac{\sum_i w_i \ell_i + w_0 \ell^+}{\sum_i w_i + w_0} \Big)

    and for the low end the smaller one. So an error that no row has shown yet has its place. An area's
    high end takes in one error at a random rank, its low end nothing. Losses of 0 and 1 give Clopper and
    Pearson's interval.

    **Calibration errors**: the basic bootstrap, :math:`2 \hat\theta - q` for quantiles q of resampled rows,
    which removes the bias of binned errors. The low end is 0 unless the error exceeds its
    :math:`1 - \alpha/2` quantile under labels drawn from `y_proba`: chance alone may explain it. The high
    end is at least :math:`\hat\theta + q_{1/2} - q_{\alpha/2}`, because resamples overstate the bias where
    true gaps are about as large as those due to chance.

    **Any other callable**: the BCa bootstrap. It is approximate: near the end of a metric's range, and with
    few rows, it may hold the true value in 85 % of cases or fewer at a nominal 95 %.

    Every interval contains the metric's value, and those of our metrics stay in the metric's range.

    Parameters
    ----------
    metric : callable
        A metric of this module, also as ``functools.partial`` with options;
        ``sklearn.metrics.accuracy_score``, of the most probable class; or any
        ``metric(y_true, y_proba) -> float``, which gets ``labels`` and ``sample_weight`` if it takes them.
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    confidence_level : float, default=0.95
        Probability that the interval contains the true value.
    n_resamples : int, default=1000
        Number of resamples; proportions need none.
    random_state : int, Generator, RandomState or None, default=None
        Source of the draws. None: different draws each time.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`. Fixed once, because a resample may
        miss a class.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights. Whole numbers count rows: weight 2 equals the row twice. Others stay with their row and
        count as Kish's effective number of rows, :math:`(\sum w)^2 / \sum w^2`.

    Returns
    -------
    low, high : float
        Ends of the interval.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights or parameters are not as above.

    See Also
    --------
    calibration_report : Every metric with its interval.

    Notes
    -----
    Simulated coverage: docs/guide/intervals.md. The order of the rows changes no interval of a proportion,
    mean or area. With more than 16,384 rows, rows of nearly equal loss or confidence share a weight (gamma
    distributed); with more than 512 rows in a bin the sum of a resample's confidences there is drawn from its
    normal approximation.

    References
    ----------
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 1934, doi:10.1093/biomet/26.4.404. Rubin, "The Bayesian Bootstrap", Annals of Statistics
    1981, doi:10.1214/aos/1176345338. Efron, "Better Bootstrap Confidence Intervals", JASA 1987,
    doi:10.1080/01621459.1987.10478410. Davison and Hinkley, "Bootstrap Methods and their Application",
    Cambridge University Press 1997, doi:10.1017/CBO9780511802843. Kish, "Survey Sampling", Wiley 1965.

    Examples
    --------
    >>> import numpy as np
    >>> from sksve.metrics import bootstrap_interval, brier_score, expected_calibration_error
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=2000)
    >>> y = rng.uniform(size=2000) < p
    >>> low, high = bootstrap_interval(expected_calibration_error, y, p, random_state=0)
    >>> low, high < 0.05
    (0.0, True)
    >>> low, high = bootstrap_interval(brier_score, y, p, random_state=0)
    >>> low < brier_score(y, p) < high
    True
    >>> from sklearn.metrics import accuracy_score
    >>> low, high = bootstrap_interval(accuracy_score, [0] * 50, [0.1] * 50, labels=[0, 1])
    >>> round(low, 3), high
    (0.929, 1.0)
    """
    if not callable(metric):
        raise ValueError(
            "metric must be callable, for instance sksve.metrics.expected_calibration_error. "
            f"Got {metric!r}."
        )
    check_parameters(
        INTERVAL_CONSTRAINTS,
        {"confidence_level": confidence_level, "n_resamples": n_resamples},
        owner="bootstrap_interval",
    )
    rng = make_generator(random_state)
    kind = kind_of(metric)
    if kind is None:
        return _interval_of_callable(
            metric, y_true, y_proba, labels, sample_weight, confidence_level, n_resamples, rng
        )
    rows = validate_inputs(y_true, y_proba, labels, sample_weight)
    if kind is ACCURACY:
        estimate = np.average(kind.core(rows.codes, rows.proba), weights=rows.weight)
    else:  # also checks the options of a partial, in the metric's own words
        options = {"labels": rows.labels, "sample_weight": rows.weight}
        estimate = metric(rows.labels[rows.codes], rows.proba, **options)
    return interval_of(kind, estimate, rows, confidence_level, n_resamples, rng)


def interval_of(
    kind: Kind, estimate, rows, confidence_level, n_resamples, rng, top=None, drawn=None
):
    """Interval of one of our metrics; `drawn`: a calibration error on resamples that were made before."""
    tail = (1.0 - confidence_level) / 2
    top = reduce_rows(rows.codes, rows.proba) if top is None else top
    score, correct = top
    if kind.interval == "proportion":
        low, high = proportion_interval(score, correct, rows.weight, tail, **kind.options)
    elif kind.interval == "mean":
        losses, others = losses_under_two_labels(kind.core, rows)
        low, high = mean_interval(losses, others, rows.weight, tail, n_resamples, rng)
    elif kind.interval == "area":
        excess = kind.core is excess_risk_area
        low, high = area_interval(score, correct, rows.weight, tail, n_resamples, rng, excess)
    else:
        low, high = _error_interval(kind, estimate, rows, top, tail, n_resamples, rng, drawn)
    return float(max(min(low, estimate), 0.0)), float(min(max(high, estimate), kind.high))


def _error_interval(kind, estimate, rows, top, tail, n_resamples, rng, drawn):
    """Basic interval of a calibration error, from 0 on where chance alone explains it."""
    drawn = _resample(kind, rows, top, n_resamples, rng) if drawn is None else drawn
    centre = centre_of(kind, estimate, top, rows.weight)
    low_draw, high_draw = np.quantile(drawn, [tail, 1 - tail])
    # Where true gaps are about as large as those due to chance, resamples overstate the bias;
    # removing all of it leaves the true value above the interval in one case out of eight.
    high = estimate + max(centre, np.median(drawn)) - low_draw
    low = min(estimate - (high_draw - centre), estimate)
    if low > 0:
        chance = _errors_by_chance(kind, rows, top, n_resamples, rng)
        if estimate <= np.quantile(chance, 1 - tail):
            low = 0.0
    return low, high


def losses_under_two_labels(losses, rows):
    """Each row's loss under its label and under its most probable other label."""
    codes, proba, _, _ = rows
    rest = proba.copy()
    rest[np.arange(len(codes)), codes] = -1.0
    return losses(codes, proba), losses(rest.argmax(axis=1), proba)


def centre_of(kind: Kind, estimate, top, weight):
    """Return the metric's value if the rows themselves are the population: the centre of the resamples."""
    return estimate if kind.population is None else kind.population(*top, weight, **kind.options)


def _resample(kind, rows, top, n_resamples, rng):
    """Return the metric on every resample."""
    codes, proba, weight, _ = rows
    n = len(codes)
    if weight is None and kind.is_binned and kind.reads == "top":
        edges = uniform_edges(kind.options["n_bins"])
        gap, size = bootstrap_sums(top[0], top[1], edges, n_resamples, rng)
        return pool_bins(gap, size, kind.options["norm"])
    if weight is None:
        if kind.reads == "top":
            order = np.argsort(-top[0])
            top = top[0][order], top[1][order]
        blocks = row_counts(n, n_resamples, itertools.repeat(rng))
        return evaluate_counts({"metric": kind}, rows, top, blocks)["metric"]
    resamples = resampled_rows(n, weight, n_resamples, rng)
    a, b = top if kind.reads == "top" else (codes, proba)
    return np.array([kind.core(a[drawn], b[drawn], w, **kind.options) for drawn, w in resamples])


def _errors_by_chance(kind, rows, top, n_resamples, rng):
    """Return a calibration error under labels drawn from the probabilities."""
    weight, options, is_top = rows.weight, kind.options, kind.reads == "top"
    if is_top and kind.is_binned:
        edges = uniform_edges(options["n_bins"])
        mass = fill_bins(top[0], top[1], weight, edges).weight
        return pool_bins(null_gaps(top[0], weight, edges, n_resamples, rng), mass, options["norm"])
    p = top[0] if is_top else rows.proba
    if counts_rows(weight):
        # A row of weight 2 is two rows, each with its label.
        p, weight = np.repeat(p, weight.astype(np.int64), axis=0), None
    if is_top:
        draws = ((p, rng.random(len(p)) < p) for _ in range(n_resamples))
    elif weight is None and kind.is_binned:
        gap, size = class_null_gaps(p, options["n_bins"], n_resamples, rng)
        return pool_classes(pool_bins(gap, size, options["norm"]), options["norm"])
    else:
        draws = ((null_labels(p, rng), p) for _ in range(n_resamples))
    return np.array([kind.core(*pair, weight, **options) for pair in draws])


def _interval_of_callable(
    metric, y_true, y_proba, labels, sample_weight, confidence_level, n_resamples, rng
):
    """Interval of a user's metric, not clipped because its range is unknown."""
    codes, proba, weight, names = validate_inputs(y_true, y_proba, labels, sample_weight)
    y = names[codes]
    if np.ndim(y_proba) == 1:
        proba = proba[:, 1]
    takes = _keywords(metric)
    fixed = {"labels": names} if "labels" in takes else {}
    if weight is not None and "sample_weight" not in takes:
        raise ValueError(
            "sample_weight was given, but metric takes no argument of that name. "
            "Repeat rows instead, or give the metric a sample_weight argument."
        )

    def value(rows, w):
        extra = fixed if w is None else fixed | {"sample_weight": w}
        return float(metric(y[rows], proba[rows], **extra))

    estimate = value(slice(None), weight)
    drawn = np.array([value(*draw) for draw in resampled_rows(len(y), weight, n_resamples, rng)])
    if np.isnan(drawn).any():
        raise ValueError(
            f"metric returned NaN on {int(np.isnan(drawn).sum())} of {n_resamples} resamples. "
            "A metric that needs every class must be told what to do without one."
        )
    tails = (1.0 - confidence_level) / 2 * np.array([1, -1]) + [0, 1]
    ahead = ndtri(((drawn < estimate).mean() + (drawn <= estimate).mean()) / 2)
    if np.isfinite(ahead):  # else every draw lies on one side: percentiles
        z = ahead + ndtri(tails)
        tails = ndtr(ahead + z / (1 - _acceleration(value, weight, len(y)) * z))
    low, high = np.quantile(drawn, tails)
    return float(min(low, estimate)), float(max(high, estimate))


def _acceleration(value, weight, n):
    """BCa's acceleration, from leaving out one row at a time (of many rows, one of 500 parts)."""
    parts = np.array_split(np.arange(n), min(n, PARTS))
    kept = [np.delete(np.arange(n), part) for part in parts] if n > 1 else []
    values = [value(rows, None if weight is None else weight[rows]) for rows in kept]
    gaps = np.mean(values) - values if len(values) else np.zeros(1)
    scale = np.sum(gaps**2) ** 1.5
    return np.sum(gaps**3) / (6 * scale) if scale > 0 and np.isfinite(scale) else 0.0


def _keywords(function):
    """Names that a callable takes by keyword; none if it has no readable signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

"""Bootstrap intervals around a metric."""

import inspect
import itertools
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics._binning import fill_bins, pool_bins, pool_classes, uniform_edges
from sksve.metrics._inputs import make_generator, reduce_rows, validate_inputs
from sksve.metrics._kinds import Kind, kind_of
from sksve.metrics._resampling import (
    bootstrap_sums,
    class_null_gaps,
    counts_rows,
    evaluate_counts,
    null_gaps,
    null_labels,
    resampled_rows,
    row_counts,
)

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
    r"""Bootstrap interval of a metric: basic (reverse-percentile), widened to contain the estimate.

    With :math:`\hat\theta` the metric on the data and :math:`q_u` the quantiles of the metric on
    rows drawn with replacement,

    .. math:: [\,2 \hat\theta - q_{1 - \alpha/2}, \; 2 \hat\theta - q_{\alpha/2}\,],
        \qquad \alpha = 1 - \mathrm{confidence\_level}

    clipped to the metric's range and widened, if necessary, to contain :math:`\hat\theta`. Reflecting
    the quantiles removes the bias: the binned error of a resample is biased upward twice, so a
    percentile interval of a calibration error almost never contains the true value.

    For a calibration error the low end is 0 unless the error exceeds its :math:`1 - \alpha/2`
    quantile under labels drawn from `y_proba`: chance alone may explain the error. The high end is
    at least :math:`\hat\theta + q_{1/2} - q_{\alpha/2}`, without bias correction, because resamples
    overstate the bias where the true gaps are about as large as those due to chance.

    Parameters
    ----------
    metric : callable
        A metric of this module, also as ``functools.partial`` with options, or any
        ``metric(y_true, y_proba) -> float``; ``labels`` and ``sample_weight`` are passed on if it
        takes them.
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    confidence_level : float, default=0.95
        Probability that the interval contains the true value.
    n_resamples : int, default=1000
        Number of resamples.
    random_state : int, Generator, RandomState or None, default=None
        Source of the draws. None: different draws each time.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`. Fixed once, because a resample may
        miss a class.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights. Whole numbers count rows, which are drawn one by one; others stay with their row.

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
    The metrics of this module are resampled without repeating the input checks; uniform-bin errors from the
    sums of their bins alone. With more than 512 rows in a bin the sum of a resample's confidences
    there is drawn from its normal approximation; the number of rows and of correct rows is exact.

    References
    ----------
    Davison and Hinkley, "Bootstrap Methods and their Application", Cambridge University Press 1997,
    doi:10.1017/CBO9780511802843.

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
    # Also checks the options of a partial, in the metric's own words.
    estimate = metric(y_true, y_proba, labels=labels, sample_weight=sample_weight)
    rows = validate_inputs(y_true, y_proba, labels, sample_weight)
    return interval_of(kind, estimate, rows, confidence_level, n_resamples, rng)


def interval_of(
    kind: Kind, estimate, rows, confidence_level, n_resamples, rng, top=None, drawn=None
):
    """Interval of one of our metrics; `drawn` is the metric on resamples that were made before."""
    tail = (1.0 - confidence_level) / 2
    top = reduce_rows(rows.codes, rows.proba) if top is None else top
    drawn = _resample(kind, rows, top, n_resamples, rng) if drawn is None else drawn
    low, high = _reflect(estimate, centre_of(kind, estimate, top, rows.weight), drawn, tail)
    if kind.is_calibration_error:
        # Where true gaps are about as large as those due to chance, resamples overstate the bias;
        # removing all of it leaves the true value above the interval in one case out of eight.
        high = max(high, estimate + np.median(drawn) - np.quantile(drawn, tail))
        if low > 0:
            chance = _errors_by_chance(kind, rows, top, n_resamples, rng)
            if estimate <= np.quantile(chance, 1 - tail):
                low = 0.0
    return float(max(low, 0.0)), float(min(high, kind.high))


def centre_of(kind: Kind, estimate, top, weight):
    """Return the metric's value if the rows themselves are the population: the centre of the resamples."""
    return estimate if kind.population is None else kind.population(*top, weight, **kind.options)


def _reflect(estimate, centre, drawn, tail):
    """Basic interval; `centre` is the metric's value if the rows are the population."""
    low_draw, high_draw = np.quantile(drawn, [tail, 1 - tail])
    low, high = estimate - (high_draw - centre), estimate - (low_draw - centre)
    return min(low, estimate), max(high, estimate)


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
    if kind.reads == "losses":
        losses = kind.core(codes, proba)
        return np.array([np.average(losses[drawn], weights=w) for drawn, w in resamples])
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
    low, high = _reflect(estimate, estimate, drawn, (1.0 - confidence_level) / 2)
    return float(low), float(high)


def _keywords(function):
    """Names that a callable takes by keyword; none if it has no readable signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

"""Bootstrap intervals around a metric."""

import inspect
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics._binning import fill_bins, uniform_edges
from sksve.metrics._calibration_error import pool_bins, pool_classes
from sksve.metrics._class_draws import class_bootstrap_sums, class_null_gaps
from sksve.metrics._draws import bootstrap_sums, count_weights, null_gaps, null_rows
from sksve.metrics._inputs import Checked, check_inputs, make_generator, settle
from sksve.metrics._kinds import Kind, kind_of
from sksve.metrics._top_label import reduce_rows

__all__ = ["bootstrap_interval", "centre_of", "interval_of"]


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
    r"""Bootstrap interval of a metric: basic (reverse-percentile), holding the estimate.

    With :math:`\hat\theta` the metric on the data and :math:`q_u` the quantiles of the metric on
    rows drawn with replacement,

    .. math:: [\,2 \hat\theta - q_{1 - \alpha/2}, \; 2 \hat\theta - q_{\alpha/2}\,],
        \qquad \alpha = 1 - \mathrm{confidence\_level}

    clipped to the metric's range and widened, where need be, to hold :math:`\hat\theta`. Reflecting
    the quantiles takes the bias out: a binned error of a resample is biased upward twice, which is
    why a percentile interval of a calibration error hardly ever holds the true value.

    For a calibration error the low end is 0 unless the error exceeds its :math:`1 - \alpha/2`
    quantile under labels drawn from `y_proba`: an error that chance alone explains may be none. And
    the high end is at least :math:`\hat\theta + q_{1/2} - q_{\alpha/2}`, from which no bias is
    taken out, because resamples overstate it where the true gaps are about as large as chance's.

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
        Chance that the interval holds the true value.
    n_resamples : int, default=1000
        Number of resamples.
    random_state : int, Generator, RandomState or None, default=None
        Source of the draws. None: another one each time.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`. Settled once: a resample may miss
        a class.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights. Whole numbers count rows, which are drawn singly; others stay with their row.

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
    Our own metrics are resampled without repeating the input checks; uniform-bin errors from the
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
        {
            "confidence_level": [Interval(Real, 0, 1, closed="neither")],
            "n_resamples": [Interval(Integral, 2, None, closed="left")],
        },
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
    if kind.reads == "top":
        # Not the whole of check_inputs: a copy of all columns is not needed.
        codes, proba, weight, names = settle(y_true, y_proba, labels, sample_weight)
    else:
        codes, proba, weight, names = check_inputs(y_true, y_proba, labels, sample_weight)
    rows = Checked(codes, proba, weight, names)
    return interval_of(kind, estimate, rows, confidence_level, n_resamples, rng)


def interval_of(
    kind: Kind, estimate, rows, confidence_level, n_resamples, rng, top=None, drawn=None
):
    """Interval of one of our metrics from checked rows.

    `top` spares a second reduction; `drawn` is the metric on resamples that were made before.
    """
    tail = (1.0 - confidence_level) / 2
    weight = rows.weight
    if kind.reads == "top":
        a, b = reduce_rows(rows.codes, rows.proba) if top is None else top
    elif kind.reads == "all":
        a, b = rows.codes, rows.proba
    else:
        a, b = kind.core(rows.codes, rows.proba), None
    uniform = kind.reads == "top" and kind.options.get("strategy") == "uniform"
    if drawn is not None:
        pass
    elif uniform and weight is None:
        edges = uniform_edges(kind.options["n_bins"])
        gap, size = bootstrap_sums(a, b, edges, n_resamples, rng)
        drawn = pool_bins(gap, size, kind.options["norm"])
    else:
        drawn = _evaluate(kind, a, b, weight, n_resamples, rng)
    centre = centre_of(kind, estimate, a, b, weight)
    low, high = _reflect(estimate, centre, drawn, tail)
    if kind.is_calibration_error:
        # Where true gaps are about as large as chance's, resamples overstate the bias, and taking
        # it out in full leaves the true value above the interval in one case of eight.
        high = max(high, estimate + np.median(drawn) - np.quantile(drawn, tail))
        if low > 0:
            chance = _errors_by_chance(kind, a, b, weight, n_resamples, rng)
            if estimate <= np.quantile(chance, 1 - tail):
                low = 0.0
    return float(max(low, 0.0)), float(min(high, kind.high))


def centre_of(kind: Kind, estimate, a, b, weight):
    """Return the metric's value if the rows themselves are the law: what resamples spread around."""
    if kind.population is None:
        return estimate
    return kind.population(a, b, weight, **kind.options)


def _reflect(estimate, centre, drawn, tail):
    """Basic interval; `centre` is the metric's value if the rows themselves are the law."""
    low_draw, high_draw = np.quantile(drawn, [tail, 1 - tail])
    low, high = estimate - (high_draw - centre), estimate - (low_draw - centre)
    return min(low, estimate), max(high, estimate)


def _resamples(n, weight, n_resamples, rng):
    """Yield rows and their weights, drawn with replacement."""
    if not count_weights(weight):
        for _ in range(n_resamples):
            rows = rng.integers(0, n, n)
            yield rows, None if weight is None else weight[rows]
        return
    total = weight.sum()
    for _ in range(n_resamples):
        counts = rng.multinomial(int(total), weight / total)
        rows = np.flatnonzero(counts)
        yield rows, counts[rows].astype(np.float64)


def _evaluate(kind, a, b, weight, n_resamples, rng):
    """Return the metric on every resample."""
    if kind.reads == "all" and weight is None and kind.options["strategy"] == "uniform":
        gap, size = class_bootstrap_sums(a, b, kind.options["n_bins"], n_resamples, rng)
        return _pool_bins_and_classes(gap, size, kind.options["norm"])
    if kind.reads == "top" and weight is None:
        # Most confident first, and so in every resample: there is nothing left to sort.
        order = np.argsort(-a)
        a, b, n = a[order], b[order], len(a)
        counts = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(n_resamples))
        rows = (np.repeat(np.arange(n), count) for count in counts)
        return np.array([kind.core(a[r], b[r], None, **kind.options) for r in rows])
    resamples = _resamples(len(a), weight, n_resamples, rng)
    if kind.reads == "losses":
        return np.array([np.average(a[rows], weights=w) for rows, w in resamples])
    return np.array([kind.core(a[rows], b[rows], w, **kind.options) for rows, w in resamples])


def _pool_bins_and_classes(gap, size, norm):
    return pool_classes(pool_bins(gap, size, norm), norm)


def _errors_by_chance(kind, a, b, weight, n_resamples, rng):
    """Return the metric under labels drawn from the probabilities."""
    options = kind.options
    if kind.reads == "top" and options.get("strategy") == "uniform" and kind.population is None:
        edges = uniform_edges(options["n_bins"])
        mass = fill_bins(a, b, weight, edges).weight
        return pool_bins(null_gaps(a, weight, edges, n_resamples, rng), mass, options["norm"])
    confidence_or_proba = a if kind.reads == "top" else b
    if count_weights(weight):
        # A row of weight 2 is two rows, whose labels are drawn apart.
        confidence_or_proba = np.repeat(confidence_or_proba, weight.astype(np.int64), axis=0)
        weight = None
    p = confidence_or_proba
    if kind.reads == "top":
        draws = ((p, rng.random(len(p)) < p) for _ in range(n_resamples))
    elif weight is None and options["strategy"] == "uniform":
        gap, size = class_null_gaps(p, options["n_bins"], n_resamples, rng)
        return _pool_bins_and_classes(gap, size, options["norm"])
    else:
        draws = ((null_rows(p, rng), p) for _ in range(n_resamples))
    return np.array([kind.core(*pair, weight, **options) for pair in draws])


def _interval_of_callable(
    metric, y_true, y_proba, labels, sample_weight, confidence_level, n_resamples, rng
):
    """Interval of anybody's metric, unclipped: its range is not known."""
    codes, proba, weight, names = check_inputs(y_true, y_proba, labels, sample_weight)
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
    drawn = np.array([value(*draw) for draw in _resamples(len(y), weight, n_resamples, rng)])
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

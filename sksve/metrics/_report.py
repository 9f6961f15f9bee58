"""Every headline metric of one set of predictions, each with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sksve._arrays import as_array, as_real, import_pandas
from sksve._validation import check_parameters
from sksve.metrics._bootstrap import INTERVAL_CONSTRAINTS, interval_of
from sksve.metrics._curve import CalibrationTestResult, calibration_test
from sksve.metrics._groups import GroupReport, check_groups, equality_tests, read_groups
from sksve.metrics._inputs import counts_rows, make_generator, reduce_rows, validate_inputs
from sksve.metrics._kinds import ACCURACY, KINDS

_UNITS = {"brier_score": " (0 to 2)", "negative_log_likelihood": " (nats)"}


class MetricEstimate(NamedTuple):
    """A metric's value, and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationReport:
    """Headline metrics with intervals; what :func:`calibration_report` returns.

    Parameters
    ----------
    metrics : mapping of str to MetricEstimate
        Value, low and high end of every metric, by the name of its function, and of ``accuracy``.
    tests : mapping of str to CalibrationTestResult
        The two calibration tests.
    n_samples : int
        Number of rows (with whole-number weights, their sum).
    n_classes : int
        Number of classes.
    confidence_level : float
        Level of the intervals.

    Examples
    --------
    >>> from sksve.metrics import calibration_report
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]] * 10
    >>> report = calibration_report([0, 0, 1, 1] * 10, p, n_resamples=100, random_state=0)
    >>> report["accuracy"]
    MetricEstimate(value=0.75, low=0.588..., high=0.873...)
    """

    metrics: Mapping[str, MetricEstimate]
    tests: Mapping[str, CalibrationTestResult]
    n_samples: int
    n_classes: int
    confidence_level: float

    def __getitem__(self, name):
        return self.metrics[name]

    def __len__(self):
        return len(self.metrics)

    def __iter__(self):
        return iter(self.metrics)

    def __reduce__(self):
        # A mapping proxy does not pickle: build the report anew.
        fields = (dict(self.metrics), dict(self.tests))
        return CalibrationReport, (*fields, self.n_samples, self.n_classes, self.confidence_level)

    def __post_init__(self):
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))
        object.__setattr__(self, "tests", MappingProxyType(dict(self.tests)))

    def to_frame(self):
        """Return the metrics as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_metrics, 3)
            Columns ``value``, ``low``, ``high``; the index, ``metric``, holds the names.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pd = import_pandas("to_frame")
        index = pd.Index(list(self.metrics), name="metric")
        return pd.DataFrame(
            list(self.metrics.values()), index=index, columns=["value", "low", "high"]
        )

    def __repr__(self):
        level = f"{100 * self.confidence_level:g} %"
        lines = [
            f"Calibration report: {self.n_samples} rows, {self.n_classes} classes, "
            f"{level} intervals",
            f"  {'':<32}{'value':>8}  {'low':>8} {'high':>8}",
        ]
        for name, (value, low, high) in self.metrics.items():
            words = name.replace("_", " ") + _UNITS.get(name, "")
            lines.append(f"  {words:<32}{value:>8.4f}  {low:>8.4f} {high:>8.4f}")
        for name, test in self.tests.items():
            lines.append(
                f"  {name + ' test':<32}{test.statistic:>8.4f}  p = {test.pvalue:.4g} if calibrated"
            )
        return "\n".join(lines)


def calibration_report(
    y_true,
    y_proba,
    *,
    labels=None,
    sample_weight=None,
    groups=None,
    confidence_level=0.95,
    n_resamples=1000,
    random_state=None,
):
    r"""Every headline metric of one set of predictions, each with its interval.

    Accuracy, the calibration errors, Brier score, negative log-likelihood (nats), and the areas of
    selective prediction, each with its default options; and both tests of calibration,

    .. math:: H_0 : P(y = k \mid p) = p_k

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice.
    groups : array-like of shape (n_samples,), default=None
        Each row's subgroup: one report per group, and tests that all groups are equal.
    confidence_level : float, default=0.95
        Level of the intervals, as in :func:`bootstrap_interval`.
    n_resamples : int, default=1000
        Resamples of each interval, label sets of the resampling test, and permutations of the groups.
    random_state : int, Generator, RandomState or None, default=None
        Source of the draws. None: different draws each time.

    Returns
    -------
    report : CalibrationReport or GroupReport
        ``report["brier_score"]`` gives value, low and high; ``report.to_frame()`` all of them. With
        `groups`, ``report[group]`` is such a report, ``report.to_frame()`` has one row per group, and
        ``report.tests`` holds the tests of equality.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities, weights, groups or parameters are not as above.

    See Also
    --------
    bootstrap_interval : How the intervals are made.
    calibration_test : The tests of calibration.

    Notes
    -----
    Groups are compared by permutation: rows change groups at random, and the statistic is Welch's, the
    spread of the groups' means in units of each group's own variance (to which one row of pooled variance is
    added, so that a group without errors has one). Studentised in this way the test is exact if the groups'
    rows are alike, and asymptotically valid if only their means are equal. Its p-values are not adjusted
    for the four hypotheses. Calibration errors of groups of different size are biased differently, so
    the hypothesis tested of calibration is that of equal overconfidence, confidence minus accuracy.

    References
    ----------
    Welch, "On the comparison of several mean values", Biometrika 1951, doi:10.1093/biomet/38.3-4.330.
    Chung and Romano, "Exact and asymptotically robust permutation tests", Annals of Statistics 2013,
    doi:10.1214/13-AOS1090.
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.

    Examples
    --------
    >>> import numpy as np
    >>> from sksve.metrics import calibration_report
    >>> rng = np.random.default_rng(0)
    >>> p = rng.dirichlet([1, 1, 1], size=300)
    >>> y = [rng.choice(["a", "b", "c"], p=row) for row in p]
    >>> report = calibration_report(y, p, n_resamples=100, random_state=0)
    >>> report["expected_calibration_error"].low
    0.0
    >>> report.to_frame().shape
    (11, 3)
    """
    check_parameters(
        INTERVAL_CONSTRAINTS,
        {"confidence_level": confidence_level, "n_resamples": n_resamples},
        owner="calibration_report",
    )
    rng = make_generator(random_state)
    rows = validate_inputs(y_true, y_proba, labels, sample_weight)
    if groups is None:
        return _report(rows, confidence_level, n_resamples, rng)
    codes, names = read_groups(groups, len(as_array(y_true, "y_true")))
    if sample_weight is not None:
        codes = codes[as_real(sample_weight, "sample_weight") > 0]
    check_groups(codes, names)
    parts = {names.tolist()[k]: codes == k for k in np.unique(codes)}
    return GroupReport(
        {
            name: _report(_subset(rows, chosen), confidence_level, n_resamples, rng)
            for name, chosen in parts.items()
        },
        _report(rows, confidence_level, n_resamples, rng),
        equality_tests(rows, reduce_rows(rows.codes, rows.proba), codes, n_resamples, rng),
    )


def _subset(rows, chosen):
    weight = None if rows.weight is None else rows.weight[chosen]
    return rows._replace(codes=rows.codes[chosen], proba=rows.proba[chosen], weight=weight)


def _report(rows, confidence_level, n_resamples, rng):
    """The report of checked rows."""
    top = reduce_rows(rows.codes, rows.proba)
    options = {"labels": rows.labels, "sample_weight": rows.weight}
    y = rows.labels[rows.codes]
    estimates = {}
    for name, (kind, value) in headlines(rows, top).items():
        interval = interval_of(kind, value, rows, confidence_level, n_resamples, rng, top)
        estimates[name] = MetricEstimate(value, *interval)
    tests = {
        test: calibration_test(
            y, rows.proba, **options, test=test, n_resamples=n_resamples, random_state=rng
        )
        for test in ("resampling", "spiegelhalter")
    }
    return CalibrationReport(
        metrics=estimates,
        tests=tests,
        n_samples=len(y) if rows.weight is None else _rows_counted(rows.weight),
        n_classes=len(rows.labels),
        confidence_level=float(confidence_level),
    )


def headlines(rows, top):
    """Return kind and value of every headline metric, by name."""
    headline = {"accuracy": (ACCURACY, float(np.average(top[1], weights=rows.weight)))}
    options = {"labels": rows.labels, "sample_weight": rows.weight}
    y = rows.labels[rows.codes]
    for metric, kind in KINDS.items():
        headline[metric.__name__] = (kind, metric(y, rows.proba, **options))
    return headline


def _rows_counted(weight):
    return int(weight.sum()) if counts_rows(weight) else len(weight)

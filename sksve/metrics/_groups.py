"""A report by subgroup: every metric of each group with its interval, and tests that groups are equal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sksve._arrays import as_array, import_pandas, is_missing, shown
from sksve.metrics._inputs import effective_weight
from sksve.metrics._scores import brier_losses, log_losses


class EqualityTest(NamedTuple):
    """Statistic and p-value of a test that all groups have the same mean."""

    statistic: float
    pvalue: float


@dataclass(frozen=True, eq=False, repr=False)
class GroupReport:
    """Reports by subgroup; what :func:`calibration_report` returns with ``groups=``.

    Parameters
    ----------
    reports : mapping of group to CalibrationReport
        One report per group, sorted by group; ``report[group]`` looks it up.
    overall : CalibrationReport
        The report of all rows.
    tests : mapping of str to EqualityTest
        ``(statistic, pvalue)`` of the hypothesis that the groups are alike in "accuracy",
        "negative_log_likelihood", "brier_score", or "overconfidence": confidence minus accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from sksve.metrics import calibration_report
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=400)
    >>> site = np.repeat(["home", "away"], 200)
    >>> y = rng.uniform(size=400) < np.where(site == "home", p, 0.5)
    >>> report = calibration_report(y, p, groups=site, n_resamples=200, random_state=0)
    >>> report["home"]["accuracy"].value > report["away"]["accuracy"].value
    True
    >>> report.tests["accuracy"].pvalue < 0.01
    True
    >>> report.to_frame().shape
    (2, 34)
    """

    reports: Mapping[Any, Any]
    overall: Any
    tests: Mapping[str, EqualityTest]

    def __getitem__(self, group):
        return self.reports[group]

    def __len__(self):
        return len(self.reports)

    def __iter__(self):
        return iter(self.reports)

    def to_frame(self):
        """Return the metrics as a pandas DataFrame, one row per group.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_groups, 1 + 3 * n_metrics)
            ``rows``, and for every metric three columns: ``accuracy``, ``accuracy_low``,
            ``accuracy_high`` and so on; the index, ``group``, holds the groups.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pd = import_pandas("to_frame")
        rows = [
            {"rows": report.n_samples}
            | {
                f"{name}{end}": number
                for name in report
                for end, number in zip(("", "_low", "_high"), report[name])
            }
            for report in self.reports.values()
        ]
        return pd.DataFrame(rows, index=pd.Index(list(self.reports), name="group"))

    def __repr__(self):
        names = ("accuracy", "expected_calibration_error", "negative_log_likelihood")
        level = 100 * self.overall.confidence_level
        heads = ("accuracy", "ECE", "NLL (nats)")
        lines = [
            f"Calibration report of {len(self)} groups, {level:g} % intervals",
            f"  {'':<20}{'rows':>8}" + "".join(f"  {head:^24}" for head in heads),
        ]
        for group, report in [*self.reports.items(), ("all rows", self.overall)]:
            cells = (
                f"{v:.4f} ({low:.4f} to {high:.4f})"
                for v, low, high in map(report.__getitem__, names)
            )
            lines.append(f"  {str(group)[:20]:<20}{report.n_samples:>8}  " + "  ".join(cells))
        lines += [
            f"  equal {name.replace('_', ' ')}: p = {test.pvalue:.4g}"
            for name, test in self.tests.items()
        ]
        return "\n".join(lines)


def read_groups(groups, n_samples):
    """Return each row's group as a code, and the groups, sorted."""
    values = as_array(groups, "groups")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (n_samples,):
        raise ValueError(
            f"groups must have shape ({n_samples},), one group a row. Got {values.shape}. Of several "
            "attributes make one, for instance by joining their names."
        )
    missing = sum(map(is_missing, values.tolist()))
    if missing:
        raise ValueError(
            f"groups has {missing} missing entries. Name their group, or remove the rows."
        )
    try:
        names, codes = np.unique(values, return_inverse=True)
    except TypeError:
        names, codes = np.unique(values.astype(str), return_inverse=True)
    return codes, names


def check_groups(codes, names):
    """Refuse rows that are all of one group."""
    if len(np.unique(codes)) < 2:
        raise ValueError(
            f"groups must hold at least two groups in rows of positive weight. Got {shown(names[codes[:1]])}."
        )


def equality_tests(rows, top, codes, n_resamples, rng):
    """Permutation tests that groups are equal in accuracy, losses and overconfidence."""
    confidence, correct = top
    values = {
        "accuracy": correct.astype(float),
        "negative_log_likelihood": log_losses(rows.codes, rows.proba),
        "brier_score": brier_losses(rows.codes, rows.proba),
        "overconfidence": confidence - correct,
    }
    columns = np.column_stack(list(values.values()))
    weight = np.ones(len(codes)) if rows.weight is None else effective_weight(rows.weight)
    # Rows are counted, or weighed: the sums of w, w l and w^2, w^2 l, w^2 l^2 are all that is needed.
    w, square = weight[:, None], weight[:, None] ** 2
    parts = np.hstack([w, w * columns, square, square * columns, square * columns**2])
    pooled = np.average(
        (columns - np.average(columns, axis=0, weights=weight)) ** 2, axis=0, weights=weight
    )
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.unique(codes))
    observed = _welch(np.add.reduceat(parts[order], starts), pooled)
    drawn = np.array(
        [
            _welch(np.add.reduceat(parts[rng.permutation(len(codes))], starts), pooled)
            for _ in range(n_resamples)
        ]
    )
    extreme = (drawn >= observed * (1 - 1e-9) - 1e-12).sum(axis=0)
    pvalues = (1 + extreme) / (1 + n_resamples)
    return {
        name: EqualityTest(float(statistic), float(p))
        for name, statistic, p in zip(values, observed, pvalues)
    }


def _welch(sums, pooled):
    """Welch's weighted spread of the groups' means, each with one pseudo-row of pooled variance."""
    k = len(pooled)
    w, square = sums[:, :1], sums[:, k + 1 : k + 2]
    mean = sums[:, 1 : k + 1] / w
    spread = sums[:, 2 * k + 2 :] - 2 * mean * sums[:, k + 2 : 2 * k + 2] + mean**2 * square
    n = w**2 / square
    variance = (np.maximum(spread, 0.0) / square * n + pooled) / n / n
    precision = 1 / np.where(pooled > 0, variance, 1.0)
    centre = (precision * mean).sum(axis=0) / precision.sum(axis=0)
    return np.where(pooled > 0, (precision * (mean - centre) ** 2).sum(axis=0), 0.0)

"""What a comparison found: numbers first; tables, figures and pages are made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sksve.comparison._advice import advise
from sksve.comparison._calibrate import Variant
from sksve.comparison._review import ReviewRow, rows_to_review
from sksve.comparison._significance import Differences, chance_of_best, differences_from
from sksve.comparison._words import METRICS, named
from sksve.metrics._report import MetricEstimate

__all__ = ["CalibrationComparison"]


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationComparison:
    """Models and calibrators on the same rows; what :func:`compare_calibration` returns.

    A *variant* is a pair ``(model, method)``; method ``"none"`` is the model as it is.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Labels of the columns.
    y_test : ndarray of shape (n_samples,)
        True labels of the test rows.
    probabilities : mapping of (str, str) to ndarray of shape (n_samples, n_classes)
        Each variant's probabilities of the test rows.
    metrics : mapping of (str, str) to mapping of str to MetricEstimate
        Each variant's metrics: value, low, high.
    draws : mapping of str to ndarray of shape (n_variants, n_resamples)
        Each metric on resamples of the test rows that all variants share.
    centres : mapping of str to ndarray of shape (n_variants,)
        What the draws spread around.
    choice : mapping of (str, str) to float
        Cross-fitted mean loss on the calibration rows, by which the pick is made.
    pick : tuple of (str, str)
        The model with the lowest loss, and the first of its methods within one standard error of it.
    choose_by : str
        Name of that loss.
    n_calibration : int
        Number of calibration rows.
    n_folds : int
        Folds of a cross-validation; 0 if there was a test set.
    confidence_level : float
        Level of the intervals; ``1 - confidence_level`` is the level of the tests.
    rows : object
        The test rows as they were given, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from sksve import compare_calibration
    >>> rng = np.random.default_rng(0)
    >>> p = rng.dirichlet([1, 1, 1], size=600)
    >>> y = np.array([rng.choice(["a", "b", "c"], p=row) for row in p])
    >>> too_sure = p**3 / (p**3).sum(axis=1, keepdims=True)
    >>> found = compare_calibration(
    ...     {"too sure": (too_sure[:300], too_sure[300:])}, None, y[:300], None, y[300:],
    ...     methods=["temperature"], n_resamples=200, random_state=0,
    ... )
    >>> found.pick
    ('too sure', 'temperature')
    >>> found.advice().splitlines()[0]
    'Pick too sure and calibrate it with temperature.'
    """

    labels: np.ndarray
    y_test: np.ndarray
    probabilities: Mapping[Variant, np.ndarray]
    metrics: Mapping[Variant, Mapping[str, MetricEstimate]]
    draws: Mapping[str, np.ndarray]
    centres: Mapping[str, np.ndarray]
    choice: Mapping[Variant, float]
    pick: Variant
    choose_by: str
    n_calibration: int
    n_folds: int
    confidence_level: float
    rows: Any = field(default=None, repr=False)

    @property
    def variants(self) -> list[Variant]:
        """Pairs (model, method), models in the order given, "none" first."""
        return list(self.probabilities)

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(model for model, _ in self.variants))

    @property
    def methods(self) -> list[str]:
        """Names of the calibrators, "none" first."""
        return list(dict.fromkeys(method for _, method in self.variants))

    @property
    def alpha(self) -> float:
        """Level of the tests."""
        return 1.0 - self.confidence_level

    def values(self, metric: str) -> np.ndarray:
        """Return a metric of every variant, shape ``(n_variants,)``."""
        self._demand_metric(metric)
        return np.array([self.metrics[variant][metric].value for variant in self.variants])

    def paired(self, metric: str, reference: Variant | None = None) -> Differences:
        """Differences of every variant from a reference, as arrays; see :meth:`differences`."""
        reference = self.pick if reference is None else (reference[0], reference[1])
        if reference not in self.variants:
            raise ValueError(
                f"reference must be one of {self.variants}, or None for the pick. Got {reference!r}."
            )
        values = self.values(metric)
        at = self.variants.index(reference)
        draws, centres = self.draws[metric], self.centres[metric]
        return differences_from(at, values, draws, centres, self.confidence_level)

    def best_p_values(self, metric: str) -> np.ndarray:
        """p-value, for each variant, of being as good as the best; see :meth:`to_frame`."""
        values = self.values(metric)
        sign = -1.0 if METRICS[metric].larger_is_better else 1.0
        return chance_of_best(sign * values, sign * self.draws[metric], sign * self.centres[metric])

    def best(self, metric: str) -> Variant:
        """Return the variant with the best value of a metric on the test rows."""
        values = self.values(metric)
        at = values.argmax() if METRICS[metric].larger_is_better else values.argmin()
        return self.variants[int(at)]

    def to_frame(self) -> Any:
        """Every metric of every variant, with its interval and its distance from the best.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each model, method and metric (the index), with columns

            ``value``, ``low``, ``high``
                The metric on the test rows and its bootstrap interval.
            ``difference``, ``difference_low``, ``difference_high``
                Value less that of the variant with the best value, and its interval from resamples
                that both share. The interval takes the best one as given.
            ``p_value``
                Of the hypothesis that no other variant is better in truth. It allows for the best
                one having been chosen from all of them by these rows: the variants of a metric with
                p above ``1 - confidence_level`` hold the truly best one at that confidence. No
                correction is made for looking at several metrics.
        """
        import pandas as pd  # only here: pandas is optional

        blocks = {}
        for metric in self.draws:
            found = self.paired(metric, self.best(metric))
            p_values = self.best_p_values(metric)
            for i, variant in enumerate(self.variants):
                blocks[(*variant, metric)] = (
                    *self.metrics[variant][metric],
                    found.value[i],
                    found.low[i],
                    found.high[i],
                    p_values[i],
                )
        order = [(*variant, metric) for variant in self.variants for metric in self.draws]
        columns = ["value", "low", "high", "difference", "difference_low", "difference_high"]
        return pd.DataFrame(
            [blocks[key] for key in order],
            # Objects, for a name may be any str: pandas' own strings hold no lone surrogate.
            index=pd.MultiIndex.from_arrays(
                [pd.Index(level, dtype=object) for level in zip(*order)],
                names=["model", "method", "metric"],
            ),
            columns=[*columns, "p_value"],
        )

    def differences(
        self, metric: str = "negative_log_likelihood", reference: Variant | None = None
    ) -> Any:
        """Paired differences of every variant from one of them.

        Parameters
        ----------
        metric : str, default="negative_log_likelihood"
            Name of the metric.
        reference : tuple of (str, str), default=None
            Model and method to compare with. None: the pick, which the test rows did not choose, so
            that p-values hold as they stand.

        Returns
        -------
        frame : pandas.DataFrame
            Indexed by model and method: ``difference`` (value less the reference's), its interval
            ``low`` and ``high``, ``p_value`` (two-sided, for this difference alone) and
            ``p_adjusted`` (for all differences from the reference together).

        Raises
        ------
        ValueError
            If there is no such metric or variant.
        """
        import pandas as pd  # only here: pandas is optional

        found = self.paired(metric, reference)
        index = pd.MultiIndex.from_tuples(self.variants, names=["model", "method"])
        columns = ["difference", "low", "high", "p_value", "p_adjusted"]
        return pd.DataFrame(np.column_stack(found), index=index, columns=columns)

    def advice(self) -> str:
        """Which variant to pick, and why, in plain words; a paragraph a line."""
        return "\n".join(advise(self))

    def review_rows(self, n_rows: int = 5) -> list[ReviewRow]:
        """Test rows worth a human's look: the pick's most confident errors, and its unsurest rows.

        Parameters
        ----------
        n_rows : int, default=5
            At most so many of each kind.

        Returns
        -------
        rows : list of ReviewRow
            Named tuples ``(reason, index, label, predicted, confidence, entropy, row)``; entropy in
            nats, `row` the input, shortened. ``pandas.DataFrame(rows)`` makes a table of them.
        """
        place = {label: k for k, label in enumerate(self.labels.tolist())}
        codes = np.array([place[label] for label in self.y_test.tolist()])
        return rows_to_review(self.probabilities[self.pick], codes, self.labels, self.rows, n_rows)

    def plot(self) -> Any:
        """Draw reliability diagrams before and after calibration, and every variant's metrics.

        Returns
        -------
        figure : matplotlib.figure.Figure
            Above, a diagram a model: uncalibrated, and with the calibrator that is best for it by
            the calibration rows. Below, NLL and ECE of every variant with intervals.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from sksve.comparison._figures import draw_all

        return draw_all(self)

    def to_html(self, path: Any) -> Path:
        """Write one self-contained page: advice, tables, figures, rows worth a look.

        Pictures are inside the page; it loads nothing from anywhere and runs no script.

        Parameters
        ----------
        path : str or path-like
            File to write. It appears complete or not at all.

        Returns
        -------
        path : pathlib.Path
            The file.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        OSError
            If the file cannot be written there.
        """
        from sksve.comparison._page import write_page

        return write_page(self, path)

    def _demand_metric(self, metric: str) -> None:
        if not isinstance(metric, str) or metric not in self.draws:
            raise ValueError(f"metric must be one of {list(self.draws)}. Got {metric!r}.")

    def __repr__(self) -> str:
        shown = ("negative_log_likelihood", "brier_score", "expected_calibration_error", "accuracy")
        width = max(len(named(variant)) for variant in self.variants)
        heads = "".join(f"{METRICS[m].short.split()[0]:>10}" for m in shown)
        lines = [
            f"Calibration comparison: {len(self.models)} models x {len(self.methods)} methods, "
            f"{len(self.y_test):,} test rows, {len(self.labels)} classes",
            f"  {'':<{width}}{heads}",
        ]
        for variant in self.variants:
            values = "".join(f"{self.metrics[variant][m].value:>10.4f}" for m in shown)
            mark = "*" if variant == self.pick else " "
            lines.append(f"{mark} {named(variant):<{width}}{values}")
        return "\n".join([*lines, "* the pick, by the calibration rows"])

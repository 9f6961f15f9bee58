"""What a comparison found: numbers first; tables, figures and pages are made of them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sksve._arrays import import_pandas
from sksve.comparison._advice import advise, named
from sksve.comparison._figures import draw_all
from sksve.comparison._page import write_page
from sksve.comparison._record import METRICS, Record, Variant
from sksve.metrics import predictive_entropy
from sksve.metrics._predict_uncertainty import row_names

LONGEST = 240  # characters of a row that are shown


class ReviewRow(NamedTuple):
    """A row, and why it is worth a look."""

    reason: str  # "confidently wrong" or "most uncertain"
    index: Any  # the row's name in the input's index, else its place
    label: Any
    predicted: Any
    confidence: float
    entropy: float  # nats
    row: str  # the input itself, shortened; empty if it was not given


class CalibrationComparison(Record):
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
        pd = import_pandas("to_frame")

        blocks = {}
        for metric in self.draws:
            differences = self.paired(metric, self.best(metric))
            p_values = self.best_p_values(metric)
            for i, variant in enumerate(self.variants):
                blocks[(*variant, metric)] = (
                    *self.metrics[variant][metric],
                    differences.value[i],
                    differences.low[i],
                    differences.high[i],
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
        pd = import_pandas("to_frame")

        differences = self.paired(metric, reference)
        index = pd.MultiIndex.from_tuples(self.variants, names=["model", "method"])
        columns = ["difference", "low", "high", "p_value", "p_adjusted"]
        return pd.DataFrame(np.column_stack(differences), index=index, columns=columns)

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
        proba = self.probabilities[self.pick]
        answers, confidence = self.labels[proba.argmax(axis=1)], proba.max(axis=1)
        entropy = predictive_entropy(proba[None])
        wrong = np.flatnonzero(answers != self.y_test)
        errors = wrong[np.argsort(-confidence[wrong], kind="stable")][:n_rows]
        uncertain = np.argsort(-entropy, kind="stable")[:n_rows]
        names = row_names(self.rows)
        return [
            ReviewRow(
                reason,
                i if names is None else names[i],
                self.y_test[i],
                answers[i],
                float(confidence[i]),
                float(entropy[i]),
                _shown_row(self.rows, i),
            )
            for reason, rows in (("confidently wrong", errors), ("most uncertain", uncertain))
            for i in rows.tolist()
        ]

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
        return draw_all(self)

    def to_html(self, path: Any, *, overwrite: bool = True) -> Path:
        """Write one self-contained page: advice, tables, figures, rows worth a look.

        Pictures are inside the page; it loads nothing from anywhere and runs no script.

        Parameters
        ----------
        path : str or path-like
            File to write. It appears complete or not at all.
        overwrite : bool, default=True
            Whether a file that is there may be replaced.

        Returns
        -------
        path : pathlib.Path
            The file.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        FileExistsError
            If the file is there and `overwrite` is False; before anything is drawn.
        OSError
            If the file cannot be written there.
        """
        return write_page(self, self.review_rows(), path, overwrite=overwrite)

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
        return "\n".join(
            [*lines, "* the pick, by the calibration rows. NLL in nats, Brier from 0 (best) to 2."]
        )


def _shown_row(X: Any, i: int) -> str:
    """Row of an input as one line of text, shortened."""
    if X is None or hasattr(X, "tocsr"):  # a sparse row means nothing to a reader
        return ""
    if hasattr(X, "iloc"):
        row = X.iloc[i]
    elif hasattr(X, "row") and hasattr(X, "columns"):  # polars
        row = X.row(i, named=True)
    else:
        row = X[i]
    if hasattr(row, "items"):
        words = ", ".join(f"{name}: {_cell(value)}" for name, value in row.items())
    elif isinstance(row, (list, tuple, np.ndarray)):
        cells = np.asarray(row, dtype=object).ravel()[:60]
        words = ", ".join(_cell(value) for value in cells)
    else:
        words = str(row)
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1].rstrip() + "…"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)

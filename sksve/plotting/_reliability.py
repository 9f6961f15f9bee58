"""The reliability diagram."""

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from sksve.metrics import calibration_curve, expected_calibration_error
from sksve.metrics._bootstrap import interval_of
from sksve.metrics._curve import CalibrationCurve, column_of
from sksve.metrics._inputs import make_generator, reduce_rows, validate_inputs
from sksve.metrics._kinds import kind_of
from sksve.plotting._canvas import (
    GREY,
    MARKS,
    ProbabilityDisplay,
    axes_below,
    axes_to_draw_on,
    has_curves,
    next_style,
    place_legend,
    plain_text,
    with_user_style,
)

LARGEST_MARK = 8.0  # points across, of the fullest bin
SMALLEST_SHARE = 0.04  # of its area: a bin of one row is still seen


@dataclass(eq=False, repr=False)
class ReliabilityDisplay(ProbabilityDisplay):
    """Reliability diagram: how often a classifier is right at each confidence.

    Accuracy against confidence, bin by bin, with an exact interval for each bin's accuracy and the
    number of rows per bin below. Below the diagonal the classifier is overconfident, above it
    underconfident; where a bin's box contains the diagonal, the data do not show which. The area of a
    mark grows with the rows of its bin, and the box of a bin with few rows is pale: a bin of one row does
    not look like one of a hundred.

    Use :meth:`from_estimator` or :meth:`from_predictions` to make one.

    Parameters
    ----------
    curve : CalibrationCurve
        What :func:`sksve.metrics.calibration_curve` returns.
    ece : float, default=None
        Expected calibration error for the legend, in [0, 1]. None: not shown.
    ece_interval : tuple of (float, float), default=None
        Its interval for the legend: low, high. None: not shown.
    name : str, default=None
        Name of the classifier for the legend.
    class_label : object, default=None
        Class whose probability is drawn. None: the predicted class of each row.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the diagram.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.
    line_ : matplotlib.lines.Line2D
        The curve, one point per bin that holds rows.
    marks_ : matplotlib.collections.PathCollection
        The marks of these points, their area in proportion to the bin's rows.
    reference_ : matplotlib.lines.Line2D or None
        The diagonal.
    band_ : matplotlib.container.BarContainer or None
        The intervals, one box per bin.
    counts_ax_ : matplotlib.axes.Axes or None
        Axes of the counts.
    bars_ : matplotlib.container.BarContainer or None
        The counts, one bar per bin.

    See Also
    --------
    sksve.metrics.calibration_curve : The numbers.
    RiskCoverageDisplay : What abstaining on uncertain rows gains.

    References
    ----------
    .. [1] DeGroot, M.H. and Fienberg, S.E. (1983). The Comparison and Evaluation of Forecasters.
           The Statistician 32, 12-22. :doi:`10.2307/2987588`
    .. [2] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K.Q. (2017). On Calibration of Modern
           Neural Networks. ICML. :arxiv:`1706.04599`

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sksve.plotting import ReliabilityDisplay
    >>> y_true = ["cat", "cat", "dog", "dog"]
    >>> y_proba = [[0.9, 0.1], [0.7, 0.3], [0.65, 0.35], [0.1, 0.9]]
    >>> display = ReliabilityDisplay.from_predictions(y_true, y_proba, n_bins=5, name="mine")
    >>> display.line_.get_xydata()
    array([[0.675, 0.5  ],
           [0.9  , 1.   ]])
    >>> plt.close(display.figure_)
    """

    curve: CalibrationCurve
    _: KW_ONLY
    ece: float | None = None
    ece_interval: tuple[float, float] | None = None
    name: str | None = None
    class_label: Any = None

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        labels: Any = None,
        sample_weight: Any = None,
        n_bins: int = 15,
        strategy: str = "uniform",
        class_label: Any = None,
        confidence_level: float = 0.95,
        n_resamples: int = 1000,
        random_state: Any = 0,
        name: str | None = None,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the reliability diagram of probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
            Probabilities; one-dimensional: of the positive class.
        labels : array-like of shape (n_classes,), default=None
            Labels of the columns. None: the sorted labels of `y_true`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        n_bins : int, default=15
            Number of bins.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width, or of equally many rows.
        class_label : object, default=None
            Class whose probability is drawn, one versus the rest, and whose error stands in the
            legend. None: the predicted class of each row (top label).
        confidence_level : float, default=0.95
            Level of each bin's interval and of the error's.
        n_resamples : int, default=1000
            Bootstrap resamples behind the error's interval.
        random_state : int, Generator, RandomState or None, default=0
            Source of the resamples; by default the same each time.
        name : str, default=None
            Name for the legend.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **plot_params : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes, labels, probabilities, weights or parameters are malformed.
        """
        binning = {"n_bins": n_bins, "strategy": strategy}
        curve = calibration_curve(
            y_true,
            y_proba,
            labels=labels,
            sample_weight=sample_weight,
            class_label=class_label,
            confidence_level=confidence_level,
            **binning,
        )
        rows = validate_inputs(y_true, y_proba, labels, sample_weight)
        if class_label is None:
            score, hit = reduce_rows(rows.codes, rows.proba)
        else:
            column = column_of(class_label, rows.labels)
            score, hit = rows.proba[:, column], rows.codes == column
        kind = kind_of(partial(expected_calibration_error, **binning))
        ece = kind.core(score, hit, rows.weight, **kind.options)
        rng = make_generator(random_state)
        interval = interval_of(
            kind, ece, rows, confidence_level, n_resamples, rng, top=(score, hit)
        )
        display = cls(curve, ece=ece, ece_interval=interval, name=name, class_label=class_label)
        return display.plot(ax=ax, **plot_params)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        show_interval: bool = True,
        show_counts: bool = True,
        show_reference: bool | None = None,
        **line_params: Any,
    ) -> Self:
        """Draw the diagram.

        To compare classifiers, draw them on one `ax`: each gets its own colour, line style and
        marker, and their counts share the axes below.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; the counts take the lower part of its place. None: a new figure.
        name : str, default=None
            Name for the legend. None: the name of the display.
        show_interval : bool, default=True
            Whether to draw each bin's interval as a box of the bin's width.
        show_counts : bool, default=True
            Whether to draw the number of rows per bin below.
        show_reference : bool, default=None
            Whether to draw the diagonal. None: for the first classifier on these axes only.
        **line_params : dict
            Parameters of the curve, as :meth:`matplotlib.axes.Axes.plot` has them.

        Returns
        -------
        ReliabilityDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes_to_draw_on(ax, figsize=(5.0, 5.6 if show_counts else 4.6))
        full = self.curve.counts > 0
        confidence, accuracy = self.curve.mean_confidence[full], self.curve.accuracy[full]
        self.reference_ = self.band_ = self.counts_ax_ = self.bars_ = None
        compared = has_curves(ax)
        if not compared if show_reference is None else show_reference:
            look = {"color": GREY, "linestyle": "--", "linewidth": 1}
            (self.reference_,) = ax.plot([0, 1], [0, 1], label="Perfectly calibrated", **look)
        style = (
            next_style(ax)
            | {
                "markersize": LARGEST_MARK,
                "linewidth": 1.2,
                "alpha": 0.7,
                "label": self._label(name, self._error()),
                "markevery": [],  # the legend shows the line's mark; in the axes marks have their own sizes
            }
        )
        (self.line_,) = ax.plot(confidence, accuracy, **with_user_style(style, line_params))
        self.marks_ = self._draw_marks(ax, confidence, accuracy, self.curve.counts[full])
        if show_interval:
            low, high = np.nan_to_num(self.curve.interval).T
            self.band_ = self._draw_bins(ax, high - low, low, compared, alpha=0.25, fade=True)
        class_name = None if self.class_label is None else plain_text(self.class_label)
        ax.set_ylabel("Accuracy" if class_name is None else f"Observed share of {class_name}")
        start = self._start(confidence, accuracy)
        if compared:
            start = min(start, ax.get_xlim()[0])
        ax.set_xlim(start, 1)
        ax.set_ylim(start, 1)
        place_legend(ax)
        lowest = ax
        if show_counts:
            lowest = self.counts_ax_ = axes_below(ax, share=0.2)
            self.bars_ = self._draw_bins(lowest, self.curve.counts, 0.0, compared, alpha=0.5)
            lowest.set_ylabel("Rows")
        lowest.set_xlabel("Confidence" if class_name is None else f"Probability of {class_name}")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _error(self) -> str | None:
        if self.ece is None:
            return None
        error = f"ECE {100 * self.ece:.1f} %"
        if self.ece_interval is None:
            return error
        low, high = self.ece_interval
        return f"{error} [{100 * low:.1f}, {100 * high:.1f}]"

    def _start(self, confidence: np.ndarray, accuracy: np.ndarray) -> float:
        """Tenth at which both axes begin: with two classes, no confidence is below 0.5."""
        if self.class_label is not None:
            return 0.0
        first = self.curve.bin_edges[:-1][self.curve.counts > 0][0]
        return float(np.clip(np.floor(10 * min(first, accuracy.min())) / 10, 0.0, 0.9))

    def _draw_marks(self, ax: Any, x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> Any:
        """One mark per bin, its area in proportion to the bin's rows, as far as it is seen."""
        area = self.line_.get_markersize() ** 2 * np.maximum(counts / counts.max(), SMALLEST_SHARE)
        marker = self.line_.get_marker()
        if marker in ("", " ", None, "None", "none"):
            area, marker = np.zeros(len(area)), "o"
        marks = ax.scatter(
            x, y, s=area, marker=marker, color=self.line_.get_color(), zorder=3, linewidths=0.8
        )
        marks.set_gid(MARKS)
        return marks

    def _draw_bins(
        self, ax: Any, heights: Any, bottom: Any, compared: bool, alpha: float, fade: bool = False
    ) -> Any:
        """Draw one box per bin: filled for the first curve on the axes, outlined for the others.

        The fewer rows a bin has, the paler is its box; the heights of counts show them as they are.
        """
        from matplotlib.colors import to_rgba

        colour = self.line_.get_color()
        strength = (
            np.sqrt(self.curve.counts / self.curve.counts.max()) if fade else self.curve.counts > 0
        )
        shades = [to_rgba(colour, 1.0 * s) for s in strength]
        look: dict[str, Any] = {"edgecolor": "white"}
        look["color"] = [(r, g, b, alpha * a) for r, g, b, a in shades]
        if compared:
            look = {"fill": False, "edgecolor": shades, "linestyle": self.line_.get_linestyle()}
        return ax.bar(
            self.curve.bin_edges[:-1],
            heights,
            bottom=bottom,
            width=np.diff(self.curve.bin_edges),
            align="edge",
            linewidth=0.8,
            **look,
        )

"""What is won by not answering where the classifier is unsure."""

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from sksve._validation import check_parameters
from sksve.metrics import aurc, risk_coverage_curve
from sksve.metrics._curve import clopper_pearson
from sksve.metrics._selective import RiskCoverageCurve
from sksve.plotting._base import ProbabilityDisplay
from sksve.plotting._canvas import (
    GREY,
    axes_to_draw_on,
    has_curves,
    next_style,
    plain_text,
    tidy,
    with_user_style,
)

__all__ = ["RiskCoverageDisplay"]


class RiskCoverageDisplay(ProbabilityDisplay):
    """Risk-coverage curve: the error rate among the rows a classifier is most confident of.

    From right to left ever more of the least confident rows are left unanswered. A curve that falls
    quickly means that confidence tells right from wrong. Two lines frame it: a random order keeps
    the error rate of all rows, a perfect order leaves out the errors first.

    Use :meth:`from_estimator` or :meth:`from_predictions` to make one.

    Parameters
    ----------
    curve : RiskCoverageCurve
        What :func:`sksve.metrics.risk_coverage_curve` returns, for n_samples rows.
    interval : ndarray of shape (n_samples, 2), default=None
        Interval of the risk at each point: low, high. None: not drawn.
    area : float, default=None
        Area under the curve (AURC) for the legend. None: not shown.
    name : str, default=None
        Name of the classifier for the legend.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the curve.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.
    line_ : matplotlib.lines.Line2D
        The curve, one point a row.
    band_ : matplotlib.collections.FillBetweenPolyCollection or None
        The intervals.
    references_ : list of matplotlib.lines.Line2D
        Random and perfect order; empty if they are not drawn.

    See Also
    --------
    sksve.metrics.risk_coverage_curve : The numbers.
    ReliabilityDisplay : Whether the confidence is right as a probability.

    References
    ----------
    .. [1] El-Yaniv, R. and Wiener, Y. (2010). On the Foundations of Noise-free Selective
           Classification. JMLR 11, 1605-1641. https://jmlr.org/papers/v11/el-yaniv10a.html
    .. [2] Geifman, Y. and El-Yaniv, R. (2017). Selective Classification for Deep Neural Networks.
           NeurIPS. :arxiv:`1705.08500`

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sksve.plotting import RiskCoverageDisplay
    >>> display = RiskCoverageDisplay.from_predictions([0, 1, 0, 1], [0.1, 0.8, 0.7, 0.6])
    >>> display.line_.get_xydata().round(3)
    array([[0.25 , 0.   ],
           [0.5  , 0.   ],
           [0.75 , 0.333],
           [1.   , 0.25 ]])
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        curve: RiskCoverageCurve,
        *,
        interval: Any = None,
        area: float | None = None,
        name: str | None = None,
    ) -> None:
        self.curve = curve
        self.interval = interval
        self.area = area
        self.name = name

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        labels: Any = None,
        sample_weight: Any = None,
        confidence_level: float = 0.95,
        name: str | None = None,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the risk-coverage curve of probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
            Probabilities; one-dimensional: of the positive class.
        labels : array-like of shape (n_classes,), default=None
            Labels of the columns. None: the sorted labels of `y_true`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; in the intervals, too, weight 2 equals the row twice.
        confidence_level : float, default=0.95
            Level of the intervals, which are Clopper and Pearson's, each for its own coverage.
        name : str, default=None
            Name for the legend.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **plot_params : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        RiskCoverageDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes, labels, probabilities, weights or parameters are malformed.
        """
        check_parameters(
            {"confidence_level": [Interval(Real, 0, 1, closed="neither")]},
            {"confidence_level": confidence_level},
            owner=f"{cls.__name__}.from_predictions",
        )
        shared = {"labels": labels, "sample_weight": sample_weight}
        curve = risk_coverage_curve(y_true, y_proba, **shared)
        weight = len(y_true) if sample_weight is None else np.sum(sample_weight)
        answered = curve.coverage * weight
        interval = clopper_pearson(curve.risk * answered, answered, confidence_level)
        area = aurc(y_true, y_proba, **shared)
        return cls(curve, interval=interval, area=area, name=name).plot(ax=ax, **plot_params)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        show_interval: bool = True,
        show_references: bool | None = None,
        **line_params: Any,
    ) -> Self:
        """Draw the curve.

        To compare classifiers, draw them on one `ax`: each gets its own colour and line style.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        name : str, default=None
            Name for the legend. None: the display's own.
        show_interval : bool, default=True
            Whether to draw the intervals as a band.
        show_references : bool, default=None
            Whether to draw the lines of a random and of a perfect order. None: for the first
            classifier on these axes only.
        **line_params : dict
            Parameters of the curve, as :meth:`matplotlib.axes.Axes.plot` has them.

        Returns
        -------
        RiskCoverageDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes_to_draw_on(ax, figsize=(5.4, 4.2))
        tidy(ax)
        coverage, risk = self.curve.coverage, self.curve.risk
        self.references_, self.band_ = [], None
        compared = has_curves(ax)
        if not compared if show_references is None else show_references:
            frame = {"color": GREY, "linewidth": 1}
            self.references_ += ax.plot(
                [0, 1], [risk[-1], risk[-1]], linestyle="--", label="Random order", **frame
            )
            self.references_ += ax.plot(
                *self._perfect_order(), linestyle=":", label="Perfect order", **frame
            )
        style = next_style(ax) | {"marker": "", "linewidth": 1.6, "label": self._label(name)}
        (self.line_,) = ax.plot(coverage, risk, **with_user_style(style, line_params))
        if show_interval and self.interval is not None:
            low, high = np.asarray(self.interval).T
            self.band_ = ax.fill_between(
                coverage, low, high, color=self.line_.get_color(), alpha=0.18, linewidth=0
            )
        # The first few rows say nothing: their intervals reach from 0 to 1.
        settled = risk[coverage >= 0.05].max(initial=risk[-1])
        top = max(1.35 * settled, 0.02, ax.get_ylim()[1] if compared else 0.0)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, min(top, 1.0))
        ax.set_xlabel("Coverage (share of the rows that are answered)")
        ax.set_ylabel("Risk (error rate among them)")
        ax.legend(loc="upper left", framealpha=0.8, edgecolor="none")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _perfect_order(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Risk of an order that leaves out every error before any right answer."""
        accuracy = 1.0 - self.curve.risk[-1]
        coverage = np.append(0.0, np.linspace(accuracy, 1.0, 100)) if accuracy else np.ones(2)
        kept = np.maximum(coverage - accuracy, 0.0)
        return coverage, kept / np.maximum(coverage, np.finfo(float).tiny)

    def _label(self, name: str | None) -> str:
        name = self.name if name is None else name
        shown = "Classifier" if name is None else plain_text(name)
        return shown if self.area is None else f"{shown} (AURC {self.area:.3f})"

"""The risk-coverage curve."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from sksve._arrays import as_array
from sksve._validation import check_parameters
from sksve.metrics import aurc, risk_coverage_curve
from sksve.metrics._curve import clopper_pearson
from sksve.metrics._inputs import check_sample_weight, effective_weight
from sksve.metrics._selective import RiskCoverageCurve
from sksve.plotting._canvas import (
    GREY,
    ProbabilityDisplay,
    axes_to_draw_on,
    has_curves,
    next_style,
    place_legend,
    with_user_style,
)


@dataclass(eq=False, repr=False)
class RiskCoverageDisplay(ProbabilityDisplay):
    """Risk-coverage curve: the error rate among the rows a classifier is most confident of.

    From right to left, more and more of the least confident rows are rejected. If the curve falls
    quickly, confidence separates right from wrong. Two lines bound it: a random order has the error
    rate of all rows, a perfect order rejects the errors first.

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
        The curve, one point per row.
    band_ : matplotlib.collections.FillBetweenPolyCollection or None
        The intervals.
    references_ : list of matplotlib.lines.Line2D
        Random and perfect order; empty if not drawn.

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

    curve: RiskCoverageCurve
    _: KW_ONLY
    interval: Any = None
    area: float | None = None
    name: str | None = None

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
            Weights of the rows; in the intervals, too, weight 2 equals the row twice, and weights that
            are not whole count as Kish's effective number of rows.
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
        weight = check_sample_weight(sample_weight, len(as_array(y_true, "y_true")))
        total = len(curve.risk) if weight is None else effective_weight(weight[weight > 0]).sum()
        answered = curve.coverage * total
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
            Name for the legend. None: the name of the display.
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
        label = self._label(name, None if self.area is None else f"AURC {self.area:.3f}")
        style = next_style(ax) | {"marker": "", "linewidth": 1.6, "label": label}
        (self.line_,) = ax.plot(coverage, risk, **with_user_style(style, line_params))
        if show_interval and self.interval is not None:
            low, high = np.asarray(self.interval).T
            self.band_ = ax.fill_between(
                coverage, low, high, color=self.line_.get_color(), alpha=0.18, linewidth=0
            )
        # The risk of the first few rows is noise: their intervals reach from 0 to 1.
        highest = risk[coverage >= 0.05].max(initial=risk[-1])
        top = max(1.35 * highest, 0.02, ax.get_ylim()[1] if compared else 0.0)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, min(top, 1.0))
        ax.set_xlabel("Coverage (share of the rows that are answered)")
        ax.set_ylabel("Risk (error rate among them)")
        place_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _perfect_order(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Risk of an order that rejects every error before any correct row."""
        accuracy = 1.0 - self.curve.risk[-1]
        coverage = np.append(0.0, np.linspace(accuracy, 1.0, 100)) if accuracy else np.ones(2)
        errors = np.maximum(coverage - accuracy, 0.0)
        return coverage, errors / np.maximum(coverage, np.finfo(float).tiny)

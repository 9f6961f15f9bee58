"""Aleatoric and epistemic uncertainty of a classifier's predictions."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from sksve._arrays import as_array, is_missing
from sksve._validation import check_parameters
from sksve.metrics import Uncertainty
from sksve.metrics._predict_uncertainty import has_members, predict_uncertainty
from sksve.plotting._canvas import (
    BLUE,
    RUST,
    SKY,
    axes_to_draw_on,
    place_legend,
    plain_text,
    with_user_style,
)

_BINS = [Interval(Integral, 1, 10_000, closed="both")]

_MEASURES = {
    "total": "Total uncertainty (nats)",
    "aleatoric": "Aleatoric uncertainty (nats)",
    "epistemic": "Epistemic uncertainty (nats)",
    "disagreement": "Share of members that disagree",
    "variance": "Variance over members",
    "confidence": "Confidence",
    "novelty": "Novelty (share of training rows less far out)",
}


@dataclass(eq=False, repr=False)
class UncertaintyDisplay:
    """Aleatoric against epistemic uncertainty, row by row, for right and wrong predictions.

    Aleatoric uncertainty is in the data: every member is uncertain. Epistemic uncertainty is in the
    model: the members disagree, as they do far from the training data.

    Use :meth:`from_estimator` or :meth:`from_predictions` to make one.

    Parameters
    ----------
    uncertainty : Uncertainty
        What ``predict_uncertainty`` returns, for n_samples rows.
    correct : array-like of shape (n_samples,) and dtype bool, default=None
        Whether each row's answer is right. None: unknown.
    name : str, default=None
        Name of the classifier, the title of the axes.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the drawing.
    figure_ : matplotlib.figure.Figure
        Figure of the axes.
    lines_ : list of matplotlib.lines.Line2D
        The points (``kind="scatter"``) or outlines (``kind="hist"``): of right and wrong rows, or
        of all rows if unknown.
    line_ : matplotlib.lines.Line2D
        The first of `lines_`.

    Raises
    ------
    ValueError
        If `correct` does not have one entry a row.

    See Also
    --------
    sksve.metrics.Uncertainty : The record.

    References
    ----------
    .. [1] Depeweg, S., Hernandez-Lobato, J.M., Doshi-Velez, F. and Udluft, S. (2018). Decomposition
           of Uncertainty in Bayesian Deep Learning for Efficient and Risk-sensitive Learning. ICML.
           :arxiv:`1710.07283`

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sksve.metrics import Uncertainty
    >>> from sksve.plotting import UncertaintyDisplay
    >>> members = [[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]]
    >>> display = UncertaintyDisplay.from_predictions(Uncertainty.from_members(members))
    >>> display.line_.get_xydata().round(3) + 0.0
    array([[0.   , 0.693],
           [0.693, 0.   ]])
    >>> plt.close(display.figure_)
    """

    uncertainty: Uncertainty
    _: KW_ONLY
    correct: Any = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.correct is None:
            return
        self.correct = np.asarray(self.correct, dtype=bool)
        if self.correct.shape != (len(self.uncertainty),):
            raise ValueError(
                f"correct must have one entry a row, shape ({len(self.uncertainty)},). "
                f"Got shape {self.correct.shape}."
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        name: str | None = None,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the uncertainty of a fitted ensemble.

        Parameters
        ----------
        estimator : classifier
            Fitted, with members; also inside a Pipeline, a search object or a calibrated wrapper,
            as :func:`sksve.predict_uncertainty` takes them.
        X : array-like of length n_samples
            What it predicts from.
        y : array-like of shape (n_samples,), default=None
            True labels. None: right and wrong predictions are not distinguished.
        name : str, default=None
            Title of the axes. None: the class name of the estimator.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **plot_params : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        UncertaintyDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator holds no classifier with members.
        """
        class_name = type(estimator).__name__
        if hasattr(estimator, "predict_uncertainty"):
            uncertainty = estimator.predict_uncertainty(X)
        elif has_members(estimator):
            uncertainty = predict_uncertainty(estimator, X)
        else:
            raise ValueError(
                "from_estimator needs a classifier with members, or a Pipeline, search object or "
                f"calibrated wrapper around one. Got {class_name}. With members from elsewhere, use "
                "from_predictions."
            )
        return cls.from_predictions(
            uncertainty,
            y_true=y,
            y_pred=None if y is None else estimator.predict(X),
            name=class_name if name is None else name,
            ax=ax,
            **plot_params,
        )

    @classmethod
    def from_predictions(
        cls,
        uncertainty: Any,
        *,
        y_true: Any = None,
        y_pred: Any = None,
        name: str | None = None,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw uncertainty that was computed before.

        Parameters
        ----------
        uncertainty : Uncertainty or array-like of shape (n_members, n_samples, n_classes)
            The record, or the members' probabilities.
        y_true, y_pred : array-like of shape (n_samples,), default=None
            True and predicted labels, both or none.
        name : str, default=None
            Title of the axes.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **plot_params : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        UncertaintyDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If only one of `y_true` and `y_pred` is given, or lengths differ.
        """
        if not isinstance(uncertainty, Uncertainty):
            uncertainty = Uncertainty.from_members(uncertainty)
        correct = _correct(y_true, y_pred)
        return cls(uncertainty, correct=correct, name=name).plot(ax=ax, **plot_params)

    def plot(
        self,
        ax: Any = None,
        *,
        kind: Literal["scatter", "hist"] = "scatter",
        measure: str = "total",
        n_bins: int = 20,
        **line_params: Any,
    ) -> Self:
        """Draw the uncertainty.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        kind : {"scatter", "hist"}, default="scatter"
            One point per row, aleatoric against epistemic; or the distribution of one `measure`.
        measure : str, default="total"
            For ``kind="hist"``: "total", "aleatoric", "epistemic", "disagreement", "variance",
            "confidence" or "novelty".
        n_bins : int, default=20
            For ``kind="hist"``: number of bins.
        **line_params : dict
            Parameters of the points or outlines, as :meth:`matplotlib.axes.Axes.plot` has them.

        Returns
        -------
        UncertaintyDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `kind` or `measure` is not one of the above, or `n_bins` no int from 1 to 10,000.
        """
        if not isinstance(kind, str) or kind not in ("scatter", "hist"):
            raise ValueError(f"kind must be 'scatter' or 'hist'. Got {kind!r} instead.")
        if not isinstance(measure, str) or measure not in _MEASURES:
            raise ValueError(f"measure must be one of {list(_MEASURES)}. Got {measure!r} instead.")
        if kind == "hist" and getattr(self.uncertainty, measure) is None:
            raise ValueError(
                f"The uncertainty has no {measure}: members' probabilities do not tell it. Use "
                "from_estimator, or what predict_uncertainty returned."
            )
        check_parameters({"n_bins": _BINS}, {"n_bins": n_bins}, owner="UncertaintyDisplay.plot")
        ax = axes_to_draw_on(ax, figsize=(5.4, 4.2))
        if kind == "scatter":
            self.lines_ = self._draw_points(ax, line_params)
        else:
            self.lines_ = self._draw_outlines(ax, measure, n_bins, line_params)
        if self.name is not None:
            ax.set_title(plain_text(self.name))
        if self.correct is not None:
            # Aleatoric and epistemic never add up to more than log(n_classes): that corner is free.
            if kind == "scatter":
                legend = ax.legend(loc="upper right", frameon=False, markerscale=2)
            else:
                legend = place_legend(ax)
            for handle in legend.legend_handles:
                handle.set_alpha(1)
        self.line_, self.ax_, self.figure_ = self.lines_[0], ax, ax.figure
        return self

    def _groups(self) -> list[tuple[NDArray[np.bool_], dict[str, Any], dict[str, Any]]]:
        """Rows, style of points and of an outline of each group; the smaller one is drawn last."""
        # Groups differ in shape and lightness, not in colour alone.
        if self.correct is None:
            every = np.ones(len(self.uncertainty), dtype=bool)
            look = {"color": BLUE, "label": "All rows"}
            return [(every, look | {"marker": "o"}, look | {"linestyle": "-"})]
        groups = []
        for chosen, word, colour, marker, dashes in (
            (self.correct, "Right", SKY, "o", "-"),
            (~self.correct, "Wrong", RUST, "x", "--"),
        ):
            look = {"color": colour, "label": f"{word} ({np.count_nonzero(chosen):,})"}
            groups.append((chosen, look | {"marker": marker}, look | {"linestyle": dashes}))
        return groups

    def _draw_points(self, ax: Any, line_params: dict[str, Any]) -> list[Any]:
        crowded = len(self.uncertainty) > 500
        style = {
            "linestyle": "none",
            "markersize": 3 if crowded else 5,
            "markeredgewidth": 0.8 if crowded else 1.2,
            "alpha": 0.6 if crowded else 0.8,
        }
        lines = []
        for rows, look, _ in self._groups():
            x, y = self.uncertainty.aleatoric[rows], self.uncertainty.epistemic[rows]
            lines += ax.plot(x, y, **with_user_style(style | look, line_params))
        ax.set_xlabel(_MEASURES["aleatoric"])
        ax.set_ylabel(_MEASURES["epistemic"])
        return lines

    def _draw_outlines(
        self, ax: Any, measure: str, n_bins: int, line_params: dict[str, Any]
    ) -> list[Any]:
        values = getattr(self.uncertainty, measure)
        edges = np.histogram_bin_edges(values, bins=n_bins)
        style = {"drawstyle": "steps-post", "linewidth": 1.6}
        lines = []
        for rows, _, look in self._groups():
            counts, _ = np.histogram(values[rows], bins=edges)
            # Shares, not counts: there are far fewer wrong rows than right ones.
            shares = counts / max(counts.sum(), 1)
            heights = np.append(shares, shares[-1])
            lines += ax.plot(edges, heights, **with_user_style(style | look, line_params))
            ax.fill_between(edges, heights, step="post", color=lines[-1].get_color(), alpha=0.15)
        ax.set_xlabel(_MEASURES[measure])
        ax.set_ylabel("Share of the rows" if self.correct is None else "Share of each group")
        ax.set_ylim(bottom=0)
        return lines


def _correct(y_true: Any, y_pred: Any) -> NDArray[np.bool_] | None:
    if (y_true is None) != (y_pred is None):
        passed, missing = ("y_true", "y_pred") if y_pred is None else ("y_pred", "y_true")
        raise ValueError(
            f"To tell right from wrong, both y_true and y_pred are needed. {passed} is given, "
            f"{missing} is not."
        )
    if y_true is None:
        return None
    true, pred = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    if true.ndim != 1 or true.shape != pred.shape:
        raise ValueError(
            f"y_true and y_pred must have the same shape (n_samples,). Got {true.shape} and "
            f"{pred.shape}."
        )
    if any(is_missing(label) for labels in (true, pred) for label in labels.tolist()):
        raise ValueError("y_true and y_pred must not hold missing labels.")
    return np.asarray(true == pred, dtype=bool)

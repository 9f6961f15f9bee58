"""What displays have in common: axes to draw on, styles, and the way from an estimator to a drawing."""

from abc import ABC, abstractmethod
from typing import Any, Self

# Okabe and Ito's colours, distinct with any colour vision: https://jfly.uni-koeln.de/color/
BLUE, SKY, VERMILLION, GREY = "#0072B2", "#56B4E9", "#D55E00", "0.5"
RUST = "#8F2D00"  # vermillion, dark enough to differ from SKY in grey

# One style per curve, so that curves on the same axes differ in grey as well as by colour.
STYLES = (
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": VERMILLION, "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "D"},
    {"color": "#000000", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": SKY, "linestyle": (0, (8, 2)), "marker": "P"},
    {"color": "#E69F00", "linestyle": (0, (3, 1, 1, 1)), "marker": "X"},
)
_CURVE = "sksve-curve"  # marks our curves on axes that others may draw on, too
MARKS = "sksve-marks"
_BELOW = "sksve-below"


class ProbabilityDisplay(ABC):
    """Base of the displays that need true labels and class probabilities."""

    name: str | None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        name: str | None = None,
        ax: Any = None,
        **params: Any,
    ) -> Self:
        """Draw what a fitted classifier predicts.

        Parameters
        ----------
        estimator : classifier
            Fitted, with ``predict_proba`` and ``classes_``.
        X : array-like of length n_samples
            What it predicts from; rows it was not trained on.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        name : str, default=None
            Name for the legend. None: the class name of the estimator.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **params : dict
            Further parameters of :meth:`from_predictions`.

        Returns
        -------
        display : object
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator has no ``predict_proba``, or as :meth:`from_predictions`.
        """
        class_name = type(estimator).__name__
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"from_estimator needs a classifier with predict_proba. Got {class_name}. "
                "With probabilities from elsewhere, use from_predictions."
            )
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            sample_weight=sample_weight,
            name=class_name if name is None else name,
            ax=ax,
            **params,
        )

    @classmethod
    @abstractmethod
    def from_predictions(cls, y_true: Any, y_proba: Any, **params: Any) -> Self:
        """Draw probabilities that were computed before."""

    def _label(self, name: str | None, figures: str | None) -> str:
        """Label for the legend: the name, and figures in parentheses."""
        name = self.name if name is None else name
        shown = "Classifier" if name is None else plain_text(name)
        return shown if figures is None else f"{shown} ({figures})"


def axes_to_draw_on(ax: Any, figsize: tuple[float, float]) -> Any:
    """Return `ax`, or the axes of a new figure, with what stays of the frame behind the data."""
    try:
        import matplotlib.pyplot as plt
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            'Drawing needs matplotlib. Install it with: pip install "sksve[plot]"'
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    elif not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes or None. Got {ax!r:.80} instead.")
    tidy(ax)
    return ax


def tidy(ax: Any) -> None:
    """Remove the frame's upper and right side, and draw the rest behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def next_style(ax: Any) -> dict[str, Any]:
    """Colour, line style and marker that no curve of ours on these axes has yet."""
    drawn = sum(line.get_gid() == _CURVE for line in ax.lines)
    return {**STYLES[drawn % len(STYLES)], "gid": _CURVE}


def has_curves(ax: Any) -> bool:
    """Whether a display has drawn a curve on these axes before."""
    return any(line.get_gid() == _CURVE for line in ax.lines)


def place_legend(ax: Any, **look: Any) -> Any:
    """Draw the legend in a corner or at an edge where no curve of ours is; else above the axes."""
    legend = ax.legend(**({"framealpha": 0.8, "edgecolor": "none", "loc": "upper left"} | look))
    figure = ax.figure.get_figure(root=True)
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()  # only now axes have their size
    renderer = figure._get_renderer()
    for place in _PLACES:
        legend.set_loc(place)
        if not _covers_a_curve(legend.get_window_extent(renderer).padded(6), ax):
            return legend
    above = 1.02
    if ax.get_title():
        top = ax.title.get_window_extent(renderer).y1
        above = ax.transAxes.inverted().transform((0.0, top))[1] + 0.02
    legend.set_loc("lower left")
    legend.set_bbox_to_anchor((0.0, above), transform=ax.transAxes)
    return legend


_PLACES = (
    "upper left", "lower right", "upper right", "lower left", "center right", "center left", "upper center",
    "lower center",
)  # fmt: skip


def _covers_a_curve(box: Any, ax: Any) -> bool:
    """Whether a box, in pixels, meets a line or a mark on the axes."""
    lines = (line.get_transform().transform_path(line.get_path()) for line in ax.lines)
    if any(path.intersects_bbox(box, filled=False) for path in lines if len(path.vertices) > 1):
        return True
    points = [line.get_transform().transform(line.get_xydata()) for line in ax.lines]
    points += [
        ax.transData.transform(marks.get_offsets())
        for marks in ax.collections
        if marks.get_gid() == MARKS
    ]
    return any(
        ((p > (box.x0 - 4, box.y0 - 4)) & (p < (box.x1 + 4, box.y1 + 4))).all(axis=1).any()
        for p in points
        if len(p)
    )


def with_user_style(style: dict[str, Any], line_params: dict[str, Any]) -> dict[str, Any]:
    """Our style under the user's, who may also write ``c`` for ``color`` and the like."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return style | normalize_kwargs(line_params, Line2D)


def plain_text(words: Any) -> str:
    """Text that matplotlib draws literally: no mathematics, no label that a legend leaves out."""
    # Half a surrogate pair or a control character is nothing that a font could draw.
    drawn = (ch if ch.isprintable() or ch in "\n " else "\ufffd" for ch in str(words))
    words = "".join(drawn).replace("$", r"\$")
    return f" {words}" if words.startswith("_") else words


def axes_below(ax: Any, share: float) -> Any:
    """Axes in the lower `share` of another's place, with the same x axis; made once."""
    siblings = ax.get_shared_x_axes().get_siblings(ax)
    below = next((other for other in siblings if other.get_gid() == _BELOW), None)
    if below is not None:
        return below
    figure, spec = ax.figure, ax.get_subplotspec()
    current = figure.gca()
    if spec is not None:
        parts = spec.subgridspec(2, 1, height_ratios=(1 - share, share), hspace=0.08)
        ax.set_subplotspec(parts[0])
        below = figure.add_subplot(parts[1], sharex=ax)
    else:
        left, bottom, width, height = ax.get_position().bounds
        ax.set_position((left, bottom + 1.15 * share * height, width, (1 - 1.15 * share) * height))
        below = figure.add_axes((left, bottom, width, share * height), sharex=ax)
    figure.sca(current)  # the figure's current axes stay what they were
    below.set_gid(_BELOW)
    ax.tick_params(labelbottom=False)
    tidy(below)
    return below

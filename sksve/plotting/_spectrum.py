"""How far training moved the weights of each layer, where in the spectrum, and in which members."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np

from sksve.plotting._canvas import BLUE, GREY, VERMILLION, axes_to_draw_on, place_legend


@dataclass(eq=False, repr=False)
class SpectrumDisplay:
    """What training did to the singular values, layer by layer.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    shift : SpectrumShift
        What :func:`sksve.diagnostics.spectrum_shift` returns.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    points_ : list of matplotlib.lines.Line2D
        ``kind="layers"``: one line of points per member. ``kind="spectrum"``: the curve.
    band_ : matplotlib.collections.FillBetweenPolyCollection or None
        ``kind="spectrum"``: the quartiles over layers and members.
    intruders_ : matplotlib.lines.Line2D or None
        Layers and members with intruder dimensions.

    See Also
    --------
    sksve.diagnostics.spectrum_shift : The numbers.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.plotting import SpectrumDisplay
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    >>> display = SpectrumDisplay.from_estimator(clf.fit(["good", "bad"] * 4, [1, 0] * 4))
    >>> len(display.points_)
    2
    >>> plt.close(display.figure_)
    """

    shift: Any

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **plot_params: Any) -> Self:
        """Measure a fitted classifier and draw.

        Parameters
        ----------
        estimator : classifier
            A fitted ``SVEClassifier`` or baseline.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **plot_params : dict
            Further parameters of :meth:`plot`.

        Returns
        -------
        SpectrumDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `estimator` is no classifier with members.
        """
        from sksve.diagnostics import spectrum_shift

        return cls(spectrum_shift(estimator)).plot(ax=ax, **plot_params)

    def plot(self, ax: Any = None, *, kind: str = "layers") -> Self:
        """Draw the shifts.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        kind : {"layers", "spectrum"}, default="layers"
            "layers": the relative shift of the singular values of each layer, one point per member.
            "spectrum": the size of the relative shift against the place in the spectrum, as the median
            over layers and members with their quartiles.

        Returns
        -------
        SpectrumDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `kind` is unknown, or there is no layer to draw.
        ImportError
            If matplotlib is not installed.
        """
        if kind not in ("layers", "spectrum"):
            raise ValueError(f"'kind' must be one of ['layers', 'spectrum']. Got {kind!r} instead.")
        if not self.shift.layers:
            raise ValueError("No layer was adapted, so there is nothing to draw.")
        ax = axes_to_draw_on(ax, figsize=(6.4, 4.2))
        self.points_: list[Any] = []
        self.band_, self.intruders_ = None, None
        if kind == "layers":
            self._plot_layers(ax)
        else:
            self._plot_spectrum(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_layers(self, ax: Any) -> None:
        shift = self.shift.value_shift
        x = np.arange(len(shift))
        look: dict[str, Any] = {"linestyle": "", "marker": "o"}
        self.points_ += ax.plot(x, shift, markersize=4, color=BLUE, alpha=0.6, **look)
        self.points_[0].set_label("Members")
        layers, members = np.nonzero(self.shift.intruders)
        if len(layers):
            look |= {"markersize": 9, "markerfacecolor": "none", "color": VERMILLION}
            (self.intruders_,) = ax.plot(
                layers, shift[layers, members], label="With intruder dimensions", **look
            )
        ax.set_ylim(bottom=0)
        every = max(1, len(x) // 24)
        ax.set_xticks(x[::every], self.shift.layers[::every], rotation=90, fontsize=6)
        ax.set_ylabel("Relative shift of the singular values")
        place_legend(ax)

    def _plot_spectrum(self, ax: Any) -> None:
        grid = np.linspace(0.0, 1.0, 101)
        rows = [
            np.interp(grid, np.linspace(0.0, 1.0, len(row)), np.abs(np.nan_to_num(row)))
            for layer in self.shift.relative_shifts
            for row in layer
        ]
        low, median, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
        self.points_ += ax.plot(grid, median, color=BLUE, label="Median over layers and members")
        self.band_ = ax.fill_between(
            grid, low, high, color=BLUE, alpha=0.18, linewidth=0, label="Quartiles"
        )
        ax.set_xlim(0, 1)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("Place in the spectrum (0: leading singular value)")
        ax.set_ylabel("Size of the relative shift")
        place_legend(ax)


@dataclass(eq=False, repr=False)
class LayerDiversityDisplay:
    """How much members differ after each adapted block.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    diversity : LayerDiversity
        What :func:`sksve.diagnostics.layer_diversity` returns.
    name : str, default=None
        Name of the classifier for the legend.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    line_ : matplotlib.lines.Line2D

    See Also
    --------
    sksve.diagnostics.layer_diversity : The numbers.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.plotting import LayerDiversityDisplay
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    >>> clf = clf.fit(["good", "bad"] * 4, [1, 0] * 4)
    >>> display = LayerDiversityDisplay.from_estimator(clf, ["good film", "bad"])
    >>> len(display.line_.get_ydata())
    4
    >>> plt.close(display.figure_)
    """

    diversity: Any
    _: KW_ONLY
    name: str | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, name: str | None = None, ax: Any = None, **plot_params: Any
    ) -> Self:
        """Run the members of a fitted classifier over some rows and draw.

        Parameters
        ----------
        estimator : classifier
            A fitted ``SVEClassifier`` or baseline.
        X : as in its fit
            Some tens of rows.
        name : str, default=None
            Name for the legend. None: the class name of the estimator.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **plot_params : dict
            Parameters of the line, as :meth:`matplotlib.axes.Axes.plot` has them.

        Returns
        -------
        LayerDiversityDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `estimator` is no classifier with members.
        """
        from sksve.diagnostics import layer_diversity

        name = type(estimator).__name__ if name is None else name
        return cls(layer_diversity(estimator, X), name=name).plot(ax=ax, **plot_params)

    def plot(self, ax: Any = None, **line_params: Any) -> Self:
        """Draw the share of variance by layer.

        To compare classifiers of one backbone, draw them on one `ax`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: those of a new figure.
        **line_params : dict
            Parameters of the line.

        Returns
        -------
        LayerDiversityDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes_to_draw_on(ax, figsize=(5.4, 4.2))
        x = np.arange(len(self.diversity.layers))
        style = {"marker": "o", "markersize": 4, "label": self.name}
        (self.line_,) = ax.plot(x, self.diversity.variance, **(style | line_params))
        ax.axhline(0.0, color=GREY, linewidth=0.8)
        ax.set_xticks(x, self.diversity.layers, rotation=90, fontsize=7)
        ax.set_ylabel("Variance over members, as a share of the mean square")
        if self.name is not None:
            place_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

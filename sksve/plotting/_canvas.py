"""What every display needs: axes to draw on, and an estimator's probabilities."""

from typing import Any

# Okabe and Ito's colours, told apart with any colour vision: https://jfly.uni-koeln.de/color/
BLUE, SKY, VERMILLION, GREY = "#0072B2", "#56B4E9", "#D55E00", "0.5"
RUST = "#8F2D00"  # vermillion, as dark as needed beside SKY in grey

# One style a curve, so that curves on the same axes are told apart in grey and by colour alike.
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
_BELOW = "sksve-below"


def axes_to_draw_on(ax: Any, figsize: tuple[float, float]) -> Any:
    """Axes that were given, or those of a new figure.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Axes to use.
    figsize : tuple of float
        Width and height in inches of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `ax` is something else.
    """
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
    return ax


def next_style(ax: Any) -> dict[str, Any]:
    """Colour, line style and marker that no curve of ours on these axes has yet."""
    drawn = sum(line.get_gid() == _CURVE for line in ax.lines)
    return {**STYLES[drawn % len(STYLES)], "gid": _CURVE}


def with_user_style(style: dict[str, Any], line_params: dict[str, Any]) -> dict[str, Any]:
    """Our style under the user's, who may also write ``c`` for ``color`` and the like."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return style | normalize_kwargs(line_params, Line2D)


def has_curves(ax: Any) -> bool:
    """Whether a display has drawn a curve on these axes before."""
    return any(line.get_gid() == _CURVE for line in ax.lines)


def plain_text(words: Any) -> str:
    """Text that matplotlib draws as it stands: no mathematics, no label that a legend leaves out."""
    # Half a surrogate pair or a control character is nothing that a font could draw.
    drawn = (ch if ch.isprintable() or ch in "\n " else "\ufffd" for ch in str(words))
    words = "".join(drawn).replace("$", r"\$")
    return f" {words}" if words.startswith("_") else words


def axes_below(ax: Any, share: float) -> Any:
    """Axes in the lower part of another's place, with the same x axis; made once.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes that give up the lower part of their place.
    share : float
        How much of the height they give up.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. The figure's current axes stay what they were.
    """
    siblings = ax.get_shared_x_axes().get_siblings(ax)
    found = next((other for other in siblings if other.get_gid() == _BELOW), None)
    if found is not None:
        return found
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
    figure.sca(current)
    below.set_gid(_BELOW)
    ax.tick_params(labelbottom=False)
    tidy(below)
    return below


def tidy(ax: Any) -> None:
    """Take away the frame's upper and right side, and draw what stays behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)

"""What every display needs: axes to draw on, and an estimator's probabilities."""

from typing import Any

# Okabe and Ito's colours, told apart with any colour vision: https://jfly.uni-koeln.de/color/
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "0.5"


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
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'Drawing needs matplotlib. Install it with: pip install "sksve[plot]"'
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def axes_below(ax: Any, share: float) -> Any:
    """Axes in the lower part of another's place, with the same x axis.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes that give up the lower part of their place.
    share : float
        How much of the height they give up.

    Returns
    -------
    matplotlib.axes.Axes
        The new axes. The figure's current axes stay what they were.
    """
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
    ax.tick_params(labelbottom=False)
    tidy(below)
    return below


def tidy(ax: Any) -> None:
    """Take away the frame's upper and right side, and draw what stays behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def probabilities_of(estimator: Any, X: Any) -> tuple[Any, Any, str]:
    """Class probabilities, class labels and name of a fitted classifier.

    Parameters
    ----------
    estimator : classifier
        Fitted, with ``predict_proba`` and ``classes_``.
    X : array-like
        What it predicts from.

    Returns
    -------
    y_proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    labels : ndarray of shape (n_classes,)
        Labels of the columns.
    name : str
        Class name of the estimator.

    Raises
    ------
    ValueError
        If the estimator has no ``predict_proba``.
    """
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"from_estimator needs a classifier with predict_proba. Got {name}. "
            "With probabilities from elsewhere, use from_predictions."
        )
    return estimator.predict_proba(X), estimator.classes_, name

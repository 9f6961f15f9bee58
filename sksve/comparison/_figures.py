"""Figures of a comparison: reliability before and after, and every variant's metrics in one row each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sksve.comparison._record import ECE, METRICS, UNCALIBRATED, Record
from sksve.metrics import calibration_curve
from sksve.plotting import ReliabilityDisplay
from sksve.plotting._canvas import GREY, plain_text, tidy

WIDTH = 7.6  # inches: with 100 dots an inch it fits a page of 800
COLUMNS = 3  # diagrams side by side
DIAGRAM = 3.3  # inches a row of them, with the legends below
LARGEST = 90  # square points of the mark of the bin with most rows
FOREST = ("negative_log_likelihood", ECE)


def draw_all(comparison: Record) -> Any:
    """Return a new figure with everything."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'Drawing needs matplotlib. Install it with: pip install "sksve[plot]"'
        ) from error
    heights = reliability_height(comparison), forest_height(comparison)
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=heights)
    draw_reliability(comparison, above)
    draw_forest(comparison, below)
    return figure


def reliability_height(comparison: Record) -> float:
    """Inches that the diagrams need."""
    return DIAGRAM * -(-len(comparison.models) // COLUMNS)


def forest_height(comparison: Record) -> float:
    """Inches that a row for each variant and a heading for each model need."""
    return 1.0 + 0.23 * (len(comparison.variants) + len(comparison.models))


def draw_reliability(comparison: Record, figure: Any) -> None:
    """Draw a diagram a model: as it is, and with the calibrator the calibration rows prefer."""
    models = comparison.models
    n_rows = -(-len(models) // COLUMNS)
    axes = figure.subplots(n_rows, min(COLUMNS, max(len(models), 2)), squeeze=False).ravel()
    for ax, model in zip(axes, models):
        own = [variant for variant in comparison.variants if variant[0] == model]
        best = min(own, key=comparison.choice.__getitem__)
        if comparison.pick[0] == model:
            best = comparison.pick
        for variant in dict.fromkeys([(model, UNCALIBRATED), best]):
            curve = calibration_curve(
                comparison.y_test,
                comparison.probabilities[variant],
                labels=comparison.labels,
                confidence_level=comparison.confidence_level,
            )
            ece = comparison.metrics[variant][ECE]
            name = "uncalibrated" if variant[1] == UNCALIBRATED else _short(variant[1], 18)
            display = ReliabilityDisplay(
                curve, ece=ece.value, ece_interval=(ece.low, ece.high), name=name
            ).plot(ax, show_counts=False, show_interval=variant == best)
            _size_by_rows(ax, display)
        ax.set_title(plain_text(_short(model, 28)), fontsize=10)
        ax.tick_params(labelsize=8)
        ax.set_xlabel(ax.get_xlabel(), fontsize=9)
        ax.set_ylabel(ax.get_ylabel(), fontsize=9)
        # Below the axes: above them it would cover curves.
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "borderaxespad": 0.0}
        ax.legend(fontsize=7, frameon=False, handlelength=1.5, **place)
    for ax in axes[len(models) :]:
        ax.set_visible(False)


def _size_by_rows(ax: Any, display: Any) -> None:
    """Give each bin a mark whose area is its number of rows, in place of equal marks."""
    line, counts = display.line_, display.curve.counts
    full = counts > 0
    area = np.maximum(LARGEST * counts[full] / counts.max(), 2.0)
    look = {
        "color": line.get_color(),
        "marker": line.get_marker(),
        "linewidths": 0,
        "zorder": 3,
        "clip_on": False,
    }
    ax.scatter(*line.get_data(), s=area, **look)
    line.set_marker("None")
    line.set_linewidth(1.0)


def draw_forest(comparison: Record, figure: Any, metrics: Sequence[str] = FOREST) -> None:
    """Draw every variant's metrics with their intervals, a row each, under its model's name."""
    axes = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    heights, ticks, at = {}, [], 0.0
    for model in comparison.models:
        ticks.append((at, plain_text(_short(model, 30)), "bold"))
        for variant in comparison.variants:
            if variant[0] == model:
                at += 1
                heights[variant] = at
                pick = variant == comparison.pick
                name = "uncalibrated" if variant[1] == UNCALIBRATED else _short(variant[1], 18)
                words = plain_text(name) + ("  (pick)" if pick else "")
                ticks.append((at, words, "bold" if pick else "normal"))
        at += 1
    for ax, metric in zip(axes, metrics):
        _draw_metric(ax, comparison, metric, heights)
    axes[0].set_ylim(at - 0.4, -0.8)
    axes[0].set_yticks([tick[0] for tick in ticks], [tick[1] for tick in ticks], fontsize=8)
    for label, (_, _, weight) in zip(axes[0].get_yticklabels(), ticks):
        label.set_fontweight(weight)
    figure.supxlabel(
        "filled: may be the best    hollow: surely not the best    dashed: the pick", fontsize=8
    )


def _draw_metric(ax: Any, comparison: Record, metric: str, heights: Any) -> None:
    words = METRICS[metric]
    scale = 100.0 if words.in_percent else 1.0
    p_values = comparison.best_p_values(metric)
    for (variant, height), p in zip(heights.items(), p_values):
        value, low, high = (scale * x for x in comparison.metrics[variant][metric])
        ax.plot([low, high], [height, height], color="0.35", linewidth=1.4)
        ax.plot(
            [value],
            [height],
            marker="o",
            markersize=5.5,
            color="black",
            markerfacecolor="black" if p >= comparison.alpha else "white",
        )
    at_pick = scale * comparison.metrics[comparison.pick][metric].value
    ax.axvline(at_pick, color=GREY, linestyle="--", linewidth=1, zorder=0)
    better = "larger" if words.larger_is_better else "smaller"
    ax.set_title(f"{words.short}, {better} is better", fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    tidy(ax)
    ax.spines["left"].set_visible(False)


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"

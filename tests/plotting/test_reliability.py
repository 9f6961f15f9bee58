"""The reliability diagram draws what sksve.metrics computes. Values are read from the artists."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sksve.metrics import bootstrap_interval, calibration_curve, expected_calibration_error
from sksve.plotting import ReliabilityDisplay, RiskCoverageDisplay


def test_from_predictions__draws_the_curve_bin_by_bin(answers):
    display = ReliabilityDisplay.from_predictions(*answers, n_bins=10)
    curve = calibration_curve(*answers, n_bins=10)
    full = curve.counts > 0
    assert 0 < full.sum() < 10, "some bins are empty: they are not drawn as points"
    np.testing.assert_array_equal(display.line_.get_xdata(), curve.mean_confidence[full])
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.accuracy[full])
    np.testing.assert_array_equal([bar.get_height() for bar in display.bars_], curve.counts)
    np.testing.assert_allclose([bar.get_x() for bar in display.bars_], curve.bin_edges[:-1])
    assert sum(bar.get_height() for bar in display.bars_) == 400


def test_from_predictions__boxes_are_the_intervals(answers):
    display = ReliabilityDisplay.from_predictions(*answers, n_bins=10, confidence_level=0.8)
    curve = calibration_curve(*answers, n_bins=10, confidence_level=0.8)
    low = np.array([box.get_y() for box in display.band_])
    high = low + [box.get_height() for box in display.band_]
    full = curve.counts > 0
    np.testing.assert_allclose(low[full], curve.interval[full, 0])
    np.testing.assert_allclose(high[full], curve.interval[full, 1])
    assert (high[~full] == low[~full]).all(), "nothing is drawn where there are no rows"
    np.testing.assert_allclose([box.get_width() for box in display.band_], np.diff(curve.bin_edges))


def test_from_predictions__a_bin_of_few_rows_is_not_as_loud_as_one_of_many():
    p = np.concatenate([np.full(100, 0.95), [0.65]])
    display = ReliabilityDisplay.from_predictions([1] * 90 + [0] * 10 + [0], p, n_bins=10)
    few, many = display.marks_.get_sizes()
    assert few < 0.1 * many
    np.testing.assert_array_equal(display.marks_.get_offsets(), display.line_.get_xydata())
    assert list(display.line_.get_markevery()) == [], "the line has no marks of one size"
    strength = [box.get_facecolor()[3] for box in display.band_]
    assert strength[6] == pytest.approx(strength[9] / 10)
    halves = ReliabilityDisplay.from_predictions(
        [1, 0] * 100, np.tile([0.95, 0.65], 100), n_bins=10
    )
    assert halves.marks_.get_sizes()[0] == halves.marks_.get_sizes()[1]
    styled = halves.plot(marker="", markersize=3)
    assert (styled.marks_.get_sizes() == 0).all(), "no marks where the user wants none"


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0])
def test_from_predictions__the_legend_covers_no_curve(layout, sharpness, rng):
    p = rng.dirichlet(np.ones(6), 150) ** sharpness
    p /= p.sum(axis=1, keepdims=True)
    for make in (ReliabilityDisplay, RiskCoverageDisplay):
        figure, ax = plt.subplots(figsize=(4, 4), layout=layout)
        ax.set_title("title")
        y = rng.integers(0, 6, 150)
        display = make.from_predictions(y, p, ax=ax, labels=range(6), name="first")
        make.from_predictions(p.argmax(axis=1), p, ax=ax, labels=range(6), name="second one")
        figure.draw_without_rendering()
        box = ax.get_legend().get_window_extent()
        for line in ax.lines:
            path = line.get_transform().transform_path(line.get_path()).clip_to_bbox(ax.bbox)
            assert not path.intersects_bbox(box, filled=False)
        assert not box.overlaps(ax.title.get_window_extent())
        plt.close(figure)
        assert display.ax_ is ax


def test_from_predictions__legend_and_labels(answers):
    display = ReliabilityDisplay.from_predictions(*answers, name="mine")
    words = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ece = expected_calibration_error(*answers)
    low, high = bootstrap_interval(expected_calibration_error, *answers, random_state=0)
    assert 0 < low < ece < high
    shown = f"mine (ECE {100 * ece:.1f} % [{100 * low:.1f}, {100 * high:.1f}])"
    assert words == ["Perfectly calibrated", shown]
    assert display.ax_.get_ylabel() == "Accuracy"
    assert display.counts_ax_.get_xlabel() == "Confidence"
    assert display.counts_ax_.get_ylabel() == "Rows"


def test_from_predictions__one_class(answers):
    display = ReliabilityDisplay.from_predictions(*answers, class_label="bee", n_bins=5)
    curve = calibration_curve(*answers, class_label="bee", n_bins=5)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.accuracy)
    assert display.counts_ax_.get_xlabel() == "Probability of bee"
    assert display.ax_.get_ylabel() == "Observed share of bee"
    assert display.ax_.get_xlim() == (0, 1)
    full = curve.counts > 0
    own = curve.counts[full] @ np.abs(curve.mean_confidence - curve.accuracy)[full] / 400
    assert display.ece == pytest.approx(own)
    low, high = display.ece_interval
    assert low <= own <= high
    assert display.line_.get_label().startswith(f"Classifier (ECE {100 * own:.1f} % [")


def test_init__a_curve_alone_shows_no_error(answers):
    display = ReliabilityDisplay(calibration_curve(*answers)).plot()
    assert display.line_.get_label() == "Classifier"
    assert ReliabilityDisplay(display.curve, ece=0.123, name="x").plot().line_.get_label() == (
        "x (ECE 12.3 %)"
    )


def test_plot__names_are_text_not_mathematics(answers, tmp_path):
    y_true = np.char.add("$", answers[0])
    display = ReliabilityDisplay.from_predictions(
        y_true, answers[1], name="_a$\\nonsense$", class_label="$bee"
    )
    display.figure_.savefig(tmp_path / "drawn.png")  # would raise on mathematics it cannot read
    words = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert len(words) == 2, "a name that starts with an underscore is in the legend, too"
    assert r"\$\nonsense\$" in words[1]


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_from_predictions__passes_every_option_on(answers, rng, strategy):
    options = {"sample_weight": rng.random(400), "n_bins": 4, "strategy": strategy}
    order = [2, 0, 1]
    y_true, y_proba = answers
    display = ReliabilityDisplay.from_predictions(
        y_true, y_proba[:, order], labels=["cat", "ant", "bee"], **options
    )
    curve = calibration_curve(y_true, y_proba, **options)
    np.testing.assert_allclose(display.curve.accuracy, curve.accuracy)
    np.testing.assert_allclose(display.curve.bin_edges, curve.bin_edges)
    assert display.ece == pytest.approx(expected_calibration_error(y_true, y_proba, **options))


def test_from_predictions__binary_probability_of_the_positive_class():
    y_true, positive = ["no", "no", "yes", "yes"], [0.1, 0.45, 0.85, 0.95]
    display = ReliabilityDisplay.from_predictions(y_true, positive, n_bins=5)
    np.testing.assert_allclose(display.line_.get_xydata(), [[0.55, 1.0], [0.9, 1.0]])


def test_plot__both_axes_start_at_the_same_tenth():
    y_true, y_proba = [1, 1, 0, 1], [0.55, 0.65, 0.75, 0.95]
    display = ReliabilityDisplay.from_predictions(y_true, y_proba, n_bins=10)
    assert display.ax_.get_xlim() == display.ax_.get_ylim() == (0.0, 1.0), "an accuracy of 0"
    sure = ReliabilityDisplay.from_predictions([1, 1, 0, 1], [0.72, 0.85, 0.1, 0.95], n_bins=10)
    assert sure.ax_.get_xlim() == sure.ax_.get_ylim() == pytest.approx((0.7, 1.0))


def test_plot__parts_can_be_left_out(answers):
    _, ax = plt.subplots()
    curve = calibration_curve(*answers)
    display = ReliabilityDisplay(curve).plot(
        ax, show_interval=False, show_counts=False, show_reference=False, color="red", marker="x"
    )
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.figure.axes == [ax]
    assert (display.band_, display.counts_ax_, display.reference_) == (None, None, None)
    assert ax.lines[:] == [display.line_]
    assert (display.line_.get_color(), display.line_.get_marker()) == ("red", "x")
    assert ax.get_xlabel() == "Confidence"


def test_plot__two_classifiers_on_one_axes(answers):
    y_true, y_proba = answers
    blunt = y_proba**0.2 / (y_proba**0.2).sum(axis=1, keepdims=True)
    _, ax = plt.subplots()
    first = ReliabilityDisplay.from_predictions(y_true, blunt, name="a", ax=ax)
    second = ReliabilityDisplay.from_predictions(
        y_true, np.eye(3)[y_proba.argmax(1)], name="b", ax=ax
    )
    for look in ("get_color", "get_linestyle", "get_marker"):
        assert getattr(first.line_, look)() != getattr(second.line_, look)()
    assert second.counts_ax_ is first.counts_ax_, "counts share one axes"
    assert ax.figure.axes == [ax, first.counts_ax_]
    assert second.reference_ is None, "one diagonal is enough"
    low = ax.get_xlim()[0]
    assert low <= first.line_.get_xdata().min(), "the first curve stays in sight"
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [w.split(" (")[0] for w in words] == ["Perfectly calibrated", "a", "b"]


@pytest.mark.parametrize("make", [lambda f: f.add_subplot(), lambda f: f.add_axes((0, 0, 1, 1))])
def test_plot__counts_lie_below_inside_the_given_place(answers, make):
    figure = plt.figure()
    ax = make(figure)
    place = ax.get_position()
    display = ReliabilityDisplay(calibration_curve(*answers)).plot(ax)
    top, bottom = display.ax_.get_position(), display.counts_ax_.get_position()
    assert place.y0 == pytest.approx(bottom.y0)
    assert bottom.y1 < top.y0 < top.y1 == pytest.approx(place.y1)
    assert (bottom.x0, bottom.x1) == pytest.approx((place.x0, place.x1))
    assert display.counts_ax_.get_xlim() == display.ax_.get_xlim()

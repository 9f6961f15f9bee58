"""The risk-coverage display draws what sksve.metrics computes. Values are read from the artists."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import binomtest

from sksve.metrics import aurc, risk_coverage_curve
from sksve.plotting import RiskCoverageDisplay


def test_from_predictions__draws_the_curve(answers):
    display = RiskCoverageDisplay.from_predictions(*answers, name="mine")
    curve = risk_coverage_curve(*answers)
    np.testing.assert_array_equal(display.line_.get_xdata(), curve.coverage)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.risk)
    words = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert words == ["Random order", "Perfect order", f"mine (AURC {aurc(*answers):.3f})"]
    assert display.ax_.get_xlim() == (0, 1)
    assert display.ax_.get_ylim()[0] == 0
    assert "Coverage" in display.ax_.get_xlabel()
    assert "Risk" in display.ax_.get_ylabel()


@pytest.mark.parametrize("row", [0, 49, 399])
def test_from_predictions__band_is_the_exact_interval(answers, row):
    display = RiskCoverageDisplay.from_predictions(*answers, confidence_level=0.9)
    n_errors = round(display.curve.risk[row] * (row + 1))
    exact = binomtest(n_errors, row + 1).proportion_ci(0.9, method="exact")
    np.testing.assert_allclose(display.interval[row], [exact.low, exact.high], atol=1e-12)
    band = display.band_.get_paths()[0].vertices
    here = band[np.isclose(band[:, 0], display.curve.coverage[row]), 1]
    assert np.isclose(here, exact.low).any()
    assert np.isclose(here, exact.high).any()


def test_from_predictions__weights_count_as_rows(answers):
    y_true, y_proba = answers
    weight = np.tile([2, 1, 0, 1], 100)
    weighted = RiskCoverageDisplay.from_predictions(y_true, y_proba, sample_weight=weight)
    repeated = RiskCoverageDisplay.from_predictions(
        np.repeat(y_true, weight), np.repeat(y_proba, weight, axis=0)
    )
    np.testing.assert_allclose(weighted.interval[-1], repeated.interval[-1])
    assert weighted.line_.get_label() == repeated.line_.get_label()


def test_references__frame_every_curve(answers):
    y_true, y_proba = answers
    display = RiskCoverageDisplay.from_predictions(y_true, y_proba)
    random, perfect = display.references_
    assert set(random.get_ydata()) == {display.curve.risk[-1]}
    knowing = np.full(400, 0.6)
    right = y_true == np.array(["ant", "bee", "cat"])[y_proba.argmax(axis=1)]
    knowing[right] = 0.9
    best = risk_coverage_curve(right, np.column_stack([1 - knowing, knowing]))
    np.testing.assert_allclose(np.interp(best.coverage, *perfect.get_data()), best.risk, atol=2e-3)
    at = np.interp(display.curve.coverage, *perfect.get_data())
    assert (at <= display.curve.risk + 2e-3).all()


@pytest.mark.parametrize(("answer", "risk"), [(0, 0.0), (1, 1.0)])
def test_plot__all_right_and_all_wrong(answer, risk):
    y_proba = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]
    display = RiskCoverageDisplay.from_predictions([answer] * 3, y_proba, labels=[0, 1])
    assert display.line_.get_ydata().tolist() == [risk] * 3
    assert display.references_[1].get_ydata()[-1] == risk
    assert np.isfinite(display.references_[1].get_ydata()).all()
    low, high = display.ax_.get_ylim()
    assert low == 0 < high
    assert high >= risk


@pytest.mark.parametrize("level", [0, 1, "high"])
def test_from_predictions__bad_confidence_level(answers, level):
    with pytest.raises(ValueError, match="'confidence_level' parameter"):
        RiskCoverageDisplay.from_predictions(*answers, confidence_level=level)


def test_plot__two_classifiers_on_one_axes(answers):
    y_true, y_proba = answers
    _, ax = plt.subplots()
    bad = RiskCoverageDisplay.from_predictions(y_true, y_proba[:, [1, 2, 0]], ax=ax, name="a")
    top = ax.get_ylim()[1]
    good = RiskCoverageDisplay.from_predictions(
        y_true, y_proba, ax=ax, name="b", show_interval=False, ls=":"
    )
    assert ax.get_ylim()[1] >= top, "the first curve stays in sight"
    assert (good.references_, good.band_) == ([], None)
    assert good.line_.get_linestyle() == ":", "an alias of linestyle is understood"
    assert bad.line_.get_color() != good.line_.get_color()

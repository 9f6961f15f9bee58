"""The calibration curve, and its exact intervals."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve as sklearn_curve

from sksve.metrics import calibration_curve, expected_calibration_error


def draw(rng, n=400):
    p = rng.dirichlet(np.ones(3), size=n)
    return rng.integers(0, 3, n), p


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration_curve__its_mean_distance_is_the_error(strategy, rng):
    y, p = draw(rng)
    curve = calibration_curve(y, p, strategy=strategy)
    gap = np.abs(curve.accuracy - curve.mean_confidence)
    assert np.nansum(curve.counts * gap) / 400 == pytest.approx(
        expected_calibration_error(y, p, strategy=strategy), abs=1e-12
    )
    assert curve.counts.sum() == 400
    assert len(curve) == 15
    assert curve.bin_edges.shape == (16,)


def test_calibration_curve__intervals_equal_scipy(rng):
    y, p = draw(rng)
    curve = calibration_curve(y, p, confidence_level=0.9)
    for count, accuracy, (low, high) in zip(curve.counts, curve.accuracy, curve.interval):
        if count == 0:
            assert np.isnan([accuracy, low, high]).all()
            continue
        exact = binomtest(round(count * accuracy), int(count)).proportion_ci(0.9)
        assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_calibration_curve__all_right_and_all_wrong_bins_reach_the_ends():
    curve = calibration_curve([0] * 5 + [1] * 5, [0.1] * 5 + [0.2] * 5, n_bins=10)
    assert curve.counts[[7, 8]].tolist() == [5, 5]
    assert curve.interval[8] == pytest.approx([0.025 ** (1 / 5), 1])
    assert curve.interval[7] == pytest.approx([0, 1 - 0.025 ** (1 / 5)])


def test_calibration_curve__of_a_class_equals_scikit_learn(rng):
    y, p = draw(rng)
    names = np.array(["a", "b", "c"])
    curve = calibration_curve(names[y], p, class_label="b", n_bins=10)
    prob_true, prob_pred = sklearn_curve(y == 1, p[:, 1], n_bins=10)
    full = curve.counts > 0
    np.testing.assert_allclose(curve.accuracy[full], prob_true, atol=1e-12)
    np.testing.assert_allclose(curve.mean_confidence[full], prob_pred, atol=1e-12)
    for wrong in ("d", [], ["a", "b"], np.array(["a", "b", "c"]), 1):
        with pytest.raises(ValueError, match=r"class_label must be one of \['a', 'b', 'c'\]. Got"):
            calibration_curve(names[y], p, class_label=wrong)


def test_calibration_curve__weights_count_as_rows(rng):
    y, p = draw(rng, 60)
    weight = rng.integers(1, 4, 60)
    weighted = calibration_curve(y, p, sample_weight=weight)
    twice = calibration_curve(np.repeat(y, weight), np.repeat(p, weight, axis=0))
    for name in ("counts", "mean_confidence", "accuracy", "interval"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(twice, name), atol=1e-12)

"""smECE: the authors' package as oracle, and properties."""

import numpy as np
import pytest
import relplot

from sksve.metrics import smooth_calibration_error
from tests.metrics.strategies import tempered


def relplot_smece(y, p):
    return relplot.smECE(p.max(axis=1), (p.argmax(axis=1) == y).astype(float))


@pytest.mark.parametrize("n", [5, 100, 3000])
@pytest.mark.parametrize("sharpness", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_smooth_calibration_error__equals_relplot(n, sharpness, temperature):
    y, p = tempered(n, n, temperature, 4, sharpness)
    ours = smooth_calibration_error(y, p, labels=range(4))
    assert ours == pytest.approx(relplot_smece(y, p), abs=1e-9)


def test_smooth_calibration_error__equals_relplot_at_bandwidths_below_one_hundredth():
    # Here the grid grows with 1 / bandwidth, and its size is even for some.
    for seed in range(4):
        y, p = tempered(seed, 100_000, sharpness=0.5)
        ours = smooth_calibration_error(y, p)
        assert ours < 0.01
        assert ours == pytest.approx(relplot_smece(y, p), abs=1e-9)


def test_smooth_calibration_error__always_wrong_and_sure_is_near_one():
    p = np.tile([1.0, 0.0], (100, 1))
    ours = smooth_calibration_error(np.ones(100), p, labels=[0, 1])
    assert ours == pytest.approx(relplot.smECE(np.ones(100), np.zeros(100)), abs=1e-9)
    assert 0.9 < ours <= 1


def test_smooth_calibration_error__bandwidth_is_the_fixed_point():
    y, p = tempered(0, 2000, 0.4, sharpness=0.5)
    value, width = relplot.smECE(p.max(axis=1), (p.argmax(axis=1) == y) * 1.0, return_width=True)
    assert smooth_calibration_error(y, p) == pytest.approx(value, abs=1e-9)
    assert abs(value - width) < 2 / 1024


def test_smooth_calibration_error__a_perfect_prediction_is_zero():
    assert smooth_calibration_error([0, 1, 2], np.eye(3)) == 0


def test_smooth_calibration_error__moves_continuously_where_bins_jump():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    below, above = np.full(200, 0.6 - 1e-9), np.full(200, 0.6 + 1e-9)
    change = smooth_calibration_error(y, below) - smooth_calibration_error(y, above)
    assert abs(change) < 1e-7

"""Edges, ties, confidence 1.0, empty bins: read from the calibration curve of one class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve.metrics import calibration_curve

values = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1 / 3])), min_size=1
)


def bins_of(p, n_bins, strategy="uniform", weight=None, hit=None):
    """Bins of the probabilities themselves: the positive class against the rest."""
    y = np.zeros(len(p)) if hit is None else hit * 1.0
    options = {"labels": [0.0, 1.0], "class_label": 1.0, "sample_weight": weight}
    return calibration_curve(y, np.asarray(p), n_bins=n_bins, strategy=strategy, **options)


def slow_bin(value, edges):
    """Right-closed, the first includes 0."""
    return next(b for b in range(len(edges) - 1) if value <= edges[b + 1])


def slow_counts(v, edges):
    return np.bincount([slow_bin(value, edges) for value in v], minlength=len(edges) - 1)


@given(values, st.integers(1, 50), st.sampled_from(["uniform", "quantile"]))
def test_bins__are_right_closed(v, n_bins, strategy):
    curve = bins_of(v, n_bins, strategy)
    np.testing.assert_array_equal(curve.counts, slow_counts(v, curve.bin_edges))
    if strategy == "uniform":
        np.testing.assert_array_equal(curve.bin_edges, np.linspace(0, 1, n_bins + 1))


@pytest.mark.parametrize("n_bins", [1, 2, 3, 7, 10, 15, 49, 100])
def test_bins__every_edge_and_its_neighbours(n_bins):
    edges = np.linspace(0, 1, n_bins + 1)
    v = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1)]).clip(0, 1)
    np.testing.assert_array_equal(bins_of(v, n_bins).counts, slow_counts(v, edges))
    ends = bins_of([0.0, 1.0, 1 + 1e-12], n_bins).counts
    assert (ends[0], ends[-1]) == ((1, 2) if n_bins > 1 else (3, 3))


@given(values, st.integers(1, 20))
def test_quantile_bins__order_does_not_matter_and_ties_stay_together(v, n_bins):
    curve = bins_of(v, n_bins, "quantile")
    np.testing.assert_array_equal(curve.bin_edges, bins_of(v[::-1], n_bins, "quantile").bin_edges)
    assert (curve.bin_edges[0], curve.bin_edges[-1]) == (0, 1)
    assert len(curve) <= n_bins
    assert (np.diff(curve.bin_edges) > 0).all(), "so that equal values cannot be in two bins"


@given(values, st.integers(1, 20), st.integers(0, 99))
def test_quantile_bins__whole_weights_are_repeated_rows(v, n_bins, seed):
    weight = np.random.default_rng(seed).integers(1, 5, len(v))
    twice = bins_of(np.repeat(v, weight), n_bins, "quantile")
    weighted = bins_of(v, n_bins, "quantile", weight)
    np.testing.assert_array_equal(weighted.bin_edges, twice.bin_edges)
    np.testing.assert_array_equal(weighted.counts, twice.counts)


@pytest.mark.parametrize("n", [15, 16, 29, 100, 1000])
def test_quantile_bins__hold_equally_many_rows(n, rng):
    counts = bins_of(rng.uniform(size=n), 15, "quantile").counts
    assert counts.tolist() == [len(part) for part in np.array_split(np.arange(n), 15)]


def test_quantile_bins__fractional_weights_share_out_the_mass(rng):
    v, weight = rng.uniform(size=5000), rng.uniform(0.1, 0.2, size=5000)
    curve = bins_of(v, 10, "quantile", weight)
    np.testing.assert_allclose(curve.counts, weight.sum() / 10, atol=0.2)
    rescaled = bins_of(v, 10, "quantile", weight / weight.sum())
    np.testing.assert_array_equal(curve.bin_edges, rescaled.bin_edges)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins__equal_a_loop_chunks_do_not_show_and_empty_bins_stay(strategy, rng, monkeypatch):
    monkeypatch.setattr("sksve.metrics._binning.CHUNK", 13)
    v, hit, weight = rng.uniform(0.4, 0.6, 300), rng.random(300) < 0.5, rng.uniform(size=300)
    curve = bins_of(v, 12, strategy, weight, hit)
    assert len(curve) == 12
    index = np.array([slow_bin(x, curve.bin_edges) for x in v])
    for b in range(12):
        inside = index == b
        assert curve.counts[b] == pytest.approx(weight[inside].sum())
        if inside.any():
            mean, accuracy = (np.average(x[inside], weights=weight[inside]) for x in (v, hit))
            assert curve.mean_confidence[b] == pytest.approx(mean)
            assert curve.accuracy[b] == pytest.approx(accuracy)
        else:
            assert np.isnan([curve.mean_confidence[b], curve.accuracy[b]]).all()

"""Edges, ties, confidence 1.0, empty bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve.metrics._binning import (
    bin_edges,
    bin_finder,
    bin_index,
    fill_bins,
    quantile_edges,
    uniform_edges,
)

values = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1 / 3])), min_size=1
)


def slow_bin(value, edges):
    """Right-closed, the first includes 0."""
    for b in range(len(edges) - 1):
        if value <= edges[b + 1]:
            return b
    raise AssertionError(value)


@given(values, st.integers(1, 50))
def test_bin_index__is_right_closed_and_both_routes_agree(found, n_bins):
    edges = uniform_edges(n_bins)
    v = np.array(found)
    slow = [slow_bin(value, edges) for value in found]
    np.testing.assert_array_equal(bin_index(v, edges), slow)
    np.testing.assert_array_equal(bin_finder(edges, 10**6)(v), slow)
    quantiles = quantile_edges(v, None, n_bins)
    slow = [slow_bin(value, quantiles) for value in found]
    np.testing.assert_array_equal(bin_finder(quantiles, 10**6)(v), slow)


@pytest.mark.parametrize("n_bins", [1, 2, 3, 7, 10, 15, 49, 100])
def test_bin_finder__every_edge_and_its_neighbours(n_bins):
    edges = uniform_edges(n_bins)
    v = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1)]).clip(0, 1)
    np.testing.assert_array_equal(bin_finder(edges, 10**6)(v), [slow_bin(x, edges) for x in v])
    assert bin_finder(edges, 10**6)(np.array([0.0, 1.0, 1 + 1e-12])).tolist() == [
        0,
        n_bins - 1,
        n_bins - 1,
    ]


@given(values, st.integers(1, 20))
def test_quantile_edges__order_does_not_matter_and_ties_stay_together(found, n_bins):
    v = np.array(found)
    edges = quantile_edges(v, None, n_bins)
    np.testing.assert_array_equal(edges, quantile_edges(v[::-1], None, n_bins))
    index = bin_index(v, edges)
    for value in np.unique(v):
        assert len(set(index[v == value])) == 1
    assert edges[0] == 0
    assert edges[-1] == 1
    assert len(edges) <= n_bins + 1


@given(values, st.integers(1, 20), st.integers(0, 99))
def test_quantile_edges__whole_weights_are_repeated_rows(found, n_bins, seed):
    v = np.array(found)
    weight = np.random.default_rng(seed).integers(1, 5, len(v)).astype(float)
    twice = np.repeat(v, weight.astype(int))
    np.testing.assert_array_equal(
        quantile_edges(v, weight, n_bins), quantile_edges(twice, None, n_bins)
    )


@pytest.mark.parametrize("n", [15, 16, 29, 100, 1000])
def test_quantile_edges__bins_hold_equally_many_rows(n, rng):
    v = rng.uniform(size=n)
    counts = fill_bins(v, v > 2, None, quantile_edges(v, None, 15)).weight
    assert counts.tolist() == [len(part) for part in np.array_split(np.arange(n), 15)]


def test_quantile_edges__fractional_weights_share_out_the_mass(rng):
    v, weight = rng.uniform(size=5000), rng.uniform(0.1, 0.2, size=5000)
    mass = fill_bins(v, v > 2, weight, quantile_edges(v, weight, 10)).weight
    np.testing.assert_allclose(mass, weight.sum() / 10, atol=0.2)
    # The scale of fractional weights does not matter.
    np.testing.assert_array_equal(
        quantile_edges(v, weight, 10), quantile_edges(v, weight / weight.sum(), 10)
    )


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_fill_bins__equals_a_loop_and_keeps_empty_bins(strategy, rng):
    v, hit, weight = rng.uniform(0.4, 0.6, 300), rng.random(300) < 0.5, rng.uniform(size=300)
    edges = bin_edges(v, weight, 12, strategy)
    bins = fill_bins(v, hit, weight, edges)
    index = np.array([slow_bin(x, edges) for x in v])
    for b in range(len(edges) - 1):
        inside = index == b
        assert bins.weight[b] == pytest.approx(weight[inside].sum())
        assert bins.confidence[b] == pytest.approx((weight * v)[inside].sum())
        assert bins.hits[b] == pytest.approx((weight * hit)[inside].sum())
    assert len(bins.weight) == 12

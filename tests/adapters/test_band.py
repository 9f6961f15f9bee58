"""The band of a core: its dense form, and both ways of multiplying by it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sksve.adapters import _band as room
from sksve.adapters import apply_band, band_core, band_size


def slow_core(band, r, d_max):
    """Entry by entry."""
    core, values = np.zeros((r, r)), iter(band)
    for d in range(1, min(d_max, r - 1) + 1):
        for a in range(r - d):
            core[a, a + d] = next(values)
        for a in range(r - d):
            core[a + d, a] = next(values)
    return core


@given(r=st.integers(1, 9), d=st.integers(0, 10), m=st.integers(1, 3), seed=st.integers(0, 99))
def test_band_core__is_the_entries_one_by_one(r, d, m, seed):
    band = torch.randn(m, band_size(r, d), generator=torch.Generator().manual_seed(seed))
    expected = np.stack([slow_core(row, r, d) for row in band.numpy()])
    np.testing.assert_array_equal(band_core(band, r, d).numpy(), expected)


@pytest.mark.parametrize("dense_below", [0, 10**6])
@given(r=st.integers(2, 9), d=st.integers(1, 10), more=st.integers(0, 3), seed=st.integers(0, 99))
def test_apply_band__both_ways_are_the_product(dense_below, r, d, more, seed):
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(2, 3, r + more, generator=g, dtype=torch.float64)
    band = torch.randn(2, band_size(r, d), generator=g, dtype=torch.float64)
    h.requires_grad_()
    band.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "DENSE_BELOW", dense_below)
        out = apply_band(h, band, r, d)
    cores = np.stack([slow_core(row, r, d) for row in band.detach().numpy()])
    expected = np.einsum("mab,mnb->mna", cores, h.detach().numpy()[..., :r])
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=0, atol=1e-12)
    out.backward(gy := torch.randn(out.shape, generator=g, dtype=torch.float64))
    slope = np.einsum("mna,mnb->mab", gy.numpy(), h.detach().numpy()[..., :r])
    np.testing.assert_allclose(
        band_core(band.grad, r, d).numpy(),
        slope * (cores != 0),
        rtol=0,
        atol=1e-12,
    )
    back = np.einsum("mab,mna->mnb", cores, gy.numpy())
    np.testing.assert_allclose(h.grad.numpy()[..., :r], back, rtol=0, atol=1e-12)


def test_band_core__first_asked_without_gradients_serves_a_backward_pass():
    room._positions.cache_clear()
    with torch.inference_mode():
        band_core(torch.randn(1, band_size(4, 3)), 4, 3)
    band = torch.randn(1, band_size(4, 3), requires_grad=True)
    band_core(band, 4, 3).sum().backward()
    np.testing.assert_array_equal(band.grad.numpy(), np.ones(band.shape))


@given(r=st.integers(1, 9), d=st.integers(0, 10))
def test_band_units__are_those_of_the_entries(r, d):
    S = torch.arange(12.0, 0.0, -1.0)
    root = S[:r].sqrt()
    expected = room.band_entries(torch.outer(root, root)[None], d)[0]
    assert torch.equal(room.band_units(S, r, d), expected)

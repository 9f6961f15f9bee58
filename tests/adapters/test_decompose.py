"""The decomposition and its cache."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sksve.adapters import decompose

matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.floats(-100, 100, allow_nan=False),
)


@given(matrices)
def test_decompose__reconstructs_with_orthonormal_vectors(a):
    weight = torch.from_numpy(a)
    U, S, Vh = decompose(weight)
    k = min(a.shape)
    eye = torch.eye(k, dtype=torch.float64)
    torch.testing.assert_close(U @ torch.diag(S) @ Vh, weight, rtol=0, atol=1e-10)
    torch.testing.assert_close(U.T @ U, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(Vh @ Vh.T, eye, rtol=0, atol=1e-12)
    assert (S[:-1] >= S[1:]).all()
    assert (S >= 0).all()
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False), rtol=0, atol=1e-10)


@given(matrices)
def test_decompose__sign_is_settled(a):
    U, _, _ = decompose(torch.from_numpy(a))
    largest = U.gather(0, U.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_decompose__is_pure():
    weight = torch.randn(4, 6, dtype=torch.float32, requires_grad=True)
    before = weight.detach().clone()
    U, _, _ = decompose(weight)
    assert torch.equal(weight, before)
    assert U.dtype == torch.float64
    assert not U.requires_grad


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(3), r"Got shape \(3,\)"),
        (torch.zeros(0, 3), r"Got shape \(0, 3\)"),
        (torch.tensor([[1.0, float("nan")]]), r"shape \(1, 2\) holds NaN or infinity"),
    ],
)
def test_decompose__bad_weight(weight, message):
    with pytest.raises(ValueError, match=message):
        decompose(weight)

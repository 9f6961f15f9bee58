"""The pass over y_proba that all top-label metrics share, against argmax row by row."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve.metrics._top_label import reduce_rows

ROOM = sys.modules["sksve.metrics._top_label"]


def naive(codes, p):
    """As the docstrings say it: the first of the largest."""
    p = p.astype(np.float64)
    p = np.column_stack([1 - p, p]) if p.ndim == 1 else p
    predicted = np.array([max(range(len(row)), key=lambda k: (row[k], -k)) for row in p])
    return p.max(axis=1), predicted == codes


@given(
    n=st.integers(1, 60),
    c=st.sampled_from([2, 3, 4, 5, 8, 10, 31, 32, 33, 40]),
    levels=st.sampled_from([1, 2, 5, 10**6]),
    dtype=st.sampled_from([np.float64, np.float32]),
    layout=st.sampled_from(["C", "F", "strided"]),
    sizes=st.tuples(st.integers(1, 200), st.integers(1, 400)),
    seed=st.integers(0, 2**32 - 1),
)
def test_reduce_rows__is_the_first_largest(n, c, levels, dtype, layout, sizes, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, levels + 1, size=(n, c)) + (np.arange(c) == rng.integers(0, c, (n, 1)))
    p = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float64)
    if levels > 5:
        p /= p.sum(axis=1, keepdims=True)
    p = p.astype(dtype)
    p = {"C": p, "F": np.asfortranarray(p), "strided": np.repeat(p, 2, axis=0)[::2]}[layout]
    codes = rng.integers(0, c, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ROOM, "PASS_ELEMENTS", sizes[0])
        patch.setattr(ROOM, "CHUNK_ELEMENTS", sizes[1])
        confidence, correct = reduce_rows(codes, p)
    expected, hit = naive(codes, p)
    np.testing.assert_allclose(confidence, expected, rtol=1e-6 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(correct, hit)


@given(n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_reduce_rows__probabilities_of_the_positive_class(n, seed):
    rng = np.random.default_rng(seed)
    p = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], size=n)
    codes = rng.integers(0, 2, n)
    confidence, correct = reduce_rows(codes, p)
    expected, hit = naive(codes, p)
    np.testing.assert_array_equal(confidence, expected)
    np.testing.assert_array_equal(correct, hit)

"""Confidence and correctness of the predicted class, against argmax row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve.metrics import expected_calibration_error, risk_coverage_curve, selective_accuracy


def check_against_argmax(codes, p, c):
    """As the docstrings say it: the first of the largest. Weights tell the rows apart."""
    whole = p.astype(np.float64)
    whole = np.column_stack([1 - whole, whole]) if p.ndim == 1 else whole
    predicted = [max(range(c), key=lambda k: (row[k], -k)) for row in whole]
    weight = np.random.default_rng(0).uniform(0.5, 2, len(p))
    options = {"labels": range(c), "sample_weight": weight}
    accuracy = selective_accuracy(codes, p, coverage=1, **options)
    assert accuracy == pytest.approx(np.average(predicted == codes, weights=weight), abs=1e-12)
    confidence = np.sort(whole.max(axis=1))[::-1]
    rtol = 1e-6 if p.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(
        risk_coverage_curve(codes, p, **options).threshold, confidence, rtol=rtol
    )


@given(
    n=st.integers(1, 60),
    c=st.sampled_from([2, 3, 4, 5, 8, 33]),
    levels=st.sampled_from([1, 2, 5, 10**6]),
    dtype=st.sampled_from([np.float64, np.float32]),
    layout=st.sampled_from(["C", "F", "strided"]),
    chunk=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_top_label__is_the_first_largest(n, c, levels, dtype, layout, chunk, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, levels + 1, size=(n, c)) + (np.arange(c) == rng.integers(0, c, (n, 1)))
    p = (counts / counts.sum(axis=1, keepdims=True)).astype(dtype)
    p = {"C": p, "F": np.asfortranarray(p), "strided": np.repeat(p, 2, axis=0)[::2]}[layout]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sksve.metrics._inputs.CHUNK", chunk)
        check_against_argmax(rng.integers(0, c, n), p, c)


@given(n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_top_label__probabilities_of_the_positive_class(n, seed):
    rng = np.random.default_rng(seed)
    check_against_argmax(rng.integers(0, 2, n), rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], n), 2)


def test_top_label__a_tie_counts_for_the_first_class():
    p = [[0.5, 0.5], [0.5, 0.5], [0.4, 0.6]]
    assert expected_calibration_error([0, 0, 1], p, n_bins=1) == pytest.approx(1 - 1.6 / 3)
    assert expected_calibration_error([1, 1, 0], p, n_bins=1) == pytest.approx(1.6 / 3)
    wide = np.full((4, 50), 1 / 50)
    hit_once = expected_calibration_error([0, 1, 2, 3], wide, labels=range(50), n_bins=1)
    assert hit_once == pytest.approx(1 / 4 - 1 / 50)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_top_label__threads_do_not_show(threads, rng, monkeypatch):
    p = rng.dirichlet(np.ones(3), size=1000)
    y, weight = rng.integers(0, 3, 1000), rng.uniform(size=1000)
    whole = expected_calibration_error(y, p, sample_weight=weight)
    monkeypatch.setattr("sksve.metrics._inputs.CHUNK", 60)
    monkeypatch.setattr("sksve.metrics._inputs._openmp_effective_n_threads", lambda: threads)
    assert expected_calibration_error(y, p, sample_weight=weight) == whole
    for rows, bad in (((777, 900), 0.5), ((333,), np.nan)):
        p[list(rows)] = bad
        with pytest.raises(ValueError, match=rf"Row {rows[0]} "):
            expected_calibration_error(y, p, sample_weight=weight)


def test_top_label__the_row_of_an_error_is_counted_through_the_chunks():
    p = np.tile([0.5, 0.5], (200_000, 1))
    p[150_000] = [0.5, 0.6]
    y = np.arange(200_000) % 2
    with pytest.raises(ValueError, match=r"Row 150000 sums to 1\.1"):
        expected_calibration_error(y, p)
    positive = np.full(400_000, 0.5)
    positive[350_000] = 1.5
    with pytest.raises(ValueError, match=r"Row 350000 holds 1\.5"):
        expected_calibration_error(np.arange(400_000) % 2, positive)

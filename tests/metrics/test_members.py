"""Member metrics against slow loops, and the invariants of the decomposition."""

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from scipy.stats import entropy

from sksve.metrics import (
    Uncertainty,
    expected_entropy,
    member_disagreement,
    member_diversity,
    mutual_information,
    predictive_entropy,
)

MEASURES = ["total", "aleatoric", "epistemic", "disagreement", "variance", "confidence"]


@st.composite
def members(draw, min_members=1):
    """Member probabilities, sharp and flat ones, with exact zeros among them."""
    m, n, c = draw(st.integers(min_members, 5)), draw(st.integers(1, 6)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = rng.dirichlet(np.full(c, draw(st.sampled_from([0.01, 0.3, 1.0, 50.0]))), size=(m, n))
    if draw(st.booleans()):
        p[rng.random((m, n)) < 0.3] = np.eye(c)[0]
    return p


@given(members())
def test_entropies__equal_scipy_row_by_row(p):
    m, n, _ = p.shape
    total = [entropy(p.mean(axis=0)[i]) for i in range(n)]
    aleatoric = [np.mean([entropy(p[j, i]) for j in range(m)]) for i in range(n)]
    np.testing.assert_allclose(predictive_entropy(p), total, rtol=0, atol=1e-12)
    np.testing.assert_allclose(expected_entropy(p), aleatoric, rtol=0, atol=1e-12)


def test_entropies__of_one_model(rng):
    p = rng.dirichlet(np.ones(4), size=7)
    expected = pytest.approx(entropy(p, axis=1), abs=1e-12)
    assert predictive_entropy(p) == expected
    assert expected_entropy(pd.DataFrame(p, columns=list("abcd"))) == expected
    for compares in (mutual_information, member_disagreement, member_diversity):
        with pytest.raises(ValueError, match=r"For one model, pass y_proba\[None\]"):
            compares(p)


@given(members())
def test_mutual_information__is_the_mean_divergence_from_the_mean(p):
    slow = rel_entr(p, p.mean(axis=0)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(mutual_information(p), slow, rtol=0, atol=1e-12)
    assert (mutual_information(p) >= 0).all()


@given(members())
def test_mutual_information__one_member_is_exactly_zero(p):
    assert (mutual_information(p[:1]) == 0).all()


@given(members())
def test_member_disagreement__equals_a_loop(p):
    m, n, _ = p.shape
    mean = p.mean(axis=0)
    slow = [sum(np.argmax(p[j, i]) != np.argmax(mean[i]) for j in range(m)) / m for i in range(n)]
    np.testing.assert_array_equal(member_disagreement(p), slow)


@given(members(min_members=2))
def test_member_diversity__equals_the_mean_over_ordered_pairs(p):
    logs = np.log(np.maximum(p, np.finfo(float).eps))
    pairs = [
        (p[j] * (logs[j] - logs[k])).sum(axis=1).mean()
        for j in range(len(p))
        for k in range(len(p))
        if j != k
    ]
    assert member_diversity(p) == pytest.approx(np.mean(pairs), rel=1e-9, abs=1e-12)


def test_member_diversity__equals_scipy_without_zeros(rng):
    p = rng.dirichlet(np.ones(4), size=(3, 20))
    pairs = [rel_entr(p[j], p[k]).sum(axis=1).mean() for j in range(3) for k in range(3) if j != k]
    assert member_diversity(p) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_member_diversity__zeros_keep_it_finite():
    p = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert member_diversity(p) == pytest.approx(-np.log(np.finfo(float).eps))


@given(members())
def test_member_diversity__one_member_and_equal_members_are_zero(p):
    assert member_diversity(p[:1]) == 0
    assert member_diversity(np.stack([p[0]] * 4)) == pytest.approx(0, abs=1e-13)


def test_member_diversity__weight_two_is_the_row_twice(rng):
    p = rng.dirichlet(np.ones(3), size=(4, 10))
    weight = rng.integers(0, 4, size=10)
    twice = np.repeat(p, weight, axis=1)
    assert member_diversity(p, sample_weight=weight) == pytest.approx(member_diversity(twice))


@given(members())
def test_uncertainty__adds_up_and_equals_the_functions(p):
    found = Uncertainty.from_members(p)
    np.testing.assert_allclose(found.total, found.aleatoric + found.epistemic, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.total, predictive_entropy(p))
    np.testing.assert_array_equal(found.aleatoric, expected_entropy(p))
    np.testing.assert_array_equal(found.epistemic, mutual_information(p))
    np.testing.assert_array_equal(found.disagreement, member_disagreement(p))
    np.testing.assert_allclose(found.variance, ((p - p.mean(0)) ** 2).mean(0).sum(1), atol=1e-15)
    np.testing.assert_allclose(found.confidence, p.mean(axis=0).max(axis=1), atol=1e-15)
    assert (found.epistemic >= 0).all()
    assert all(getattr(found, name).dtype == np.float64 for name in MEASURES)


def test_uncertainty__float32_members_are_renormalised(rng):
    p = rng.dirichlet(np.ones(4), size=(3, 20)).astype(np.float32)
    p *= np.float32(1.0005)
    np.testing.assert_allclose(
        Uncertainty.from_members(p).total, predictive_entropy(p / np.float64(1.0005)), atol=1e-6
    )


def test_uncertainty__frame_has_the_index_and_every_measure(rng):
    index = pd.Index(["a", "b", "c"], name="row")
    found = Uncertainty.from_members(rng.dirichlet(np.ones(2), size=(2, 3)), index=index)
    frame = found.to_frame()
    assert list(frame.columns) == MEASURES
    pd.testing.assert_index_equal(frame.index, index)
    np.testing.assert_array_equal(frame["epistemic"], found.epistemic)
    assert len(found) == 3


def test_uncertainty__is_frozen_and_survives_pickle(rng):
    found = Uncertainty.from_members(rng.dirichlet(np.ones(2), size=(2, 3)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.total = np.zeros(3)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.total, found.total)
    assert repr(again) == repr(found)


def test_uncertainty__arrays_of_other_length_are_refused():
    ok, wrong = np.zeros(3), np.zeros(2)
    with pytest.raises(ValueError, match="shape"):
        Uncertainty(ok, ok, ok, ok, ok, wrong)
    with pytest.raises(ValueError, match="index must name every row: 3 rows, but 2 names"):
        Uncertainty(ok, ok, ok, ok, ok, ok, index=["a", "b"])


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.5, 0.5], r"shape \(n_members, n_samples, n_classes\)"),
        (np.zeros((0, 3, 2)), "must not be empty"),
        ([[[0.5, np.nan]]], "Row 0 holds NaN"),
        ([[[0.5, 0.6]]], r"sum to 1 within 0.001.*sums to 1.1"),
        ([[[1.5, -0.5]]], "not below 0"),
        ([[["a", "b"]]], "real numbers"),
    ],
)
def test_members__bad_input_says_what_is_wrong(p, message):
    with pytest.raises(ValueError, match=message):
        predictive_entropy(p)


@pytest.mark.parametrize("index", [object(), 3, iter("ab")], ids=["object", "int", "iterator"])
def test_uncertainty__an_index_without_a_length(index):
    with pytest.raises(ValueError, match="index must name every row: 2 rows, but no names"):
        Uncertainty.from_members([[[0.5, 0.5]] * 2], index=index)


@pytest.mark.parametrize("odd", [[[1], [1, 2]], 10**400, 0.5, "a", None], ids=range(5))
def test_uncertainty__of_fields_that_are_no_vectors(odd):
    with pytest.raises(ValueError, match=r"epistemic|shape"):
        Uncertainty([0.5, 0.5], [0.5, 0.5], odd, [0.0, 0.0], [0.0, 0.0], [0.5, 0.5])

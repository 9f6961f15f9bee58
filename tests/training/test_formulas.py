"""Loss, clip and schedule: each member's own."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.private import formulas


def test_member_cross_entropy__is_the_weighted_mean_of_each_member(rng):
    logits = torch.from_numpy(rng.normal(size=(3, 4, 5)))
    y = torch.from_numpy(rng.integers(5, size=(3, 4)))
    weight = torch.from_numpy(rng.uniform(size=(3, 4)))
    got = formulas.member_cross_entropy(logits, y, weight)
    for m in range(3):
        total = 0.0
        for row in range(4):
            z = logits[m, row].numpy()
            total += weight[m, row].item() * (np.log(np.exp(z).sum()) - z[y[m, row]])
        assert got[m].item() == pytest.approx(total / 4, abs=1e-12)


def test_member_cross_entropy__shared_targets_are_spread(rng):
    logits = torch.from_numpy(rng.normal(size=(2, 3, 4)))
    y = torch.tensor([0, 3, 1])
    ones = torch.ones(2, 3, dtype=torch.float64)
    expected = formulas.member_cross_entropy(logits, torch.stack([y, y]), ones)
    assert torch.equal(formulas.member_cross_entropy(logits, y, ones), expected)


def test_member_cross_entropy__half_precision_is_summed_in_float32():
    logits = torch.tensor([[[0.0, 9.0]]], dtype=torch.bfloat16)
    loss = formulas.member_cross_entropy(logits, torch.tensor([[0]]), torch.ones(1, 1))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(np.log1p(np.exp(9.0)), abs=1e-5)


def with_gradients(*grads):
    parameters = []
    for g in grads:
        p = nn.Parameter(torch.zeros_like(g))
        p.grad = g.clone()
        parameters.append(p)
    return parameters


def test_clip__each_member_by_its_own_norm():
    a = torch.tensor([[3.0, 0.0], [0.3, 0.0]])
    b = torch.tensor([[[4.0]], [[0.4]]])
    parameters = with_gradients(a, b)
    norms = formulas.clip_member_gradients(parameters, 1.0)
    torch.testing.assert_close(norms, torch.tensor([5.0, 0.5]))
    torch.testing.assert_close(parameters[0].grad, torch.tensor([[0.6, 0.0], [0.3, 0.0]]))
    torch.testing.assert_close(parameters[1].grad, torch.tensor([[[0.8]], [[0.4]]]))


@given(st.integers(1, 4), st.floats(0.1, 10), st.integers(0, 99))
def test_clip__one_member_equals_torchs_clip(n_parameters, max_norm, seed):
    g = torch.Generator().manual_seed(seed)
    grads = [torch.randn(1, 3, generator=g, dtype=torch.float64) for _ in range(n_parameters)]
    ours, theirs = with_gradients(*grads), with_gradients(*grads)
    formulas.clip_member_gradients(ours, max_norm)
    nn.utils.clip_grad_norm_(theirs, max_norm)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-9)


def test_clip__another_members_explosion_changes_nothing():
    calm, wild = torch.tensor([[0.1, 0.2]]), torch.tensor([[1e6, 0.0]])
    (alone,) = with_gradients(calm)
    (together,) = with_gradients(torch.cat([calm, wild]))
    formulas.clip_member_gradients([alone], 1.0)
    formulas.clip_member_gradients([together], 1.0)
    assert torch.equal(alone.grad[0], together.grad[0])


def test_clip__zero_gradient_stays_zero():
    (p,) = with_gradients(torch.zeros(2, 3))
    formulas.clip_member_gradients([p], 1.0)
    assert torch.equal(p.grad, torch.zeros(2, 3))


def test_clip__parameters_without_gradient_are_passed_over():
    (p,) = with_gradients(torch.ones(2, 1))
    formulas.clip_member_gradients([nn.Parameter(torch.zeros(2, 5)), p], 0.5)
    torch.testing.assert_close(p.grad, torch.full((2, 1), 0.5))


@given(st.integers(1, 200), st.floats(0, 1))
def test_schedule__rises_then_falls_to_zero(n_steps, warmup):
    factor = formulas.WarmupLinear(n_steps, warmup)
    values = [factor(step) for step in range(n_steps)]
    n_up = round(warmup * n_steps)
    assert all(0 < v <= 1 for v in values)
    assert max(values) == 1.0
    assert all(a < b for a, b in pairwise(values[:n_up]))
    assert all(a > b for a, b in pairwise(values[n_up:]))
    assert factor(n_steps) == 0.0


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0.01, 1))
def test_schedule__with_a_stop_is_the_whole_one_made_shorter_and_higher(n_steps, warmup, share):
    stop = max(1, round(share * n_steps))
    factor = formulas.WarmupLinear(n_steps, warmup, stop)
    whole = formulas.WarmupLinear(stop, warmup)
    for step in range(n_steps + 1):
        assert factor(step) == pytest.approx(whole(step) * n_steps / stop)
        assert (factor(step) > 0) == (step < stop)

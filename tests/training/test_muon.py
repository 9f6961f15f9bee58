"""Muon on cores: what makes a step orthogonal, the optimizer around it, and who may have it."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn.base import clone
from torch import nn

from sksve import SVEClassifier, Training
from sksve.backbones import make_tiny_backbone
from tests.private import CoreMuon


@pytest.fixture(scope="module")
def tiny_backbone():
    return make_tiny_backbone()


def matrices(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def direction_of(gradient):
    """What a first step of rate 1 and without momentum takes off cores (m, r, r) at zero, over sqrt(r)."""
    core = nn.Parameter(torch.zeros_like(gradient.flatten(1)))
    core.grad = gradient.flatten(1)
    CoreMuon([core], [{"params": [nn.Parameter(torch.zeros(1))]}], lr=1.0, momentum=0.0).step()
    return -core.detach().view(gradient.shape) / gradient.shape[-1] ** 0.5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), r=st.integers(1, 12), scale=st.floats(1e-12, 1e12))
def test_step__singular_values_come_near_one_whatever_the_scale(seed, r, scale):
    left, right = (torch.linalg.qr(matrices(seed + k, r, r)).Q for k in (0, 1))
    s = torch.linspace(1.0, 0.05, r, dtype=torch.float64)
    found = direction_of((scale * left @ torch.diag(s) @ right)[None])[0]
    got = torch.linalg.svdvals(found)
    assert 0.6 < float(got.min()) <= float(got.max()) < 1.3
    polar = left @ right  # the matrix closest to it that is orthogonal
    assert float((found * polar).sum()) > 0.9 * float(found.norm() * polar.norm())


def test_step__no_gradient_is_no_step():
    found = direction_of(torch.stack([torch.zeros(4, 4), torch.eye(4)]))
    assert (found[0] == 0).all()
    assert (found[1] != 0).any()


def parameters(m=2, sizes=(3, 5, 3, 1)):
    """Cores of several sizes, a head and its bias, and gradients to be given to them."""
    cores = [nn.Parameter(matrices(k, m, r * r)) for k, r in enumerate(sizes)]
    return cores, nn.Parameter(matrices(90, m, 4)), nn.Parameter(matrices(91, m, 2))


def everything(cores, *others):
    return [*cores, *others]


def give_gradients(ps, t):
    for k, p in enumerate(ps):
        p.grad = matrices(1000 * t + k, *p.shape)


def optimizer_of(cores, head, bias, **changes):
    groups = [{"params": [head], "lr": 0.02}, {"params": [bias], "lr": 0.02, "weight_decay": 0.0}]
    return CoreMuon(cores, groups, **{"lr": 0.05, "weight_decay": 0.7, **changes})


def test_step__equals_a_loop_over_cores_and_members():
    cores, head, bias = parameters()
    optimizer = optimizer_of(cores, head, bias)
    sizes = [round(p.shape[1] ** 0.5) for p in cores]
    whole = [p.detach().clone().view(-1, r, r) for p, r in zip(cores, sizes)]
    momenta = [torch.zeros_like(w) for w in whole]
    rest = [nn.Parameter(p.detach().clone()) for p in (head, bias)]
    adamw = torch.optim.AdamW(
        [{"params": rest[:1]}, {"params": rest[1:], "weight_decay": 0.0}], lr=0.02, weight_decay=0.7
    )
    for t in range(4):
        give_gradients(everything(cores, head, bias), t)
        for k, (p, r) in enumerate(zip(cores, sizes)):
            for member in range(len(p)):
                g = p.grad[member].view(r, r)
                momenta[k][member] = 0.9 * momenta[k][member] + g
                u, s, vh = torch.linalg.svd(g + 0.9 * momenta[k][member])
                s = s / s.norm()
                for _ in range(5):
                    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
                w = whole[k][member]
                whole[k][member] = (1 - 0.05 * 0.7) * w - 0.05 * r**0.5 * u @ torch.diag(s) @ vh
        for mine, p in zip(rest, (head, bias)):
            mine.grad = p.grad.clone()
        adamw.step()
        optimizer.step()
        for expected, p in zip(whole, cores):
            torch.testing.assert_close(p.data, expected.flatten(1), rtol=0, atol=1e-12)
        for mine, p in zip(rest, (head, bias)):
            torch.testing.assert_close(p.data, mine.data, rtol=0, atol=1e-12)


def test_step__a_step_moves_entries_by_the_rate_in_root_mean_square():
    core = nn.Parameter(torch.zeros(1, 900))
    optimizer = CoreMuon([core], [{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}], lr=0.01)
    core.grad = matrices(7, *core.shape).float()
    optimizer.step()
    assert 0.007 < float(core.detach().square().mean().sqrt()) < 0.013


def test_state__goes_on_where_it_was_and_schedules_reach_all_groups():
    def steps(optimizer, ps, times):
        for t in times:
            give_gradients(ps, t)
            optimizer.step()

    whole, halves = parameters(), parameters()
    first = optimizer_of(*whole)
    steps(first, everything(*whole), range(6))
    second = optimizer_of(*halves)
    steps(second, everything(*halves), range(3))
    third = optimizer_of(*halves)
    third.load_state_dict(second.state_dict())
    steps(third, everything(*halves), range(3, 6))
    for p, q in zip(everything(*whole), everything(*halves)):
        torch.testing.assert_close(p, q, rtol=0, atol=0)

    schedule = torch.optim.lr_scheduler.LambdaLR(third, lambda t: 0.0)
    before = [p.detach().clone() for p in everything(*halves)]
    steps(third, everything(*halves), [9])
    schedule.step()
    assert all((p == q).all() for p, q in zip(everything(*halves), before))


def test_step__takes_a_closure_and_leaves_out_what_has_no_gradient():
    cores, head, bias = parameters()
    optimizer = optimizer_of(cores, head, bias)
    before = [p.detach().clone() for p in everything(cores, head, bias)]

    def closure():
        loss = head.square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == pytest.approx(
        float(before[-2].square().sum())
    )
    moved = [bool((p != q).any()) for p, q in zip(everything(cores, head, bias), before)]
    assert moved == [False] * (len(before) - 2) + [True, False]


MUON = {"training": Training(optimizer="muon"), "core": "full", "rank": 5}


@pytest.mark.parametrize("core", ["diagonal", "banded", "random", "top_k"])
def test_fit__refuses_cores_that_are_not_whole(core, tiny_backbone):
    clf = SVEClassifier(tiny_backbone, **{**MUON, "core": core})
    with pytest.raises(ValueError, match=f"needs core='full'. Got core='{core}'"):
        clf.fit(["good", "bad", "good film", "bad film"], [1, 0, 1, 0])
    assert not hasattr(clf, "classes_")


def test_fit__learns_and_survives_pickling(tiny_backbone):
    X, y = ["good film", "bad plot", "good cast", "bad film"] * 6, [1, 0, 1, 0] * 6
    clf = SVEClassifier(
        tiny_backbone, **MUON, n_members=2, max_epochs=6, batch_size=4, lr=0.02, random_state=0
    )
    losses = [row["train_loss"].mean() for row in clf.fit(X, y).history_]
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(clf)).predict_proba(X), clf.predict_proba(X)
    )
    with parallel_config("threading"):
        alone = clone(clf).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_allclose(
        alone.predict_proba_members(X), clf.predict_proba_members(X), rtol=0, atol=1e-5
    )

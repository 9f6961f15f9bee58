"""Counted multiply-adds against those that follow from shapes."""

import json

import pytest
import torch

from sksve.adapters import SVDLinear


def test_multiply_adds__of_a_product(script):
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert script("multiply_adds").multiply_adds(lambda: a @ b) == 3 * 5 * 7


@pytest.mark.parametrize("rank", [4, 16])
@pytest.mark.parametrize("n", [12, 40])
def test_multiply_adds__of_a_core_forward_and_backward(rank, n, script):
    m, i, o = 2, 24, 20
    layer = SVDLinear.from_linear(
        torch.nn.Linear(i, o), m, rank=rank, core="full", train_bias=False
    )
    x = torch.ones(m * n, i, requires_grad=True)
    pass_of_a_row = o * i + rank * (o + i) + rank**2  # and the core's own gradient
    found = script("multiply_adds").multiply_adds(lambda: layer(x).sum().backward())
    assert found == m * n * (2 * pass_of_a_row + rank**2)


def test_multiply_adds__of_singular_values_beside_a_frozen_weight(script):
    m, n, d, r = 2, 40, 24, 3
    layer = SVDLinear.from_linear(torch.nn.Linear(d, d), m, rank=r, train_bias=False)
    x = torch.ones(m * n, d, requires_grad=True)
    found = script("multiply_adds").multiply_adds(lambda: layer(x).sum().backward())
    assert found >= 2 * m * n * d * d  # the weight, both ways, whichever route


@pytest.mark.slow
def test_count__a_fine_tune_costs_three_passes_an_epoch_and_members_are_so_many_fits(
    evidence, script
):
    module = script("multiply_adds")
    grid = evidence(["deep", "sve", "probe"])
    assert module.count(grid, "toy", "deep", 24) is None  # no trials yet
    for method in ("deep", "sve", "probe"):
        path = grid.tuning.path("toy", method)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"chosen": {"head_lr": 1e-2, "max_epochs": 3}}))
    deep = module.count(grid, "toy", "deep", 24)
    member = deep["once_of_a_member"] + 3 * deep["an_epoch_of_a_member"]
    assert deep["fit"] == deep["once"] + 2 * member
    # Nothing is done once; an epoch is a forward pass and two more backward, of 24 rows and their padding.
    for part in ("once", "once_of_a_member"):
        assert deep[part] == pytest.approx(0, abs=0.3 * deep["an_epoch_of_a_member"])
    passes = deep["an_epoch_of_a_member"] / (24 * deep["predict_a_row"] / 2)
    assert 2.5 < passes < 4
    # A probe's backbone runs once, an epoch is the head's.
    probe = module.count(grid, "toy", "probe", 24)
    assert probe["once_of_a_member"] > 5 * probe["an_epoch_of_a_member"]
    assert module.count(grid, "toy", "sve", 24)["fit"] > probe["fit"]

"""What fits cost: in turns, by the clock of each CPU, and in counted multiply-adds."""

import torch

from benchmarks.common.results import Table
from benchmarks.common.timing import alternate
from benchmarks.evidence.fit_times import load_times, put_times
from benchmarks.evidence.multiply_adds import multiply_adds
from sksve.adapters import SVDLinear


def measured(cpu, dataset="toy", tuned_with=200, whole=False, **methods):
    """What a measurement leaves: methods are shares, or (share, what is kept of the settings)."""
    numbers = {
        name: {"share_of_deep": told[0], **told[1]} if isinstance(told, tuple) else {"share_of_deep": told}
        for name, told in methods.items()
    }  # fmt: skip
    return {
        "provenance": {"hardware": {"cpu": cpu}}, "grid": "made", "dataset": dataset,
        "tuned_with": tuned_with, "whole": whole, "methods": numbers,
    }  # fmt: skip


def test_times__of_another_cpu_stay_beside_the_new_ones(tmp_path):
    table = Table(tmp_path / "times.jsonl")
    xeon = "Intel(R) Xeon(R) Processor"
    for run in (
        measured(xeon, "other", sve=0.7, lora=0.5),
        measured(xeon, sve=0.7, lora=0.5),
        measured("AMD EPYC", sve=0.8),
        measured(xeon, sve=0.6),
        measured("AMD EPYC", probe=0.1),
        measured("AMD EPYC", tuned_with=None, sve=0.3),
        measured("AMD EPYC", whole=True, sve=0.4),
    ):
        put_times(table, run)
    assert load_times(table, "made", 200) == {
        "AMD EPYC": {"sve": {"toy": 0.8}, "probe": {"toy": 0.1}},
        "Intel Xeon": {"sve": {"toy": 0.6, "other": 0.7}, "lora": {"toy": 0.5, "other": 0.5}},
    }
    assert load_times(table, "made", None) == {"AMD EPYC": {"sve": {"toy": 0.3}}}
    assert load_times(table, "made", 200, whole=True) == {"AMD EPYC": {"sve": {"toy": 0.4}}}
    assert load_times(table, "other", 200) == {}
    assert load_times(Table(tmp_path / "none.jsonl"), "made", 200) == {}


def test_alternate__in_turn_by_the_clock_given():
    said, now = [], iter(range(100))
    contenders = {name: (lambda name=name: said.append(name)) for name in "ab"}
    seconds = alternate(contenders, 2, clock=lambda: next(now))
    assert said == ["a", "b"] * 3  # a round to warm up
    assert seconds == {"a": [1, 1], "b": [1, 1]}


# -- multiply-adds -----------------------------------------------------------------------------------


def test_multiply_adds__of_a_product():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert multiply_adds(lambda: a @ b) == 3 * 5 * 7


def test_multiply_adds__of_singular_values_beside_a_frozen_weight():
    m, n, d, r = 2, 40, 24, 3
    layer = SVDLinear.from_linear(torch.nn.Linear(d, d), m, rank=r, train_bias=False)
    x = torch.ones(m * n, d, requires_grad=True)
    found = multiply_adds(lambda: layer(x).sum().backward())
    assert found >= 2 * m * n * d * d  # the weight, both ways, whichever route

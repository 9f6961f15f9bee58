"""What fits cost: in turns, by the clock of each CPU, and in counted multiply-adds."""

import pytest
import torch

from benchmarks.common.results import Table
from benchmarks.common.timing import alternate, summed_ratios
from benchmarks.evidence.fit_time import measure
from benchmarks.evidence.fit_times import load_times, put_times
from benchmarks.evidence.multiply_adds import count, multiply_adds
from sksve.adapters import SVDLinear


def choose(grid, *methods):
    """Let the trials have chosen."""
    for method in methods:
        chosen = {"head_lr": 1e-2, "max_epochs": 3}
        grid.tuning.table.put(grid.tuning.name("toy", method), {"chosen": chosen})


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["in-turns", "whole"])
def test_measure__every_method_beside_one_fine_tune(whole, evidence):
    grid = evidence(["deep", "sve"])
    choose(grid, "fine_tuned", "sve")
    found = measure(grid, "toy", ["sve"], 24, whole=whole)
    assert set(found) == {"fine_tuned", "sve"}
    m = grid.config["members"]
    assert [found[name]["members"] for name in ("fine_tuned", "sve")] == [1, m]
    for numbers in found.values():
        assert numbers["share_of_deep"] == pytest.approx(numbers["ratio_to_fine_tuned"] / m)
        assert numbers["seconds"] > 0
    assert found["fine_tuned"]["ratio_to_fine_tuned"] == 1.0


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


@pytest.mark.parametrize(
    ("before", "now", "stays"),
    [
        ({"settings": {"lr": 1.0}}, {"settings": {"lr": 1.0}}, True),
        ({"settings": {"lr": 1.0}}, {"settings": {"lr": 1.0, "freeze_out": 0.5}}, False),
        # What was measured before all settings were kept goes by those chosen.
        ({"chosen": {"lr": 1.0}}, {"chosen": {"lr": 1.0}, "settings": {"lr": 1.0}}, True),
        ({"chosen": {"lr": 1.0}}, {"chosen": {"lr": 2.0}, "settings": {"lr": 2.0}}, False),
    ],
)
def test_times__of_another_cpu_go_where_the_method_has_other_settings_now(
    before, now, stays, tmp_path
):
    table = Table(tmp_path / "times.jsonl")
    put_times(table, measured("Xeon", sve=(0.5, before), lora=0.4))
    put_times(table, measured("EPYC", sve=(0.6, now)))
    kept = load_times(table, "made", 200)
    assert kept["EPYC"] == {"sve": {"toy": 0.6}}
    assert set(kept["Xeon"]) == ({"sve", "lora"} if stays else {"lora"})


def test_summed_ratios__of_all_seconds():
    found = summed_ratios({"a": [1.0, 3.0], "b": [6.0, 2.0]}, "a")
    assert found["a"] == {"seconds": 2.0, "ratio_to_a": 1.0, "rounds": 2}
    assert found["b"] == {"seconds": 4.0, "ratio_to_a": 2.0, "rounds": 2}


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


@pytest.mark.slow
def test_count__a_fine_tune_costs_three_passes_an_epoch_and_members_are_so_many_fits(evidence):
    grid = evidence(["deep", "sve", "probe"])
    assert count(grid, "toy", "deep", 24) is None  # no trials yet
    choose(grid, "deep", "sve", "probe")
    deep = count(grid, "toy", "deep", 24)
    member = deep["once_of_a_member"] + 3 * deep["an_epoch_of_a_member"]
    assert deep["fit"] == deep["once"] + 2 * member
    # Nothing is done once; an epoch is a forward pass and two more backward, of 24 rows and their padding.
    for part in ("once", "once_of_a_member"):
        assert deep[part] == pytest.approx(0, abs=0.3 * deep["an_epoch_of_a_member"])
    passes = deep["an_epoch_of_a_member"] / (24 * deep["predict_a_row"] / 2)
    assert 2.5 < passes < 4
    # A probe's backbone runs once, an epoch is the head's.
    probe = count(grid, "toy", "probe", 24)
    assert probe["once_of_a_member"] > 5 * probe["an_epoch_of_a_member"]
    assert count(grid, "toy", "sve", 24)["fit"] > probe["fit"]

import json

import pytest
import torch
from torch import nn

from sksve.backbones import (
    adapter_report,
    check_partition,
    count_parameters,
    plan_adaptation,
)


def report_of(model, **options):
    plan = plan_adaptation(model, target_modules="attention", adapt_blocks=1)
    parameters = {
        "delta": nn.Parameter(torch.zeros(5, 16, dtype=torch.float64)),
        "bias": nn.Parameter(torch.zeros(5, 3)),
        "frozen": nn.Parameter(torch.zeros(99), requires_grad=False),
    }
    options = {"n_members": 5, "n_total": 9500, "ranks": {"x": 4, "y": 7}, **options}
    return plan, adapter_report(plan, parameters, **options)


def test_report__counts_by_hand(pair_of):
    plan, report = report_of(pair_of("bert")[0])
    assert report.adapted == plan.targets
    assert report.skipped == plan.skipped
    assert report.n_trainable == 5 * 19
    assert report.n_trainable_per_member == 19
    assert report.n_total == 9500
    assert report.share_percent == pytest.approx(1.0)
    assert report.n_bytes == 5 * 16 * 8 + 5 * 3 * 4
    assert report.ranks == {"x": 4, "y": 7}


def test_report__a_parameter_under_two_names_counts_once(pair_of):
    plan = plan_adaptation(pair_of("bert")[0])
    weight = nn.Parameter(torch.zeros(6))
    report = adapter_report(plan, {"a": weight, "b": weight}, n_members=2, n_total=10)
    assert report.n_trainable == 6


def test_report__to_dict_survives_json(pair_of):
    report = report_of(pair_of("bert")[0])[1]
    back = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert back["n_trainable"] == 95
    assert back["adapted"] == list(report.adapted)
    assert back["skipped"] == report.skipped


def test_report__repr_tells_the_numbers_and_sums_up_the_reasons(pair_of):
    text = repr(report_of(pair_of("bert")[0])[1])
    assert text.splitlines() == [
        "AdapterReport: 4 modules adapted, 15 left alone",
        "  trainable: 95 parameters, 19 a member, 700 bytes",
        "  that is 1 % of the backbone's 9,500",
        "  trained rank: 4 to 7",
        "  left alone: 4 block 0 is frozen by adapt_blocks=1",
        "  left alone: 6 not matched by target_modules='attention'",
        "  left alone: 4 block 1 is frozen by adapt_blocks=1",
        "  left alone: 1 outside the transformer blocks",
    ]


def test_report__uneven_members_are_refused(pair_of):
    with pytest.raises(ValueError, match=r"Each of 4 members .* Got 95 parameters"):
        report_of(pair_of("bert")[0], n_members=4)


def test_count__shared_parameters_once():
    shared = nn.Linear(3, 2)
    assert count_parameters(nn.ModuleList([shared, shared, nn.Linear(1, 1)])) == 8 + 2


def model():
    layers = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    layers["b"].requires_grad_(False)
    return layers


def test_partition__exact_one_passes():
    assert check_partition(model(), ["a.weight", "a.bias"]) is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.weight"], "must be frozen but require a gradient: a.bias"),
        (["a.weight", "a.bias", "b.bias"], "must learn but are frozen: b.bias"),
        (["a.weight", "a.bias", "c"], "do not exist: c"),
    ],
)
def test_partition__any_other_is_refused_by_name(names, words):
    with pytest.raises(ValueError, match=words):
        check_partition(model(), names)


def test_partition__long_lists_are_cut():
    layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(4)])
    with pytest.raises(ValueError, match=r"0.bias, 0.weight, 1.bias, 1.weight, 2.bias and 3 more"):
        check_partition(layers, [])

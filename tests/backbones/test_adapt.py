"""Layers swapped in, all or none; and the report of what they cost."""

import json

import pytest
import torch
from torch import nn

from sksve.backbones import AdapterReport, plan_adaptation, swap_modules


class Doubled(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


def nested():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        inner = nn.Sequential(nn.Linear(3, 4), nn.ModuleDict({"a": nn.Linear(4, 3)}))
        return nn.ModuleDict({"left": nn.Sequential(inner), "right": nn.Linear(3, 3)})


def layout(model):
    return {name: id(module) for name, module in model.named_modules()}


def test_swap__reaches_two_levels_down_by_value():
    model = nested()
    deep = model["left"][0][1]["a"]
    x = torch.ones(1, 4)
    swap_modules(model, {"left.0.1.a": Doubled(deep), "right": nn.Identity()})
    assert torch.equal(model["left"][0][1]["a"](x), 2 * deep(x))
    assert isinstance(model["right"], nn.Identity)
    assert isinstance(model["left"][0][0], nn.Linear)


def test_swap__every_target_of_a_transformer(family, pair_of):
    model, tokenizer = pair_of(family)
    ids = tokenizer("a good film", return_tensors="pt")["input_ids"]
    mask = torch.ones_like(ids)
    plan = plan_adaptation(model)
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).last_hidden_state
        swap_modules(model, {n: Halved(Doubled(model.get_submodule(n))) for n in plan.targets})
        after = model(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.equal(after, before)
        swap_modules(model, {n: Doubled(model.get_submodule(n)) for n in plan.targets})
        changed = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert (changed - before).abs().max() > 0.01


class Halved(Doubled):
    def forward(self, x):
        return self.inner(x) / 2


FAULTS = {
    "missing": ({"left.0.7": nn.Identity()}, "'left.0.7' is not a module of ModuleDict"),
    "root": ({"": nn.Identity()}, "'' is not a module"),
    "shape": ({"right": nn.Linear(3, 5)}, "'right' maps 3 to 3 features, its replacement 3 to 5"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_swap__fault_swaps_nothing_at_all(case):
    model = nested()
    before = layout(model)
    replacements, words = FAULTS[case]
    with pytest.raises(ValueError, match=words):
        swap_modules(model, {"left.0.1.a": nn.Identity(), **replacements})
    assert layout(model) == before


def test_swap__a_shared_module_is_not_parted():
    shared = nn.Linear(2, 2)
    model = nn.ModuleList([shared, shared])
    with pytest.raises(ValueError, match="'0' is the same module as '1'"):
        swap_modules(model, {"0": nn.Identity()})
    assert model[0] is shared


def test_swap__every_fault_is_named():
    with pytest.raises(ValueError, match=r"(?s)Nothing was swapped:\n- 'x' .*\n- 'right' maps"):
        swap_modules(nested(), {"x": nn.Identity(), "right": nn.Linear(3, 5)})


def test_swap__conv1d_features_are_compared(pair_of):
    model = pair_of("gpt2")[0]
    with pytest.raises(ValueError, match="maps 16 to 48 features, its replacement 48 to 16"):
        swap_modules(model, {"h.0.attn.c_attn": nn.Linear(48, 16)})


def report_of(model, **options):
    plan = plan_adaptation(model, target_modules="attention", adapt_blocks=1)
    parameters = {
        "delta": nn.Parameter(torch.zeros(5, 16, dtype=torch.float64)),
        "bias": nn.Parameter(torch.zeros(5, 3)),
        "frozen": nn.Parameter(torch.zeros(99), requires_grad=False),
    }
    options = {"n_members": 5, "n_total": 9500, "ranks": {"x": 4, "y": 7}, **options}
    return plan, AdapterReport.of(plan, parameters, **options)


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
    report = AdapterReport.of(plan, {"a": weight, "b": weight}, n_members=2, n_total=10)
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
        "AdapterReport: 4 modules adapted, 15 not",
        "  trainable: 95 parameters, 19 per member, 700 bytes",
        "  that is 1 % of the backbone's 9,500",
        "  trained rank: 4 to 7",
        "  not adapted: 4 block 0 is frozen by adapt_blocks=1",
        "  not adapted: 6 not matched by target_modules='attention'",
        "  not adapted: 4 block 1 is frozen by adapt_blocks=1",
        "  not adapted: 1 outside the transformer blocks",
    ]


def test_report__uneven_members_are_refused(pair_of):
    with pytest.raises(ValueError, match=r"Each of 4 members .* Got 95 parameters"):
        report_of(pair_of("bert")[0], n_members=4)

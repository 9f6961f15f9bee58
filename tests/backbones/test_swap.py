import pytest
import torch
from torch import nn

from sksve.backbones import plan_adaptation, swap_modules


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


def test_swap__a_wrapper_may_hold_the_old_module_twice_in_a_row():
    model = nested()
    for _ in range(2):
        swap_modules(model, {"right": Doubled(model["right"])})
    x = torch.ones(1, 3)
    assert torch.equal(model["right"](x), 4 * model["right"].inner.inner(x))


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


def test_swap__state_dict_has_the_new_parameters_only():
    model = nested()
    swap_modules(model, {"right": nn.Linear(3, 3, bias=False)})
    assert "right.bias" not in model.state_dict()


FAULTS = {
    "missing": (
        {"left.0.7": nn.Identity()},
        "'left.0.7' is no module of ModuleDict. Near",
    ),
    "near": ({"left.a": nn.Identity()}, r"'left.a' is no module .* Near it: left.0.1.a\."),
    "root": ({"": nn.Identity()}, "'' is no module"),
    "inside": (
        {"left.0": nn.Identity(), "left.0.0": nn.Identity()},
        "'left.0' contains 'left.0.0', swapped too",
    ),
    "no module": ({"right": 3}, "'right' must be replaced by a torch module. Got 3"),
    "shape": ({"right": nn.Linear(3, 5)}, "'right' maps 3 to 3 features, its replacement 3 to 5"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_fault__swaps_nothing_at_all(case):
    model = nested()
    before = layout(model)
    replacements, words = FAULTS[case]
    good = {"left.0.1.a": nn.Identity()} if case not in ("inside",) else {"right": nn.Identity()}
    with pytest.raises(ValueError, match=words):
        swap_modules(model, {**good, **replacements})
    assert layout(model) == before


def test_fault__one_replacement_twice():
    model = nested()
    before = layout(model)
    one = nn.Identity()
    with pytest.raises(ValueError, match="one and the same replacement"):
        swap_modules(model, {"left.0.1.a": one, "right": one})
    assert layout(model) == before


def test_fault__a_shared_module_is_not_parted():
    shared = nn.Linear(2, 2)
    model = nn.ModuleList([shared, shared])
    with pytest.raises(ValueError, match="'0' is the same module as '1'"):
        swap_modules(model, {"0": nn.Identity()})
    assert model[0] is shared


def test_fault__every_fault_is_named():
    with pytest.raises(ValueError, match=r"(?s)Nothing was swapped:\n- 'x' .*\n- 'right' maps"):
        swap_modules(nested(), {"x": nn.Identity(), "right": nn.Linear(3, 5)})


def test_fault__conv1d_features_are_compared(pair_of):
    model = pair_of("gpt2")[0]
    with pytest.raises(ValueError, match="maps 16 to 48 features, its replacement 48 to 16"):
        swap_modules(model, {"h.0.attn.c_attn": nn.Linear(48, 16)})

"""Which linear maps are adapted: exact lists in every family, and the reason for every other."""

import copy

import pytest
import torch
from torch import nn

from sksve.backbones import (
    plan_adaptation,
    resolve_backbone,
)

# family -> (list of blocks, linear maps of attention, of the MLP, outside the blocks)
BERT_ATTENTION = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
]
BERT_MLP = ["intermediate.dense", "output.dense"]
LAYOUT = {
    "bert": ("encoder.layer", BERT_ATTENTION, BERT_MLP, ["pooler.dense"]),
    "roberta": ("encoder.layer", BERT_ATTENTION, BERT_MLP, ["pooler.dense"]),
    "electra": ("encoder.layer", BERT_ATTENTION, BERT_MLP, ["embeddings_project"]),
    "distilbert": (
        "transformer.layer",
        [f"attention.{n}_lin" for n in ("q", "k", "v", "out")],
        ["ffn.lin1", "ffn.lin2"],
        [],
    ),
    "mpnet": (
        "encoder.layer",
        [f"attention.attn.{n}" for n in "qkvo"],
        BERT_MLP,
        ["pooler.dense"],
    ),
    "deberta-v2": (
        "encoder.layer",
        [
            *(f"attention.self.{n}_proj" for n in ("query", "key", "value")),
            "attention.output.dense",
        ],
        BERT_MLP,
        [],
    ),
    "gpt2": ("h", ["attn.c_attn", "attn.c_proj"], ["mlp.c_fc", "mlp.c_proj"], []),
    "llama": (
        "layers",
        [f"self_attn.{n}_proj" for n in "qkvo"],
        [f"mlp.{n}_proj" for n in ("gate", "up", "down")],
        [],
    ),
}


def names(family, inner, blocks=(0, 1, 2)):
    start = LAYOUT[family][0]
    return tuple(f"{start}.{b}.{name}" for b in blocks for name in inner)


def test_all_linear__every_linear_map_in_the_blocks_and_none_outside(family, pair_of):
    plan = plan_adaptation(pair_of(family)[0])
    start, attention, mlp, outside = LAYOUT[family]
    assert plan.targets == names(family, [*attention, *mlp])
    assert plan.skipped == dict.fromkeys(outside, "outside the transformer blocks")
    assert (plan.blocks, plan.n_blocks, plan.first_block) == (start, 3, 0)


@pytest.mark.parametrize("group", ["attention", "mlp"])
def test_groups__are_attention_and_mlp(family, group, pair_of):
    plan = plan_adaptation(pair_of(family)[0], target_modules=group)
    _, attention, mlp, _ = LAYOUT[family]
    wanted, rest = (attention, mlp) if group == "attention" else (mlp, attention)
    assert plan.targets == names(family, wanted)
    for name in names(family, rest):
        assert plan.skipped[name] == f"not matched by target_modules={group!r}"


def test_adapt_blocks__takes_the_last_and_says_why_not_the_others(family, pair_of):
    plan = plan_adaptation(pair_of(family)[0], adapt_blocks=2)
    inner = [*LAYOUT[family][1], *LAYOUT[family][2]]
    assert plan.targets == names(family, inner, blocks=(1, 2))
    assert plan.first_block == 1
    frozen = {n for n, why in plan.skipped.items() if why == "block 0 is frozen by adapt_blocks=2"}
    assert frozen == set(names(family, inner, blocks=(0,)))


def test_targets_and_skipped__together_are_all_linear_maps(family, pair_of):
    model = pair_of(family)[0]
    plan = plan_adaptation(model, target_modules="mlp", adapt_blocks=1)
    kinds = {"Linear", "Conv1D"}
    linear = {n for n, m in model.named_modules() if type(m).__name__ in kinds}
    assert set(plan.targets) | set(plan.skipped) == linear
    assert not set(plan.targets) & set(plan.skipped)


def test_adapt_blocks__0_adapts_nothing(family, pair_of):
    plan = plan_adaptation(pair_of(family)[0], adapt_blocks=0)
    assert plan.targets == ()
    assert plan.first_block == plan.n_blocks == 3


def test_adapt_blocks__all_equals_none(family, pair_of):
    model = pair_of(family)[0]
    assert plan_adaptation(model, adapt_blocks=3) == plan_adaptation(model)


def test_suffixes__match_whole_dotted_endings_only(pair_of):
    model = pair_of("bert")[0]
    plan = plan_adaptation(model, target_modules=["output.dense", "ey"])
    assert plan.targets == names("bert", ["attention.output.dense", "output.dense"])
    whole = "encoder.layer.1.attention.self.key"
    assert plan_adaptation(model, target_modules=(whole,)).targets == (whole,)


def test_suffixes__cannot_reach_outside_the_blocks(pair_of):
    plan = plan_adaptation(pair_of("bert")[0], target_modules=["dense"])
    assert "pooler.dense" not in plan.targets
    assert plan.skipped["pooler.dense"] == "outside the transformer blocks"


def test_regex__must_match_the_whole_name(pair_of):
    model = pair_of("bert")[0]
    plan = plan_adaptation(model, target_modules=r".*\.[02]\..*\.(query|value)")
    inner = ["attention.self.query", "attention.self.value"]
    assert plan.targets == names("bert", inner, blocks=(0, 2))
    with pytest.raises(ValueError, match="matches no linear map"):
        plan_adaptation(model, target_modules=r"(query|value)")


def test_nothing_matched__lists_each_possible_suffix_once(family, pair_of):
    model = pair_of(family)[0]
    for wrong in ("quary", ["quary"]):
        with pytest.raises(ValueError, match="matches no linear map inside") as caught:
            plan_adaptation(model, target_modules=wrong)
        message = str(caught.value)
        listed = message.split("would match: ")[1].split(". A str")[0].split(", ")
        assert listed == [*LAYOUT[family][1], *LAYOUT[family][2]]
        assert "pooler" not in message


def test_nothing_matched__even_where_no_block_is_adapted(pair_of):
    with pytest.raises(ValueError, match="matches no linear map"):
        plan_adaptation(pair_of("bert")[0], target_modules=["quary"], adapt_blocks=0)


def test_nothing_left__when_only_frozen_blocks_match(pair_of):
    with pytest.raises(ValueError, match="matches only blocks that adapt_blocks=1 freezes"):
        plan_adaptation(pair_of("bert")[0], target_modules=r".*\.0\..*", adapt_blocks=1)


@pytest.mark.parametrize("wrong", [[], ["query", 3], [""], None, 7, {"query"}])
def test_target_modules__other_types_are_refused(wrong, pair_of):
    with pytest.raises(ValueError, match=r"'target_modules' parameter must be one of"):
        plan_adaptation(pair_of("bert")[0], target_modules=wrong)


def test_target_modules__malformed_regex_says_what_is_wrong(pair_of):
    with pytest.raises(ValueError, match=r"must be a regular expression. Got '\(': .*unterminated"):
        plan_adaptation(pair_of("bert")[0], target_modules="(")


@pytest.mark.parametrize("wrong", [-1, True, 1.0, "all"])
def test_adapt_blocks__is_a_number_of_blocks(wrong, pair_of):
    with pytest.raises(ValueError, match=f"int of at least 0. Got {wrong!r} instead"):
        plan_adaptation(pair_of("bert")[0], adapt_blocks=wrong)


def test_adapt_blocks__more_than_there_are_names_the_number_of_blocks(pair_of):
    with pytest.raises(ValueError, match="adapt_blocks=4 is more than this backbone's 3 blocks"):
        plan_adaptation(pair_of("bert")[0], adapt_blocks=4)


def test_plan__changes_nothing(family, pair_of):
    model = pair_of(family)[0].train()
    before = copy.deepcopy(model)
    plan_adaptation(model, target_modules="attention", adapt_blocks=1)
    assert [n for n, _ in model.named_modules()] == [n for n, _ in before.named_modules()]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters()))
    assert all(p.requires_grad for p in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", "BertForSequenceClassification"),
        ("roberta", "RobertaForMaskedLM"),
        ("gpt2", "GPT2LMHeadModel"),
        ("llama", "LlamaForCausalLM"),
        ("deberta-v2", "DebertaV2ForSequenceClassification"),
    ],
)
def test_head__is_left_out(family, head, pair_of):
    import transformers

    base = pair_of(family)[0]
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, head)(base.config)
    plan = plan_adaptation(model)
    _, attention, mlp, _ = LAYOUT[family]
    assert plan.targets == names(family, [*attention, *mlp])
    assert not any(n.startswith(("classifier", "lm_head", "cls")) for n in plan.skipped)


def test_plan_of_a_folder__equals_the_plan_of_the_loaded_model(family, pair_of, tmp_path):
    model, tokenizer = pair_of(family)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    before = torch.random.get_rng_state()
    options = {"target_modules": "attention", "adapt_blocks": 2}
    skeleton = plan_adaptation(resolve_backbone(tmp_path), **options)
    assert skeleton == plan_adaptation(model, **options)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_plan_of_a_folder__needs_no_weights(pair_of, tmp_path):
    pair_of("bert")[0].save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    resolved = resolve_backbone(tmp_path)
    assert len(plan_adaptation(resolved).targets) == 18
    with pytest.raises(ValueError, match=r"Suffixes that would match: attention\.self"):
        plan_adaptation(resolved, target_modules=["nope"])


def tiny(name, **more):
    import transformers

    sizes = {
        "vocab_size": 20,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        **more,
    }
    with torch.device("meta"):
        return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(name, **sizes))


def test_blocks__without_a_list_of_them_the_model_is_one():
    model = tiny("albert", embedding_size=8)
    plan = plan_adaptation(model)
    assert (plan.blocks, plan.n_blocks, plan.first_block) == ("", 1, 0)
    assert "encoder.albert_layer_groups.0.albert_layers.0.ffn" in plan.targets
    with pytest.raises(ValueError, match=r"adapt_blocks=2 is more than .*'s 1 block"):
        plan_adaptation(model, adapt_blocks=2)


def test_blocks__of_an_encoder_decoder_are_refused():
    with pytest.raises(ValueError, match="T5Model is an encoder-decoder model"):
        plan_adaptation(tiny("t5", d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2))


def test_blocks__one_object_thrice_is_no_list(pair_of):
    model = pair_of("bert")[0]
    model.encoder.layer = nn.ModuleList([model.encoder.layer[0]] * 3)
    assert plan_adaptation(model).blocks == ""


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_vision__is_planned_too(name):
    more = {"mlp_ratio": 2} if name == "dinov2" else {}
    model = tiny(name, image_size=28, patch_size=14, **more)
    attention = plan_adaptation(model, target_modules="attention", adapt_blocks=1).targets
    mlp = plan_adaptation(model, target_modules="mlp", adapt_blocks=1).targets
    assert [n.rsplit(".2.")[-1] for n in attention] == [f"attention.{c}_proj" for c in "qkvo"]
    assert [n.rsplit(".2.")[-1] for n in mlp] == ["mlp.fc1", "mlp.fc2"]


@pytest.mark.parametrize("name", ["nystromformer", "yoso", "mra"])
def test_max_positions__a_table_with_rows_that_are_never_used(name):
    assert plan_adaptation(tiny(name, max_position_embeddings=64)).max_positions == 64

"""The cut, by value: suffix(prefix(x)) is the model's own forward, in each family, at each cut."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sksve.backbones import (
    LoadedBackbone,
    SplitBackbone,
    load_backbone,
    plan_adaptation,
    resolve_backbone,
    swap_modules,
)

TEXTS = ["the good film", "a", "x0: -0.86; x1: 0.22 and a very, very long story!", "Dull (bad)"]
TYPES = {torch.float32: 1e-6, torch.float64: 1e-12}
PADDING = {torch.float32: 1e-5, torch.float64: 1e-9}


def encode(backbone, texts=TEXTS):
    batch = backbone.processor(texts, padding=True, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def split_of(backbone, adapt_blocks=None, **options):
    return SplitBackbone(
        backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks, **options)
    )


def full_forward(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


@pytest.mark.parametrize("dtype", TYPES, ids=["float32", "float64"])
def test_split__equals_the_models_own_forward_at_every_cut(family, dtype, backbone_of):
    backbone = backbone_of(family, dtype=dtype)
    ids, mask = encode(backbone)
    with torch.no_grad():
        expected = full_forward(backbone.model, ids, mask)
    real = mask.bool()
    for adapt_blocks in (0, 1, 2, 3):
        split = split_of(backbone, adapt_blocks)
        assert split.can_split
        assert split.first_block == 3 - adapt_blocks
        hidden = split.prefix(ids, mask)
        got = split.suffix(hidden, ids, mask)
        assert got.dtype == dtype
        torch.testing.assert_close(got[real], expected[real], rtol=0, atol=TYPES[dtype])
    whole = split_of(backbone).suffix(None, ids, mask)
    torch.testing.assert_close(whole[real], expected[real], rtol=0, atol=TYPES[dtype])


def test_prefix__is_the_input_of_the_first_adapted_block(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)
    seen = []
    split = split_of(backbone, 1)
    block = backbone.model.get_submodule(split.blocks)[2]
    handle = block.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    with torch.no_grad():
        full_forward(backbone.model, ids, mask)
    handle.remove()
    assert torch.equal(split.prefix(ids, mask), seen[0])


def test_suffix__does_not_run_the_prefix_again(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)
    split = split_of(backbone, 1)
    hidden = split.prefix(ids, mask)
    expected = split.suffix(hidden, ids, mask)
    with torch.no_grad():
        for block in backbone.model.get_submodule(split.blocks)[:2]:
            for parameter in block.parameters():
                parameter.fill_(float("nan"))
    assert torch.equal(split.suffix(hidden, ids, mask), expected)


def test_suffix__hidden_states_are_what_counts(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)
    split = split_of(backbone, 2)
    hidden = split.prefix(ids, mask)
    moved = split.suffix(hidden.flip(0), ids.flip(0), mask.flip(0)).flip(0)
    torch.testing.assert_close(moved, split.suffix(hidden, ids, mask), rtol=0, atol=1e-5)
    other = split.suffix(hidden + 1 + hidden.abs(), ids, mask)
    assert (other - moved).abs().max() > 0.01


@pytest.mark.parametrize("adapt_blocks", [3, 1])
@pytest.mark.parametrize("dtype", PADDING, ids=["float32", "float64"])
def test_padding__a_text_alone_and_in_a_batch_are_the_same(
    family, dtype, adapt_blocks, backbone_of
):
    backbone = backbone_of(family, dtype=dtype)
    split = split_of(backbone, adapt_blocks)
    with torch.no_grad():
        together = split(*encode(backbone))
        for row, text in enumerate(TEXTS):
            alone = split(*encode(backbone, [text]))[0]
            torch.testing.assert_close(alone, together[row], rtol=0, atol=PADDING[dtype])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_padding__what_stands_in_padded_places_does_not_matter(family, pooling, backbone_of):
    backbone = backbone_of(family, dtype=torch.float64, pooling=pooling)
    split = split_of(backbone, 2)
    ids, mask = encode(backbone)
    pad = ids[1, -1].item()
    # RoBERTa and MPNet count positions by the padding id, so the id itself must stay theirs.
    other = ids if family in ("roberta", "mpnet") else torch.where(mask == 0, (pad + 7) % 50, ids)
    hidden = split.prefix(ids, mask)
    spoiled = torch.where(mask.unsqueeze(-1) == 0, 3.0, hidden)
    expected = split(ids, mask)
    got = split.pool(split.suffix(spoiled, other, mask), mask)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_no_token__gives_zeros_and_finite_gradients(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)
    mask[1] = 0
    for adapt_blocks in (3, 1):
        split = split_of(backbone, adapt_blocks)
        weight = backbone.model.get_submodule(
            plan_adaptation(backbone.model, adapt_blocks=1).targets[0]
        ).weight
        weight.requires_grad_(True)
        weight.grad = None
        vectors = split(ids, mask)
        vectors.square().sum().backward()
        assert (vectors[1] == 0).all()
        assert vectors.isfinite().all()
        assert weight.grad.isfinite().all()
        assert weight.grad.abs().max() > 0


@pytest.mark.parametrize("adapt_blocks", [3, 1])
def test_run__the_model_never_sees_a_row_without_tokens_and_keeps_no_cache(
    family, adapt_blocks, backbone_of
):
    backbone = backbone_of(family)
    split = split_of(backbone, adapt_blocks)
    ids, mask = encode(backbone)
    mask[1] = 0
    seen = []
    backbone.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    split(ids, mask)
    assert len(seen) == (1 if adapt_blocks == 3 else 2)
    for kwargs in seen:
        assert kwargs["attention_mask"].any(dim=1).all()
        assert not kwargs.get("use_cache", False)
        assert "use_cache" in kwargs or family not in ("gpt2", "llama")
    assert (mask[1] == 0).all()


def test_no_columns__a_batch_of_empty_texts_gives_zeros(backbone_of):
    backbone = backbone_of("gpt2")
    ids = torch.zeros(2, 0, dtype=torch.long)
    for adapt_blocks in (0, 1, 3):
        got = split_of(backbone, adapt_blocks)(ids, ids)
        assert torch.equal(got, torch.zeros(2, 16))


def test_train__leaves_the_backbone_asleep(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)
    split = split_of(backbone, 2)
    outer = nn.Sequential(split)
    expected = split(ids, mask)
    outer.train()
    assert split.training
    assert not any(m.training for m in split.model.modules())
    assert torch.equal(split(ids, mask), expected)


def test_copies__pickle_and_deepcopy_give_the_same_and_share_nothing(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)
    split = split_of(backbone, 1)
    expected = split(ids, mask)
    for twin in (copy.deepcopy(split), pickle.loads(pickle.dumps(split))):
        assert torch.equal(twin(ids, mask), expected)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
    assert torch.equal(split(ids, mask), expected)


def test_calls__leave_no_trace_in_the_model(family, backbone_of):
    backbone = backbone_of(family)
    ids, mask = encode(backbone)

    def trace():
        modules = dict(backbone.model.named_modules())
        hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in modules.values()]
        return {n: id(m) for n, m in modules.items()}, hooks, sorted(vars(backbone.model))

    before = trace()
    split = split_of(backbone, 1)
    split.suffix(split.prefix(ids, mask), ids, mask)
    assert trace() == before


def test_calls__may_overlap_in_threads(backbone_of):
    backbone = backbone_of("bert")
    splits = [split_of(backbone, k) for k in (1, 2)]
    batches = [encode(backbone, [text]) for text in TEXTS]
    jobs = [(s, b) for s in splits for b in batches] * 8
    expected = [s(*b) for s, b in jobs]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda job: job[0](*job[1]), jobs))
    assert all(torch.equal(g, e) for g, e in zip(got, expected))


def test_swap__after_the_split_is_seen(backbone_of):
    backbone = backbone_of("bert")
    ids, mask = encode(backbone)
    plan = plan_adaptation(backbone.model, adapt_blocks=1)
    split = SplitBackbone(backbone, plan)
    before = split(ids, mask)
    swap_modules(backbone.model, {plan.targets[0]: nn.Identity()})
    assert not torch.equal(split(ids, mask), before)


def test_suffix__wrong_rows_show_both_shapes(backbone_of):
    backbone = backbone_of("bert")
    ids, mask = encode(backbone)
    split = split_of(backbone, 1)
    hidden = split.prefix(ids, mask)
    with pytest.raises(ValueError, match=r"\(4, 35, 16\) and \(8, 35\)".replace("35", r"\d+")):
        split.suffix(hidden, ids.repeat(2, 1), mask.repeat(2, 1))


def test_suffix__missing_hidden_is_refused_where_there_is_a_prefix(backbone_of):
    backbone = backbone_of("bert")
    split = split_of(backbone, 1)
    with pytest.raises(ValueError, match="2 of 3 blocks are in the prefix"):
        split.suffix(None, *encode(backbone))


def test_split__deberta_with_a_convolution_behind_block_0(pair_of):
    model, tokenizer = pair_of("deberta-v2")
    config = copy.deepcopy(model.config)
    config.conv_kernel_size, config.conv_act = 3, "gelu"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        other = type(model)(config).eval()
    backbone = load_backbone(resolve_backbone((other, tokenizer)))
    ids, mask = encode(backbone)
    expected = full_forward(backbone.model, ids, mask)
    for adapt_blocks in (1, 2, 3):
        split = split_of(backbone, adapt_blocks)
        got = split.suffix(split.prefix(ids, mask), ids, mask)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def t5_encoder():
    """T5 hands position biases from block to block: it cannot be cut by hidden states alone."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2, use_cache=False
    )
    config.is_encoder_decoder = False
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return T5EncoderModel(config).eval()


def test_can_split__false_still_gives_the_right_result():
    model = t5_encoder()
    backbone = LoadedBackbone(model, None, "mean", 16, None, "t5", "pair")
    split = split_of(backbone, 1)
    ids = torch.arange(1, 9).view(2, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert not split.can_split
    hidden = split.prefix(ids, mask)
    assert hidden.shape == (2, 4, 0)
    got = split.suffix(hidden, ids, mask)
    assert torch.equal(got, full_forward(model, ids, mask))


PAIRS = (["the good film", "a"], ["bad", "a very long story!"])


@pytest.mark.parametrize("adapt_blocks", [0, 1, 3])
@pytest.mark.parametrize("family", ["bert", "electra"])
def test_token_types__give_the_models_own_answer(family, adapt_blocks, backbone_of):
    backbone = backbone_of(family, dtype=torch.float64)
    batch = backbone.processor(*PAIRS, padding=True, return_tensors="pt")
    assert batch["token_type_ids"].sum() > 3
    with torch.no_grad():
        expected = backbone.model(**batch).last_hidden_state
        untyped = backbone.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    assert (expected - untyped).abs().max() > 0.1
    mask = batch["attention_mask"]
    inputs = torch.stack([batch["input_ids"], batch["token_type_ids"]], dim=1)
    split = SplitBackbone(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    got = split.suffix(split.prefix(inputs, mask), inputs, mask)
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], rtol=0, atol=1e-12)


def test_token_types__are_left_out_where_the_model_takes_none(backbone_of):
    backbone = backbone_of("distilbert", dtype=torch.float64)
    batch = backbone.processor(*PAIRS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    split = SplitBackbone(backbone, plan_adaptation(backbone.model))
    typed = torch.stack([ids, torch.ones_like(ids)], dim=1)
    assert torch.equal(split(typed, mask), split(ids, mask))

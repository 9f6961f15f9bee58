"""Loading: private copies, asleep, silent, of the type asked for; the user's own untouched."""

import copy
import os
import pickle

import pytest
import torch
import transformers

from sksve.backbones import (
    ResolvedBackbone,
    load_backbone,
    make_tiny_backbone,
    plan_adaptation,
    resolve_backbone,
)

TEXT = "the good film: 4B"


def save(pair, folder):
    for part in pair:
        part.save_pretrained(folder)
    return folder


def output(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state


def ids_of(processor):
    return processor(TEXT, return_tensors="pt")["input_ids"]


def snapshot(model, tokenizer):
    return (
        {k: v.clone() for k, v in model.state_dict().items()},
        {n: (m.training, id(m), type(m)) for n, m in model.named_modules()},
        [p.requires_grad for p in model.parameters()],
        {n: m.p for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)},
        (tokenizer.pad_token, tokenizer.padding_side, tokenizer.model_max_length),
        (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding),
    )


def same(a, b):
    states = a[0].keys() == b[0].keys() and all(torch.equal(a[0][k], b[0][k]) for k in a[0])
    return states and a[1:] == b[1:]


def test_pair__is_never_changed(family, pair_of):
    model, tokenizer = pair_of(family)
    model.train()
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is not None:
        tokenizer(["a", "a b c"], padding="max_length", truncation=True, max_length=5)
    before = snapshot(model, tokenizer)
    backbone = load_backbone(resolve_backbone((model, tokenizer)), dtype=torch.float64)
    backbone.processor(["a", "a b c d"], padding=True, truncation=True, max_length=4)
    with torch.no_grad():
        for tensor in (*backbone.model.parameters(), *backbone.model.buffers()):
            tensor.zero_()
    backbone.model.train().requires_grad_(True)
    assert same(snapshot(model, tokenizer), before)


def test_model__is_asleep_and_frozen(family, pair_of):
    model, tokenizer = pair_of(family)
    model.train()
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    backbone = load_backbone(resolve_backbone((model, tokenizer)))
    assert not any(m.training for m in backbone.model.modules())
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert all(p.grad is None for p in backbone.model.parameters())


def test_model__dropout_cannot_wake(family, pair_of):
    model, tokenizer = pair_of(family)
    if family == "llama":
        for module in model.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.5
    ids = ids_of(tokenizer)
    expected = output(model, ids)
    model.train()
    assert not torch.equal(output(model, ids), expected), "the model has dropout"
    backbone = load_backbone(resolve_backbone((model, tokenizer)))
    backbone.model.train()
    assert torch.equal(output(backbone.model, ids), expected)
    rates = {0.5} if family == "llama" else {0.1}
    assert rates <= set(backbone.dropout_rates.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_model__every_parameter_and_buffer_has_the_type(family, dtype, backbone_of):
    model = backbone_of(family, dtype=dtype).model
    floating = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    assert {t.dtype for t in floating} == {dtype}
    assert output(model, torch.tensor([[5, 6, 7]])).dtype == dtype


def test_model__sizes_are_told(family, pair_of):
    backbone = load_backbone(resolve_backbone(pair_of(family)))
    assert backbone.hidden_size == 16
    assert backbone.max_positions == 128
    assert (backbone.name, backbone.source) == (type(backbone.model).__name__, "pair")


def test_max_positions__are_all_usable_and_not_one_more(family, backbone_of):
    backbone = backbone_of(family)
    ids = torch.full((1, backbone.max_positions), 7)
    assert output(backbone.model, ids).isfinite().all()
    if family not in (
        "llama",
        "deberta-v2",
    ):  # their positions are relative: no table to run out of
        with pytest.raises((IndexError, RuntimeError)):
            output(backbone.model, torch.full((1, backbone.max_positions + 1), 7))


def test_processor__pads_right_with_a_token_and_cuts_nothing(family, pair_of):
    model, tokenizer = pair_of(family)
    tokenizer.padding_side = "left"
    tokenizer.model_max_length = 4
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    processor = load_backbone(resolve_backbone((model, tokenizer))).processor
    assert processor.backend_tokenizer.truncation is None
    assert processor.backend_tokenizer.padding is None
    batch = processor(["a", "a film " * 100], padding=True)
    assert batch["attention_mask"][0][0] == 1
    assert batch["attention_mask"][0][-1] == 0
    assert sum(batch["attention_mask"][1]) >= 200


def test_processor__without_any_token_to_pad_with_is_refused(pair_of):
    model, tokenizer = pair_of("gpt2")
    tokenizer.eos_token = None
    tokenizer.unk_token = None
    with pytest.raises(ValueError, match=r"tokenizer.pad_token = '...'"):
        load_backbone(resolve_backbone((model, tokenizer)))


def test_head__of_a_pair_is_left_behind(pair_of):
    from transformers import BertForSequenceClassification

    base, tokenizer = pair_of("bert")
    with torch.random.fork_rng(devices=[]):
        model = BertForSequenceClassification(base.config).eval()
    backbone = load_backbone(resolve_backbone((model, tokenizer)))
    assert type(backbone.model) is type(base)
    ids = ids_of(tokenizer)
    assert torch.equal(output(backbone.model, ids), output(model.bert, ids))


def test_folder__round_trip_gives_the_same_ids_and_outputs(family, pair_of, tmp_path):
    model, tokenizer = pair_of(family)
    backbone = load_backbone(resolve_backbone(save((model, tokenizer), tmp_path)))
    ids = ids_of(tokenizer)
    assert torch.equal(ids_of(backbone.processor), ids)
    assert torch.equal(output(backbone.model, ids), output(model, ids))
    assert backbone.source == "folder"
    assert backbone.max_positions == 128


def test_folder__with_a_head_and_no_pooler_gives_the_base_model(pair_of, tmp_path, capfd):
    from transformers import BertForMaskedLM

    base, tokenizer = pair_of("bert")
    with torch.random.fork_rng(devices=[]):
        model = BertForMaskedLM(base.config).eval()
    save((model, tokenizer), tmp_path)
    capfd.readouterr()
    before = torch.random.get_rng_state()
    backbone = load_backbone(resolve_backbone(tmp_path))
    assert torch.equal(torch.random.get_rng_state(), before), "the missing pooler is drawn aside"
    assert capfd.readouterr() == ("", "")
    ids = ids_of(tokenizer)
    torch.testing.assert_close(output(backbone.model, ids), output(model.bert, ids))
    assert backbone.model.pooler is None


def test_folder__loading_restores_transformers_logging(pair_of, tmp_path):
    from transformers.utils import logging

    save(pair_of("bert"), tmp_path)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_backbone(resolve_backbone(tmp_path))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_folder__its_weights_are_in_memory_once_and_its_modules_are_not_shared(pair_of, tmp_path):
    save(pair_of("bert"), tmp_path)
    first, second = (load_backbone(resolve_backbone(tmp_path)) for _ in range(2))
    for twin in (second, first.twin()):
        assert not set(twin.model.modules()) & set(first.model.modules())
        pairs = list(zip(twin.model.parameters(), first.model.parameters(), strict=True))
        assert all(p is not q and p.data_ptr() == q.data_ptr() for p, q in pairs)
    expected = {k: v.clone() for k, v in second.model.state_dict().items()}
    first.model.to(torch.float64).requires_grad_(True)  # as a move to another device
    first.model.embeddings = torch.nn.Identity()
    first.processor.add_tokens(["zebra"])
    third = load_backbone(resolve_backbone(tmp_path))
    for backbone in (second, third):
        state = backbone.model.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[k], expected[k]) for k in expected)
        assert not any(p.requires_grad for p in backbone.model.parameters())
        assert "zebra" not in backbone.processor.get_vocab()


def test_folder__is_read_once_until_its_files_change(pair_of, tmp_path, monkeypatch):
    pair = pair_of("bert")
    save(pair, tmp_path)
    reads = []
    read = transformers.BertModel.from_pretrained

    def counted(folder, **options):
        reads.append(folder)
        return read(folder, **options)

    monkeypatch.setattr(transformers.BertModel, "from_pretrained", counted)
    name = "encoder.layer.0.output.dense.bias"
    before = load_backbone(resolve_backbone(tmp_path)).model.state_dict()[name]
    load_backbone(resolve_backbone(tmp_path), dtype=torch.float64)
    assert len(reads) == 1
    with torch.no_grad():
        pair[0].get_parameter(name).add_(1)
    save(pair, tmp_path)
    stat = (tmp_path / "model.safetensors").stat()
    os.utime(tmp_path / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    after = load_backbone(resolve_backbone(tmp_path)).model.state_dict()[name]
    assert len(reads) == 2
    torch.testing.assert_close(after, before + 1)


def test_folder__its_file_may_be_written_over_while_the_weights_are_used(pair_of, tmp_path):
    backbone = load_backbone(resolve_backbone(save(pair_of("bert"), tmp_path)))
    expected = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    size = (tmp_path / "model.safetensors").stat().st_size
    with open(tmp_path / "model.safetensors", "r+b") as file:
        file.write(bytes(size))
    state = backbone.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_folder__weights_of_another_model_are_refused(pair_of, tmp_path):
    from safetensors.torch import load_file, save_file

    save(pair_of("bert"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 parameters are missing, such as encoder.layer.1.out"):
        load_backbone(resolve_backbone(tmp_path))


def test_folder__weights_that_are_no_weights_name_the_folder(pair_of, tmp_path):
    save(pair_of("bert"), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=f"backbone in {tmp_path} cannot be loaded"):
        load_backbone(resolve_backbone(tmp_path))


def test_folder__configuration_of_another_size_names_the_folder(pair_of, tmp_path):
    save(pair_of("bert"), tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('_size": 32', '_size": 48'))
    with pytest.raises(ValueError, match=f"backbone in {tmp_path} cannot be loaded"):
        load_backbone(resolve_backbone(tmp_path))


def test_load__global_random_state_stays(family, pair_of, tmp_path):
    save(pair_of(family), tmp_path)
    before = torch.random.get_rng_state()
    load_backbone(resolve_backbone(tmp_path))
    load_backbone(resolve_backbone(pair_of(family)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_backbone__pickles_and_copies(family, backbone_of):
    backbone = backbone_of(family)
    ids = ids_of(backbone.processor)
    expected = output(backbone.model, ids)
    for twin in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert torch.equal(output(twin.model, ids_of(twin.processor)), expected)
        assert (twin.pooling, twin.max_positions) == (backbone.pooling, 128)


def test_load__nothing_to_load_is_refused():
    with pytest.raises(ValueError, match="resolve_backbone"):
        load_backbone(ResolvedBackbone("x", "folder"))


def test_max_positions__of_a_plan_are_those_of_the_loaded_model(family, tmp_path):
    for part in make_tiny_backbone(family, max_positions=48):
        part.save_pretrained(tmp_path)
    resolved = resolve_backbone(str(tmp_path))
    assert plan_adaptation(resolved).max_positions == load_backbone(resolved).max_positions

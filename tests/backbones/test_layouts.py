"""What a folder is: honoured, or refused before training in one sentence that names the cure."""

import copy
import json

import numpy as np
import pytest
import torch
from transformers import BertModel

from sksve import Backbone
from sksve.backbones import load_backbone, make_tiny_backbone, resolve_backbone

MODEL, TOKENIZER = make_tiny_backbone("bert")


@pytest.fixture
def folder(tmp_path):
    MODEL.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    return tmp_path


def write(folder, name, content):
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def load(source, **options):
    return load_backbone(resolve_backbone(Backbone(source, **options)))


def sentence_transformers(folder, *kinds, pooling=None):
    modules = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, kind in enumerate(kinds, start=1):
        path = f"{i}_{kind}"
        modules.append({"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"})
    write(folder, "modules.json", modules)
    if pooling:
        write(folder, "1_Pooling/config.json", pooling)


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [("mean_tokens", "mean"), ("cls_token", "cls"), ("lasttoken", "last")],
)
def test_sentence_transformers__pooling_is_honoured(mode, pooling, folder):
    sentence_transformers(folder, "Pooling", "Normalize", pooling={f"pooling_mode_{mode}": True})
    assert load(folder).pooling == pooling


@pytest.mark.parametrize(
    "modes",
    [
        ["max_tokens"],
        ["mean_sqrt_len_tokens"],
        ["weightedmean_tokens"],
        ["mean_tokens", "cls_token"],
    ],
)
def test_sentence_transformers__other_pooling_is_refused(modes, folder):
    sentence_transformers(folder, "Pooling", pooling={f"pooling_mode_{m}": True for m in modes})
    with pytest.raises(ValueError, match=r"which sksve does not have. Choose .* pooling='mean'"):
        load(folder)
    assert load(folder, pooling="mean").pooling == "mean"


@pytest.mark.parametrize(
    "kind", ["Dense", "LayerNorm", "CNN", "LSTM", "Router", "WeightedLayerPooling"]
)
def test_sentence_transformers__other_layers_are_refused(kind, folder):
    sentence_transformers(folder, "Pooling", kind, pooling={"pooling_mode_mean_tokens": True})
    with pytest.raises(ValueError, match=f"asks for a layer {kind} that sksve does not have"):
        load(folder)
    assert load(folder, pooling="cls").pooling == "cls"


def test_sentence_transformers__default_prompt_is_refused_with_the_prompt(folder):
    sentence_transformers(folder, "Pooling", pooling={"pooling_mode_cls_token": True})
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    write(folder, "config_sentence_transformers.json", prompts)
    with pytest.raises(ValueError, match=r"asks for 'query: ' before each text.*pooling='cls'"):
        load(folder)
    assert load(folder, pooling="cls").pooling == "cls"
    write(folder, "config_sentence_transformers.json", prompts | {"default_prompt_name": None})
    assert load(folder).pooling == "cls"


def test_sentence_transformers__lower_case_is_honoured(folder):
    before = load(folder).processor("GOOD film")["input_ids"]
    write(folder, "sentence_bert_config.json", {"do_lower_case": True, "max_seq_length": 9})
    processor = load(folder).processor
    assert processor("GOOD film")["input_ids"] == processor("good film")["input_ids"] != before


def test_tokenizer__missing_is_refused(tmp_path):
    MODEL.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has a model and no tokenizer. Save the one"):
        load(tmp_path)


def test_image_processor__missing_is_refused(tmp_path):
    make_tiny_backbone("vit")[0].save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has a model and no image processor. Save the one"):
        load(tmp_path)


@pytest.mark.parametrize("pair", [True, False])
def test_tokenizer__larger_than_the_embedding_is_refused(pair, tmp_path):
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.add_tokens(["zebra", "giraffe"])
    MODEL.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"If tokens were added, resize the model"):
        load((MODEL, tokenizer) if pair else tmp_path)
    model = copy.deepcopy(MODEL)
    with torch.random.fork_rng(devices=[]):
        model.resize_token_embeddings(len(tokenizer))
    assert load((model, tokenizer)).hidden_size == 16


def test_tokenizer__smaller_than_the_embedding_is_refused():
    tokenizer = make_tiny_backbone("bert", vocab=["a"])[1]
    model = make_tiny_backbone("bert", vocab=[f"word{i}" for i in range(99)])[0]
    with pytest.raises(ValueError, match="Give the tokenizer that the model was trained with"):
        load((model, tokenizer))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_tokenizer__a_pad_token_without_a_row_is_replaced(family):
    model, tokenizer = make_tiny_backbone(family)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<new pad>"})
    backbone = load((model, tokenizer))
    batch = backbone.processor(["a", "the good film"], padding=True, return_tensors="pt")
    assert batch["input_ids"].max() < model.config.vocab_size
    assert batch["attention_mask"][0].min() == 0


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "tf_model.h5", "flax_model.msgpack"],
)
def test_weights__of_other_formats_are_named_with_the_conversion(name, folder):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ValueError, match=r"has weights as .* Convert it where you trust it"):
        load(folder)


def test_lora__is_named_with_the_merge(tmp_path):
    write(tmp_path, "adapter_config.json", {"peft_type": "LORA"})
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds an adapter .*merge_and_unload"):
        load(tmp_path)


def test_trainer__its_folder_is_named_with_the_last_checkpoint(tmp_path):
    for step in (9, 10):
        MODEL.save_pretrained(tmp_path / f"checkpoint-{step}")
    with pytest.raises(ValueError, match=r"output folder of a Trainer.*checkpoint-10'"):
        load(tmp_path)


def test_old_sentence_transformers__is_named_with_the_inner_folder(tmp_path):
    inner = tmp_path / "0_Transformer"
    MODEL.save_pretrained(inner)
    TOKENIZER.save_pretrained(inner)
    write(tmp_path, "modules.json", [{"path": "0_Transformer", "type": "x.Transformer"}])
    with pytest.raises(ValueError, match=r"0_Transformer', pooling='mean'"):
        load(tmp_path)
    assert load(inner, pooling="mean").hidden_size == 16


def test_shards__are_read(tmp_path):
    MODEL.save_pretrained(tmp_path, max_shard_size="5KB")
    TOKENIZER.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load(tmp_path).hidden_size == 16


@pytest.mark.parametrize("how", ["whole", "block"])
def test_compiled_modules__are_unwrapped(how):
    model = copy.deepcopy(MODEL)
    if how == "whole":
        model = torch.compile(model)
    else:
        model.encoder.layer[0] = torch.compile(model.encoder.layer[0])
    backbone = load((model, TOKENIZER))
    assert type(backbone.model) is BertModel
    assert not any(hasattr(m, "_orig_mod") for m in backbone.model.modules())


def test_encoder__the_class_that_architectures_names_is_loaded(tmp_path):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(TOKENIZER), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )
    with torch.random.fork_rng(devices=[]):
        model = T5EncoderModel(config).eval()
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    from sksve.preprocessing import BackboneFeatures

    texts = ["a good film", "bad"]
    one, two = (
        BackboneFeatures(source).fit_transform(texts)
        for source in (str(tmp_path), (model, TOKENIZER))
    )
    np.testing.assert_allclose(one, two, atol=1e-6)

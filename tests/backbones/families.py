"""Tiny random models of every family that transformers has, built from its own list of models.

A new release of transformers is checked by running ``tests/backbones/test_families.py`` (slow), or

    PYTHONPATH=. python tests/backbones/families.py [NAME] ...

which prints a line for each family: works, refused (with the sentence), wrong or crashed.
"""

import copy
import inspect
import logging
import sys
import warnings

import numpy as np
import torch

# Sizes by the names that configurations give them; a name that a configuration lacks is left out.
_NAMES = {
    16: "hidden_size d_model n_embd dim emb_dim embed_dim embedding_size",
    3: "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers",
    2: "num_attention_heads n_head n_heads num_heads num_key_value_heads encoder_attention_heads "
    "decoder_attention_heads type_vocab_size num_experts_per_tok eos_token_id sep_token_id",
    32: "intermediate_size d_ff ffn_dim n_inner d_inner hidden_dim encoder_ffn_dim decoder_ffn_dim "
    "moe_intermediate_size shared_expert_intermediate_size image_size",
    130: "max_position_embeddings n_positions",
    8: "head_dim d_kv d_head patch_size state_size",
    4: "num_experts num_local_experts n_routed_experts conv_kernel time_step_rank attention_window",
    0: "pad_token_id",
    1: "bos_token_id",
}
SIZES = {name: size for size, names in _NAMES.items() for name in names.split()}

_DEEPSEEK = {
    "n_group": 1, "topk_group": 1, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "kv_lora_rank": 8, "q_lora_rank": 8, "head_dim": 8,
}  # fmt: skip

# What a family needs beside the common sizes.
SPECIAL = {
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
    "vit_mae": {"mask_ratio": 0.75},
    "swin": {"depths": [1, 2], "num_heads": [2, 2], "patch_size": 2, "window_size": 4},
    "swinv2": {"depths": [1, 2], "num_heads": [2, 2], "patch_size": 2, "window_size": 4},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "funnel": {"block_sizes": [2, 2], "d_inner": 32, "num_decoder_layers": 1},
    "mobilebert": {"intra_bottleneck_size": 16, "embedding_size": 16, "true_hidden_size": 16},
    "opt": {"word_embed_proj_dim": 8},
    "albert": {"embedding_size": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "mamba2": {"num_heads": 4, "head_dim": 8, "n_groups": 1, "expand": 2},
    "bloom": {"hidden_size": 16, "n_layer": 3},
    "xlnet": {"d_inner": 32, "d_head": 8},
    "reformer": {"axial_pos_embds_dim": [8, 8], "axial_pos_shape": [10, 13], "attn_layers": ["local"] * 2,
                 "attention_head_size": 8, "feed_forward_size": 32},
    "big_bird": {"attention_type": "original_full"},
    "openai-gpt": {"n_positions": 130},
    "codegen": {"n_head": 4, "rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "layoutlmv3": {"visual_embed": False},
    "falcon_mamba": {"time_step_rank": 4},
    "ctrl": {"dff": 32},
    "gpt_neox": {"rotary_pct": 0.5},
    **{name: dict(_DEEPSEEK) for name in ("deepseek_v2", "deepseek_v3")},
    "bamba": {"mamba_n_heads": 2, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8},
    "jamba": {"mamba_dt_rank": 4, "mamba_d_state": 8, "attn_layer_offset": 1, "attn_layer_period": 2},
    "convnext": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 16]},
    "resnet": {"depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8},
}  # fmt: skip


def build(model_type, seed=0):
    """Make a tiny random model of a family, with its tokenizer or image processor."""
    from transformers import AutoConfig

    from sksve.backbones import make_tiny_backbone
    from sksve.backbones._resolve import model_class

    defaults = AutoConfig.for_model(model_type)
    tokenizer = make_tiny_backbone("bert")[1]
    sizes = {
        k: v
        for k, v in {**SIZES, "vocab_size": len(tokenizer) + 4}.items()
        if k in settable(defaults)
    }
    special = SPECIAL.get(model_type, {})
    sizes = {k: v for k, v in sizes.items() if type(defaults).attribute_map.get(k) not in special}
    if isinstance(getattr(defaults, "attention_window", None), list):
        sizes["attention_window"] = [4] * 3
    config = AutoConfig.for_model(model_type, **{**sizes, **SPECIAL.get(model_type, {})})
    kind = model_class(config)
    with torch.device("meta"):
        n = sum(p.numel() for p in kind._from_config(copy.deepcopy(config)).parameters())
    if n > 3e6:
        raise NotImplementedError(f"no tiny configuration: {n:,} parameters")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = kind._from_config(config).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.ndim == 1:
                    p.add_(0.1 * torch.randn_like(p))
                elif p.ndim == 2 and "embed" not in name:
                    p.copy_(torch.randn_like(p) / p.shape[1] ** 0.5)
    if getattr(model, "main_input_name", "") == "pixel_values":
        return model, make_tiny_backbone("vit", image_size=32)[1]
    return model, tokenizer


def settable(config):
    """Names of a configuration's settings, properties left out."""
    kind = type(config)
    computed = {name for name, value in inspect.getmembers(kind) if isinstance(value, property)}
    return {*vars(config), *kind.attribute_map} - computed


# Families whose own code is not fit for float64.
SINGLE = ("longformer", "canine", "mra")

TEXTS = ["the good film", "a", "very bad and dull, and too long a story", "best movie"]


def inputs_of(model, processor):
    """Rows as the estimators take them."""
    if getattr(model, "main_input_name", "") == "pixel_values":
        return list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    return TEXTS


def vectors(model, processor, row, pooling):
    """Pooled vector of one row by the plain model."""
    from sksve.backbones import pool_tokens

    accepted = inspect.signature(model.forward).parameters
    if isinstance(row, str):
        least = getattr(model.config, "downsampling_rate", 1)  # canine takes no fewer tokens
        batch = processor([row], return_tensors="pt", padding="max_length", max_length=least)
        mask = batch["attention_mask"]
        named = {"input_ids": batch["input_ids"]}
        named |= {"attention_mask": mask} if "attention_mask" in accepted else {}
        named |= {"use_cache": False} if "use_cache" in accepted else {}
    else:
        pixels = processor([row], return_tensors="pt", input_data_format="channels_last")
        mask, named = (
            None,
            {"pixel_values": pixels["pixel_values"].to(next(model.parameters()).dtype)},
        )
    with torch.no_grad():
        hidden = model(**named).last_hidden_state
    return pool_tokens(hidden, mask, pooling)[0].numpy()


def check(model_type, folder=None):
    """Return the faults of a family: an empty list where every check passes."""
    from sksve import Backbone, SVEClassifier, Training
    from sksve.preprocessing import BackboneFeatures

    model, processor = build(model_type)
    X = inputs_of(model, processor)
    y = [0, 1, 1, 0]
    faults = []

    precision = "float32" if model_type in SINGLE else "float64"

    def close(what, a, b, atol=1e-7):
        atol = max(atol, 1e-4) if precision == "float32" else atol
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or not np.abs(a - b).max() <= atol:
            faults.append(f"{what} off by {np.abs(a - b).max() if a.shape == b.shape else 'shape'}")

    pair = (model, processor)
    features = BackboneFeatures(pair, precision=precision).fit(X)
    double = model.double() if precision == "float64" else model
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # the other has no float64
    pooling = features._split.pooling
    plain = np.stack([vectors(double, processor, row, pooling) for row in X])
    model.float()
    close("plain model, frozen", features.transform(X), plain)
    shared = {"n_members": 2, "max_epochs": 1, "batch_size": 4, "lr": 1e-2, "random_state": 0,
              "precision": precision, "weight_decay": 0.0}  # fmt: skip
    kinds = {
        "all blocks": {
            "rank": None,
            "core": "diagonal",
            "direction_pool": None,
            "adapt_blocks": None,
        },
        "last block": {"rank": 4, "core": "diagonal", "direction_pool": None, "adapt_blocks": 1},
        "full core": {"rank": 3, "core": "full", "direction_pool": 6, "adapt_blocks": None},
    }
    for kind, settings in kinds.items():
        training = Training(
            optimizer="adamw", head_lr=0.1, init_scale=0.3 if kind == "all blocks" else 0.0
        )
        clf = SVEClassifier(pair, training=training, **shared, **settings)
        clf.fit(X, y)
        together = clf.predict_proba_members(X)
        alone = np.concatenate([clf.predict_proba_members(X[i : i + 1]) for i in range(4)], axis=1)
        close(f"{kind}: row alone", alone, together)
        back = clf.predict_proba_members(X[::-1])[:, ::-1]
        close(f"{kind}: order", back, together)
        module = clf.net_.module_
        data, _ = clf._read(X)
        from sksve.training._inference import predict_logits, softmax64

        for merge in (True, False):
            close(
                f"{kind}: merge={merge}",
                softmax64(predict_logits(module, data, merge=merge)),
                together,
            )
        member = clf.to_torch(1)
        for i in range(4):
            batch, _ = data.collate(np.array([[i]]), None)
            with torch.no_grad():
                logits = member(batch.input_ids, batch.attention_mask)
            close(
                f"{kind}: to_torch",
                softmax64(logits.double().numpy()),
                together[1, i : i + 1],
                1e-6,
            )
        if kind == "full core" and folder is not None:
            clf.save_pretrained(folder / "saved")
            again = SVEClassifier.from_pretrained(folder / "saved", backbone=pair)
            close("save and load", again.predict_proba_members(X), together)
            for part in pair:
                part.save_pretrained(folder / "backbone")
            source = Backbone(str(folder / "backbone"))
            other = SVEClassifier(source, training=training, **shared, **settings).fit(X, y)
            # The library may load another tokenizer than was saved: it goes by the model's name.
            if (
                not isinstance(X[0], str)
                or other._tokenizer(X)["input_ids"] == processor(X)["input_ids"]
            ):
                close("folder", other.predict_proba_members(X), together, 1e-6)
            clf.to_transformers(0).save_pretrained(folder / "member")
    return faults


def families():
    """Names of transformers' families with a base model."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return sorted(MODEL_MAPPING_NAMES)


def verdict(model_type, folder):
    """One of works, refused, wrong, crashed, not built; and why."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        build(model_type)
    except Exception as error:
        return "not built", f"{type(error).__name__}: {str(error).splitlines()[-1:]!s:.100}"
    try:
        faults = check(model_type, folder)
    except ValueError as error:
        words = ("adapt", "backbone", "tokenizer", "configuration", "precision")
        refused = any(word in str(error) for word in words)
        return ("refused" if refused else "crashed"), f"{error!s:.300}"
    except Exception as error:
        return "crashed", f"{type(error).__name__}: {error!s:.300}"
    return ("wrong", "; ".join(faults)) if faults else ("works", "")


if __name__ == "__main__":
    import tempfile
    from collections import Counter
    from pathlib import Path

    wanted = sys.argv[1:]
    counts = Counter()
    for name in families():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as here:
            kind, why = verdict(name, Path(here))
        counts[kind] += 1
        print(f"{name}: {kind} {why}".replace("\n", " "), flush=True)
    print(dict(counts))

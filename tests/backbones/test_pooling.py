import json

import pytest
import torch

from sksve.backbones import (
    Backbone,
    load_backbone,
    make_tiny_backbone,
    pool_tokens,
    resolve_backbone,
)

POOLINGS = ("mean", "cls", "last")


def naive(hidden, mask, pooling):
    rows = []
    for vectors, allowed in zip(hidden, mask):
        tokens = [v for v, m in zip(vectors, allowed) if m]
        if not tokens:
            rows.append(torch.zeros(hidden.shape[-1], dtype=hidden.dtype))
        elif pooling == "mean":
            rows.append(sum(tokens) / len(tokens))
        else:
            rows.append(tokens[0] if pooling == "cls" else tokens[-1])
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pool__equals_a_naive_loop(pooling):
    hidden = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.tensor(
        [
            [1, 1, 1, 1, 1],
            [1, 1, 0, 0, 0],
            [1, 0, 0, 0, 0],
            [0] * 5,
            [0, 1, 1, 1, 0],
            [1, 0, 1, 0, 0],
        ]
    )
    expected = naive(hidden, mask, pooling)
    torch.testing.assert_close(pool_tokens(hidden, mask, pooling), expected, rtol=0, atol=1e-15)
    assert torch.equal(
        pool_tokens(hidden, mask.bool(), pooling), pool_tokens(hidden, mask, pooling)
    )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pool__nan_in_padding_does_not_reach_value_or_gradient(pooling):
    hidden = torch.ones(2, 3, 2)
    hidden[0, 2] = float("nan")
    hidden[1] = float("nan")
    hidden.requires_grad_(True)
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    pooled = pool_tokens(hidden, mask, pooling)
    assert torch.equal(pooled, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    pooled.sum().backward()
    assert hidden.grad.isfinite().all()
    assert (hidden.grad[0, 2] == 0).all()
    assert (hidden.grad[1] == 0).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pool__no_mask_means_no_padding(pooling):
    hidden = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    everything = torch.ones(2, 3, dtype=torch.long)
    assert torch.equal(pool_tokens(hidden, None, pooling), pool_tokens(hidden, everything, pooling))


def test_pool__mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\). Got shape \(2, 4\)"):
        pool_tokens(torch.zeros(2, 3, 1), torch.ones(2, 4), "mean")


@pytest.mark.parametrize("wrong", ["max", "", "auto", None])
def test_pool__unknown_pooling_is_refused(wrong):
    with pytest.raises(ValueError, match=r"'pooling' .* one of \['mean', 'cls', 'last'\]. Got"):
        pool_tokens(torch.zeros(1, 1, 1), None, wrong)


def pooling_of(source, pooling="auto"):
    return load_backbone(resolve_backbone(Backbone(source, pooling=pooling))).pooling


def test_auto__last_for_decoders_else_mean(family, pair_of):
    expected = "last" if family in ("gpt2", "llama") else "mean"
    assert pooling_of(pair_of(family, n_blocks=1)) == expected
    assert pooling_of(pair_of(family, n_blocks=1), "cls") == "cls"


def test_auto__bert_as_decoder_takes_the_last_token(pair_of):
    model, tokenizer = pair_of("bert")
    model.config.is_decoder = True
    assert pooling_of((model, tokenizer)) == "last"


def test_auto__class_token_for_vision():
    assert pooling_of(make_tiny_backbone("vit")) == "cls"


def sentence_transformers_files(folder, settings, kind="sentence_transformers.models.Pooling"):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


@pytest.fixture
def decoder(tmp_path, pair_of):
    """A folder with GPT-2, whose own pooling is "last"."""
    for part in pair_of("gpt2", n_blocks=1):
        part.save_pretrained(tmp_path)
    return tmp_path


MODES = [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
    ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
    ({"pooling_mode": "cls", "word_embedding_dimension": 16}, "cls"),
    ({"pooling_mode": "lasttoken"}, "last"),
]


@pytest.mark.parametrize(("settings", "expected"), MODES)
def test_auto__reads_sentence_transformers_files(settings, expected, decoder):
    sentence_transformers_files(decoder, settings)
    assert pooling_of(decoder) == expected
    assert load_backbone(resolve_backbone(decoder), pooling="mean").pooling == "mean"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls_token \+ mean"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"word_embedding_dimension": 3}, "none"),
    ],
)
def test_auto__pooling_sksve_lacks_is_refused_with_the_cure(settings, words, decoder):
    sentence_transformers_files(decoder, settings)
    with pytest.raises(ValueError, match=rf"asks for the pooling {words}.*pooling='mean'"):
        pooling_of(decoder)
    assert pooling_of(decoder, "last") == "last"


def test_auto__folder_without_a_pooling_module_follows_the_family(decoder):
    assert pooling_of(decoder) == "last"
    sentence_transformers_files(decoder, {}, kind="sentence_transformers.models.Normalize")
    assert pooling_of(decoder) == "last"

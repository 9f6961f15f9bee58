import json

import pytest
import torch

from sksve.backbones import POOLINGS, load_backbone, pool_tokens, resolve_backbone, resolve_pooling


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


def test_auto__last_for_decoders_else_mean(family, pair_of):
    config = pair_of(family)[0].config
    expected = "last" if family in ("gpt2", "llama") else "mean"
    assert resolve_pooling("auto", folder=None, config=config) == expected
    assert resolve_pooling("cls", folder=None, config=config) == "cls"


def test_auto__bert_as_decoder_takes_the_last_token(pair_of):
    config = pair_of("bert")[0].config
    config.is_decoder = True
    assert resolve_pooling("auto", folder=None, config=config) == "last"


def test_auto__class_token_for_vision():
    from transformers import ViTConfig

    assert resolve_pooling("auto", folder=None, config=ViTConfig()) == "cls"


def sentence_transformers_files(folder, settings, kind="sentence_transformers.models.Pooling"):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


MODES = [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
    ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
    ({"pooling_mode": "cls", "word_embedding_dimension": 16}, "cls"),
    ({"pooling_mode": "lasttoken"}, "last"),
]


@pytest.mark.parametrize(("settings", "expected"), MODES)
def test_auto__reads_sentence_transformers_files(settings, expected, tmp_path, pair_of):
    sentence_transformers_files(tmp_path, settings)
    config = pair_of("gpt2")[0].config
    assert resolve_pooling("auto", folder=tmp_path, config=config) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls_token \+ mean"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"word_embedding_dimension": 3}, "none"),
    ],
)
def test_auto__pooling_sksve_lacks_is_refused_with_the_cure(settings, words, tmp_path, pair_of):
    sentence_transformers_files(tmp_path, settings)
    config = pair_of("bert")[0].config
    with pytest.raises(ValueError, match=rf"asks for the pooling {words}.*pooling='mean'"):
        resolve_pooling("auto", folder=tmp_path, config=config)
    assert resolve_pooling("last", folder=tmp_path, config=config) == "last"


def test_auto__folder_without_a_pooling_module_follows_the_family(tmp_path, pair_of):
    config = pair_of("gpt2")[0].config
    assert resolve_pooling("auto", folder=tmp_path, config=config) == "last"
    sentence_transformers_files(tmp_path, {}, kind="sentence_transformers.models.Normalize")
    assert resolve_pooling("auto", folder=tmp_path, config=config) == "last"


def test_load__takes_the_pooling_of_the_folder(tmp_path, pair_of):
    model, tokenizer = pair_of("bert", n_blocks=1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    sentence_transformers_files(tmp_path, {"pooling_mode_cls_token": True})
    assert load_backbone(resolve_backbone(tmp_path)).pooling == "cls"
    assert load_backbone(resolve_backbone(tmp_path), pooling="mean").pooling == "mean"

import random
import string

import numpy as np
import pytest
import torch

from sksve.backbones import make_tiny_backbone

ENCODERS = ("bert", "roberta", "distilbert", "mpnet", "electra", "deberta-v2")


def test_tokenizer__every_printable_character_has_its_own_token(family, pair_of):
    tokenizer = pair_of(family)[1]
    characters = [c for c in string.printable if not c.isspace()]
    ids = [tokenizer.encode(c, add_special_tokens=False) for c in characters]
    assert all(len(i) == 1 for i in ids)
    assert len({i[0] for i in ids} - {tokenizer.unk_token_id}) == len(characters) == 94


def test_tokenizer__unknown_word_becomes_characters_and_known_word_stays(pair_of):
    tokenizer = pair_of("bert")[1]
    assert tokenizer.tokenize("the x0: -3.5é") == ["the", "x", "##0", ":", "-", "3", ".", "[UNK]"]


def test_tokenizer__encoders_frame_a_text_and_decoders_do_not(family, pair_of):
    tokenizer = pair_of(family)[1]
    ids = tokenizer("a film")["input_ids"]
    inner = tokenizer.convert_tokens_to_ids(["a", "film"])
    if family in ENCODERS:
        assert ids == [tokenizer.cls_token_id, *inner, tokenizer.sep_token_id]
        assert tokenizer.pad_token_id is not None
    else:
        assert ids == inner
        assert tokenizer.pad_token is None
        assert tokenizer.eos_token_id is not None


def test_tokenizer__ids_fit_the_model(family, pair_of):
    model, tokenizer = pair_of(family)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_tokenizer__roberta_pads_with_the_id_its_positions_are_counted_from(pair_of):
    for family in ("roberta", "mpnet"):
        model, tokenizer = pair_of(family)
        assert tokenizer.pad_token_id == model.embeddings.padding_idx == 1


def test_tokenizer__own_vocabulary_gives_whole_words():
    tokenizer = make_tiny_backbone("bert", vocab=["zebra"])[1]
    assert tokenizer.tokenize("zebra the") == ["zebra", "t", "##h", "##e"]


def test_model__same_seed_same_weights_other_seed_other_weights():
    first, again, other = (make_tiny_backbone("bert", random_state=s)[0] for s in (3, 3, 4))
    states = [m.state_dict() for m in (first, again, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(states[0][name], states[2][name])


def test_model__sizes_are_those_asked_for(family):
    model, _ = make_tiny_backbone(
        family, hidden_size=24, n_blocks=1, n_heads=3, intermediate_size=40, max_positions=20
    )
    assert model.config.hidden_size == 24
    assert model.config.num_hidden_layers == 1
    shapes = {tuple(p.shape) for p in model.parameters()}
    assert {(24, 40), (40, 24)} & shapes


def test_model__different_texts_give_clearly_different_vectors(family, backbone_of):
    backbone = backbone_of(family)
    rows = [backbone.processor(t, return_tensors="pt") for t in ("good film", "poor story")]
    with torch.no_grad():
        a, b = (backbone.model(**r).last_hidden_state.mean(1) for r in rows)
    assert (a - b).abs().max() > 0.1


def numpys_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002  (the global state is the subject)


def test_make__global_random_state_stays(family):
    before = (torch.random.get_rng_state(), numpys_state(), random.getstate())
    make_tiny_backbone(family, n_blocks=1, random_state=5)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert numpys_state() == before[1]
    assert random.getstate() == before[2]


def test_make__dtype_reaches_every_parameter_and_buffer(family):
    model, _ = make_tiny_backbone(family, n_blocks=1, dtype=torch.float64)
    floating = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    assert {t.dtype for t in floating} == {torch.float64}


def test_make__unknown_family_lists_the_families():
    with pytest.raises(ValueError, match=r"'family' .* one of \['bert'.*'dinov2'\]. Got 't5'"):
        make_tiny_backbone("t5")


def test_make__indivisible_heads_are_refused():
    with pytest.raises(ValueError, match="hidden_size=16 and n_heads=3"):
        make_tiny_backbone("bert", n_heads=3)

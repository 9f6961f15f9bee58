"""Every check of ``families.py`` for one family of each kind of behaviour (slow)."""

import pytest

from tests.backbones.families import families, verdict

# What the probe must see in each: turns, no cut, leaks of padding, writes in place, other widths, experts.
WORK = (
    "albert bert beit convbert data2vec-vision deberta deberta-v2 dinov3_vit electra exaone_moe falcon gpt2 "
    "llama longformer modernbert opt qwen3 siglip_vision_model swinv2 vit xlnet xmod"
).split()
REFUSED = "bart resnet t5 vit_mae audio-spectrogram-transformer".split()


@pytest.mark.slow
@pytest.mark.parametrize("family", WORK)
def test_family__works_in_every_check(family, tmp_path):
    if family not in families():
        pytest.skip("this release of transformers has none")
    assert verdict(family, tmp_path) == ("works", "")


@pytest.mark.slow
@pytest.mark.parametrize("family", REFUSED)
def test_family__is_refused_with_the_cure(family, tmp_path):
    kind, why = verdict(family, tmp_path)
    assert kind == "refused", why

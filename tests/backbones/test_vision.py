"""ViT and DINOv2: cut, adapted and resized, by value against the model's own forward pass."""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)

from sksve.adapters import SVDLinear, merged_member
from sksve.backbones import (
    Backbone,
    SplitBackbone,
    count_image_tokens,
    load_backbone,
    make_tiny_backbone,
    plan_adaptation,
    prove,
    resolve_backbone,
    swap_modules,
)
from tests.private import TINY_VISION_FAMILIES

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "mlp_ratio": 2,
    "image_size": 28, "patch_size": 7,
}  # fmt: skip


def randomised(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def model_of(kind):
    if kind in TINY_VISION_FAMILIES:
        return make_tiny_backbone(kind, n_blocks=3)[0]
    with torch.random.fork_rng(devices=[]):
        if kind == "registers":
            config = Dinov2WithRegistersConfig(num_register_tokens=3, **SIZES)
            return randomised(Dinov2WithRegistersModel(config))
        return randomised(Dinov2Model(Dinov2Config(use_swiglu_ffn=True, **SIZES)))


KINDS = [*TINY_VISION_FAMILIES, "swiglu", "registers"]
TOKENS = {"registers": 1 + 16 + 3}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def backbone(kind):
    processor = make_tiny_backbone("dinov2", n_blocks=1)[1]
    return load_backbone(resolve_backbone((model_of(kind), processor)), dtype=torch.float64)


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, 28, 28, generator=generator, dtype=torch.float64)


def last_hidden(model, pixels):
    with torch.no_grad():
        return model(pixel_values=pixels).last_hidden_state


@pytest.mark.parametrize("adapt_blocks", [0, 1, 2, 3])
def test_split__is_the_models_own_forward_and_needs_no_pixels(adapt_blocks, backbone, pixels):
    expected = last_hidden(backbone.model, pixels)
    split = SplitBackbone(backbone, plan_adaptation(backbone.model, adapt_blocks=adapt_blocks))
    assert (backbone.pooling, split.can_split) == ("cls", True)
    hidden = split.prefix(pixels, None)
    nothing = torch.zeros(4, 1, 1, 1, dtype=torch.float64)
    for given in (pixels, nothing) if adapt_blocks < 3 else (pixels,):
        got = split.suffix(hidden, given, None)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(split(pixels, None), expected[:, 0], rtol=0, atol=1e-12)
    assert split.plan.entry_suffices == (adapt_blocks < 3)


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("group", ["all-linear", "attention", "mlp"])
def test_members__at_zero_noise_are_the_model(group, rank, kind, backbone, pixels):
    expected = last_hidden(backbone.model, pixels)
    plan = plan_adaptation(backbone.model, target_modules=group, adapt_blocks=2)
    plan = prove(backbone, plan)
    assert plan.joint
    n_mlp = 3 if kind == "swiglu" else 2
    assert len(plan.targets) == 2 * {"all-linear": 4 + n_mlp, "attention": 4, "mlp": n_mlp}[group]
    layers = {
        name: SVDLinear.from_linear(backbone.model.get_submodule(name), 2, rank=rank)
        for name in plan.targets
    }
    swap_modules(backbone.model, layers)
    split = SplitBackbone(backbone, plan)
    hidden = split.prefix(pixels, None)
    got = split.suffix(hidden.repeat(2, 1, 1), pixels.repeat(2, 1, 1, 1), None)
    torch.testing.assert_close(got, expected.repeat(2, 1, 1), rtol=0, atol=1e-10)
    with merged_member(split, 1):
        merged = split.suffix(hidden, pixels, None)
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-10)
    for layer in layers.values():  # each layer moves its own member's rows, and no other's
        with torch.no_grad():
            layer.values[1] += 0.5
    moved = split.suffix(hidden.repeat(2, 1, 1), pixels.repeat(2, 1, 1, 1), None)
    torch.testing.assert_close(moved[:4], expected, rtol=0, atol=1e-10)
    assert (moved[4:] - expected).abs().max() > 1e-2


def test_count_image_tokens__is_what_the_blocks_get(kind, backbone, pixels):
    plan = plan_adaptation(backbone.model)
    found = count_image_tokens(backbone.model, plan.blocks, (3, 28, 28))
    assert found == TOKENS.get(kind, 17) == last_hidden(backbone.model, pixels).shape[1]
    assert count_image_tokens(backbone.model, plan.blocks, (3, 14, 28)) == found - 8
    with pytest.raises(ValueError, match=r"does not take images of \(1, 28, 28\)"):
        count_image_tokens(backbone.model, plan.blocks, (1, 28, 28))


@pytest.mark.parametrize("family", TINY_VISION_FAMILIES)
def test_tiny__is_planned_without_weights_and_survives_a_folder(family, tmp_path, pixels):
    model, processor = make_tiny_backbone(family, n_blocks=2, dtype=torch.float64)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    resolved = resolve_backbone(tmp_path)
    plan = plan_adaptation(resolved, adapt_blocks=1)
    assert plan.targets == plan_adaptation(model, adapt_blocks=1).targets
    assert plan.max_positions is None
    loaded = load_backbone(resolved, dtype=torch.float64)
    torch.testing.assert_close(last_hidden(loaded.model, pixels), last_hidden(model, pixels))
    image = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3)
    values = [p([image])["pixel_values"][0] for p in (processor, loaded.processor)]
    np.testing.assert_array_equal(*values)
    assert values[0].shape == (3, 28, 28)


def test_tiny__different_images_give_different_vectors(pixels):
    for family in TINY_VISION_FAMILIES:
        vectors = last_hidden(make_tiny_backbone(family, dtype=torch.float64)[0], pixels)[:, 0]
        assert torch.pdist(vectors).min() > 0.05


def test_tiny__bad_size_is_refused():
    with pytest.raises(ValueError, match=r"multiple of 4. Got 30"):
        make_tiny_backbone("vit", image_size=30)


@pytest.mark.parametrize("family", TINY_VISION_FAMILIES)
def test_image_size__resizes_without_cropping(family, tmp_path):
    pair = make_tiny_backbone(family)
    before = copy.deepcopy(pair[1].to_dict())
    for part in pair:
        part.save_pretrained(tmp_path)
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    image[:, 20:] = 255
    for source in (pair, tmp_path):
        loaded = load_backbone(resolve_backbone(Backbone(source, image_size=14)))
        [values] = loaded.processor([image])["pixel_values"]
        assert values.shape == (3, 14, 14)
        np.testing.assert_allclose(values[:, :, :5], -1, atol=0.1)  # nothing was cut off
        np.testing.assert_allclose(values[:, :, -5:], 1, atol=0.1)
        blocks = plan_adaptation(loaded.model).blocks
        assert count_image_tokens(loaded.model, blocks, (3, 14, 14)) == 5
    assert pair[1].to_dict() == before


def test_image_size__names_what_is_wrong():
    def load(family, image_size):
        wanted = Backbone(make_tiny_backbone(family), image_size=image_size)
        load_backbone(resolve_backbone(wanted))

    with pytest.raises(ValueError, match=r"positive multiple of 7.*Got 15"):
        load("vit", 15)
    with pytest.raises(ValueError, match=r"needs a vision backbone.*BertModel"):
        load("bert", 14)


def test_load__refuses_a_pair_of_two_worlds():
    vision, language = make_tiny_backbone("vit"), make_tiny_backbone()
    with pytest.raises(ValueError, match="must be an image processor for ViTModel"):
        load_backbone(resolve_backbone((vision[0], language[1])))
    with pytest.raises(ValueError, match=r"must be a tokenizer for BertModel.*ViTImageProcessor"):
        load_backbone(resolve_backbone((language[0], vision[1])))

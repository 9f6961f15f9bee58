"""Images through the whole estimator: the same numbers as the model itself, in every form and order."""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.model_selection import GridSearchCV
from transformers import Dinov2Config, Dinov2Model

from sksve import SVEClassifier, predict_uncertainty
from sksve.backbones import make_tiny_backbone
from tests.making import new
from tests.private import TINY_VISION_FAMILIES, frozen, inference

SETTINGS = {"n_members": 2, "max_epochs": 1}


@pytest.fixture(scope="module")
def pictures():
    """Twelve colour images; those of the second class are bright above."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 90, (12, 30, 20, 3)).astype(np.uint8)
    X[1::2, :15] += 160
    return X


@pytest.fixture(scope="module")
def vit():
    return make_tiny_backbone("vit")


@pytest.fixture(scope="module")
def fitted_on_images(make, vit, pictures, labels):
    return make(vit, **SETTINGS).fit(pictures, labels)


@pytest.mark.parametrize("adapt_blocks", [1, None])
@pytest.mark.parametrize("family", TINY_VISION_FAMILIES)
def test__no_noise_no_training__is_the_backbone_itself(
    family, adapt_blocks, make, pictures, labels
):
    model, processor = make_tiny_backbone(family)
    clf = make(
        (model, processor), init_scale=0.0, lr=1e-300, head_lr=1e-300, adapt_blocks=adapt_blocks,
        **SETTINGS,
    ).fit(pictures, labels)  # fmt: skip
    pixels = processor(list(pictures), return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        vectors = model.double()(pixels["pixel_values"].double()).last_hidden_state[:, 0]
        head = clf.net_.module_.heads
        expected = torch.einsum("mcd,nd->mnc", head.weight, vectors).softmax(-1)
    found = clf.predict_proba_members(pictures)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", TINY_VISION_FAMILIES)
@pytest.mark.parametrize("group", ["all-linear", "attention", "mlp"])
def test__frozen_prefix__changes_nothing_but_the_time(family, group, make, pictures, labels):
    """The features of the prefix, kept or computed anew at each step, train the same members."""
    settings = {"adapt_blocks": 1, "target_modules": group, "n_members": 2}
    clf = make(make_tiny_backbone(family), **settings).fit(pictures, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "FEATURE_BYTES", 1)
        anew = make(make_tiny_backbone(family), **settings).fit(pictures, labels)
    members = clf.predict_proba_members(pictures)
    np.testing.assert_allclose(anew.predict_proba_members(pictures), members, rtol=0, atol=1e-10)
    assert np.abs(members[0] - members[1]).max() > 1e-4


def test__training__learns_from_images(make, pictures, labels):
    for family in TINY_VISION_FAMILIES:
        clf = make(make_tiny_backbone(family), max_epochs=15).fit(pictures, labels)
        assert clf.score(pictures, labels) == 1.0
        assert clf.history_[-1]["train_loss"].max() < 0.3


def save(array, folder, name):
    path = folder / name
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def forms(pictures, tmp_path):
    paths = [save(a, tmp_path, f"{i}.png") for i, a in enumerate(pictures)]
    return {
        "list-of-arrays": list(pictures),
        "pil": [Image.fromarray(a) for a in pictures],
        "paths": paths,
        "str-paths": [str(p) for p in paths],
        "str-array": np.array([str(p) for p in paths]),
        "str-series": pd.Series([str(p) for p in paths], index=range(50, 62)),
        "mixed": [*pictures[:6], *paths[6:]],
    }


FORMS = ["list-of-arrays", "pil", "paths", "str-paths", "str-array", "str-series", "mixed"]


@pytest.mark.parametrize("form", FORMS)
def test__fit_and_predict__are_the_same_for_every_form(
    form, forms, make, vit, fitted_on_images, pictures, labels
):
    clf = make(vit, **SETTINGS).fit(forms[form], labels, X_val=forms[form], y_val=labels)
    assert clf.input_kind_ == "image"
    assert not hasattr(clf, "n_features_in_")
    expected = fitted_on_images.predict_proba(pictures)
    np.testing.assert_allclose(clf.predict_proba(pictures), expected, rtol=0, atol=1e-12)
    assert "valid_loss" in clf.history_[0]
    np.testing.assert_array_equal(fitted_on_images.predict_proba(forms[form]), expected)


def test__grey_and_sizes__as_the_processor_has_it(fitted_on_images, pictures):
    grey = pictures[..., 0]
    as_colour = np.repeat(grey[..., None], 3, axis=3)
    expected = fitted_on_images.predict_proba(as_colour)
    np.testing.assert_array_equal(fitted_on_images.predict_proba(grey), expected)
    np.testing.assert_array_equal(fitted_on_images.predict_proba(grey[..., None]), expected)
    unequal = [grey[0], pictures[1, :17], pictures[2]]
    got = fitted_on_images.predict_proba(unequal)
    for row, image in enumerate(unequal):
        alone = fitted_on_images.predict_proba([image])[0]
        np.testing.assert_allclose(got[row], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("precision", "atol"), [("float64", 1e-9), ("float32", 1e-5)])
@pytest.mark.parametrize("adapt_blocks", [None, 1])
def test__order_and_batches__do_not_matter(
    precision, atol, adapt_blocks, make, vit, pictures, labels, monkeypatch
):
    clf = make(vit, **SETTINGS, precision=precision, adapt_blocks=adapt_blocks)
    clf.fit(pictures, labels)
    expected = clf.predict_proba(pictures)
    np.testing.assert_allclose(clf.predict_proba(pictures[::-1])[::-1], expected, rtol=0, atol=atol)
    np.testing.assert_allclose(clf.predict_proba(pictures[3:5]), expected[3:5], rtol=0, atol=atol)
    monkeypatch.setattr(frozen, "TOKENS_CPU", 50)  # batches of one and two images
    monkeypatch.setattr(inference, "TURN_BYTES", 20_000)  # and several groups of them
    np.testing.assert_allclose(clf.predict_proba(pictures), expected, rtol=0, atol=atol)


def test__predict__holds_few_pixels_at_once(make, vit, pictures, labels, monkeypatch):
    """With every block adapted, all members pass over a group of images before the next is decoded."""
    clf = make(vit, **SETTINGS).fit(pictures, labels)
    held = []
    groups_of = inference._groups

    def watched(*args):
        groups = groups_of(*args)
        held.extend(sum(len(rows) for rows in group) for group in groups)
        return groups

    monkeypatch.setattr(inference, "_groups", watched)
    monkeypatch.setattr(frozen, "TOKENS_CPU", 34)
    image = 3 * 28 * 28 * 8  # bytes of its pixels in float64
    monkeypatch.setattr(inference, "TURN_BYTES", 4 * image)
    clf.predict_proba(pictures)
    assert sum(held) == 12
    assert max(held) <= 4


def test__weights__zero_is_absence(make, vit, pictures, labels):
    weight = np.ones(12)
    weight[[2, 7]] = 0
    kept = weight > 0
    settings = SETTINGS | {"batch_size": 32, "max_epochs": 3}
    weighted = make(vit, **settings).fit(pictures, labels, sample_weight=weight)
    without = make(vit, **settings).fit(pictures[kept], np.array(labels)[kept])
    np.testing.assert_allclose(
        weighted.predict_proba(pictures), without.predict_proba(pictures), rtol=0, atol=1e-10
    )


def test__members__do_not_depend_on_n_jobs(make, vit, pictures, labels):
    settings = {"n_members": 3, "early_stopping": True, "validation_fraction": 0.2}
    one = make(vit, **settings).fit(pictures, labels)
    with joblib.parallel_config(backend="threading"):
        two = make(vit, **settings, n_jobs=2).fit(pictures, labels)
    np.testing.assert_allclose(
        one.predict_proba_members(pictures), two.predict_proba_members(pictures), atol=1e-9
    )


def test__warm_start__continues_with_paths(make, vit, forms, pictures, labels):
    once = make(vit, n_members=2, max_epochs=1).fit(forms["paths"], labels)
    grown = make(vit, n_members=1, max_epochs=1, warm_start=True).fit(forms["paths"], labels)
    grown.set_params(n_members=2).fit(forms["str-paths"], labels)
    np.testing.assert_allclose(
        grown.predict_proba_members(pictures), once.predict_proba_members(pictures), atol=1e-9
    )


def test__search__over_images(make, vit, pictures, labels):
    X = [Image.fromarray(a) for a in pictures]
    search = GridSearchCV(make(vit, **SETTINGS), {"rank": [1, None]}, cv=2, error_score="raise")
    found = predict_uncertainty(search.fit(X, labels), X)
    np.testing.assert_allclose(found.total, found.aleatoric + found.epistemic, atol=1e-12)
    assert (found.epistemic > 0).all()


def test__to_frame__has_the_index_of_the_images(fitted_on_images, pictures):
    series = pd.Series([Image.fromarray(a) for a in pictures[:3]], index=list("abc"), dtype=object)
    frame = fitted_on_images.predict_uncertainty(series).to_frame()
    assert frame.index.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("family", "X", "words"),
    [
        ("bert", np.zeros((2, 5, 5), dtype=np.uint8), "not a vision backbone"),
        ("bert", [Image.new("L", (5, 5))] * 2, "not a vision backbone"),
        ("vit", np.zeros((2, 5)), "'table', but 'ViTModel' is a vision backbone"),
        ("vit", [["a"], ["b"]], "'text_column', but 'ViTModel' is a vision backbone"),
        ("vit", ["a good film", "a bad film"], "Row 0 of X must be an image file.*str are paths"),
        ("vit", [Path("no.png")] * 2, "Row 0 of X must be an image file"),
        ("vit", np.zeros((2, 5, 5)), "uint8"),
        ("vit", np.zeros((2, 5, 5, 4), dtype=np.uint8), "transparency"),
    ],
    ids=["array", "pil", "table", "column", "texts", "path", "float", "alpha"],
)
def test__fit__refuses_what_the_backbone_cannot_read(family, X, words, make, no_loading):
    with pytest.raises(ValueError, match=words):
        make(make_tiny_backbone(family, n_blocks=1)).fit(X, [0, 1])


def test__predict__refuses_other_kinds(fitted_on_images, fitted, pictures, texts):
    with pytest.raises(ValueError, match=r"kind 'image'. Got 'table'"):
        fitted_on_images.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"kind 'text'. Got 'image'"):
        fitted.predict(pictures)
    with pytest.raises(ValueError, match="Row 0 of X must be an image file"):
        fitted_on_images.predict(texts)


def test__fit__refuses_a_size_the_model_cannot_take(make, pictures, labels):
    model, _ = make_tiny_backbone("vit")
    _, processor = make_tiny_backbone("vit")
    processor.size = {"shortest_edge": 28}
    with pytest.raises(ValueError, match="image_size="):
        make((model, processor), **SETTINGS).fit([*pictures[:11], pictures[0, :, :12]], labels)


@pytest.fixture(scope="module")
def fine():
    """A backbone of 56 pixels in 64 patches."""
    _, processor = make_tiny_backbone("dinov2", image_size=56)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=56,
        patch_size=7,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        return Dinov2Model(config).eval(), processor


@pytest.mark.parametrize(("side", "image_size"), [(20, 28), (30, 35), (50, None), (500, None)])
def test__image_size_auto__is_that_of_small_images(side, image_size, fine, labels, tmp_path):
    def images(side):
        shape = (12, side - 4, side, 3)
        return list(np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8))

    clf = new(SVEClassifier, fine, n_members=2, max_epochs=1, random_state=0, warm_start=True)
    clf.fit(images(side), labels)
    assert clf._reader.image_size == image_size
    tokens = 1 + ((image_size or 56) // 7) ** 2
    other = images(33)  # whatever is predicted, the size is that of fit
    assert clf._read(other)[0].lengths[0] == tokens
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path / "m"), backbone=fine)
    np.testing.assert_array_equal(again.predict_proba(other), clf.predict_proba(other))
    clf.set_params(n_members=3).fit(images(300), labels)
    assert clf._reader.image_size == image_size
    by_hand = new(SVEClassifier, fine, n_members=2, max_epochs=1, random_state=0, image_size=35)
    assert by_hand.fit(images(side), labels)._reader.image_size == 35

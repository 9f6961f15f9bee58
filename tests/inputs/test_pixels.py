"""Pixel values: exactly those of the backbone's own image processor, in any order, kept or not."""

import pickle

import numpy as np
import pytest
from transformers import BitImageProcessorPil, ViTImageProcessorPil

from sksve.inputs import ImageRows

SQUARE = {"height": 12, "width": 12}
PROCESSORS = {
    "vit": ViTImageProcessorPil(size=SQUARE),
    "bit": BitImageProcessorPil(size={"shortest_edge": 14}, crop_size=SQUARE),
    "no-normalise": ViTImageProcessorPil(size=SQUARE, do_normalize=False),
    "no-resize": ViTImageProcessorPil(do_resize=False),
}


@pytest.fixture
def images(rng):
    """Of unequal size, but for the last case."""
    return lambda equal: [
        rng.integers(0, 256, (12, 12, 3) if equal else (20 + i, 17, 3)).astype(np.uint8)
        for i in range(6)
    ]


@pytest.mark.parametrize("keep_bytes", [0, 10**6])
@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels__are_the_processors_own(name, keep_bytes, images):
    given = images(name == "no-resize")
    processor = PROCESSORS[name]
    expected = processor(given, return_tensors="np", input_data_format="channels_last")
    rows = ImageRows(given, processor, keep_bytes=keep_bytes)
    assert rows.shape == (3, 12, 12)
    for order in ([0], [3, 1, 3], range(6), [5, 0]):
        got = rows.pixels(list(order))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected["pixel_values"][list(order)], rtol=0, atol=1e-6)


def test_pixels__grey_is_colour_repeated(rng):
    grey = rng.integers(0, 256, (20, 15)).astype(np.uint8)
    rows = ImageRows([grey, np.repeat(grey[..., None], 3, axis=2)], PROCESSORS["vit"])
    np.testing.assert_array_equal(*rows.pixels([0, 1]))


def test_pixels__one_channel(rng):
    grey = rng.integers(0, 256, (20, 15)).astype(np.uint8)
    processor = ViTImageProcessorPil(size=SQUARE, image_mean=[0.5], image_std=[0.25])
    rows = ImageRows([grey], processor, n_channels=1)
    expected = processor([grey[..., None]], input_data_format="channels_last")["pixel_values"][0]
    np.testing.assert_allclose(rows.pixels([0])[0], expected, rtol=0, atol=1e-6)


class Counting(ViTImageProcessorPil):
    calls = 0

    def __call__(self, images, **settings):
        type(self).calls += len(images)
        return super().__call__(images, **settings)


@pytest.mark.parametrize(("keep_bytes", "more"), [(10**6, 0), (6 * 3 * 144 - 1, 4)])
def test_pixels__are_kept_if_all_fit(keep_bytes, more, images):
    rows = ImageRows(images(False), Counting(size=SQUARE), keep_bytes=keep_bytes)
    first = rows.pixels([0, 1, 2, 3])
    before = Counting.calls
    np.testing.assert_array_equal(rows.pixels([3, 2, 1, 0])[::-1], first)
    assert Counting.calls - before == more
    rows.forget()
    np.testing.assert_array_equal(rows.pixels([0, 1, 2, 3]), first)
    assert Counting.calls - before == more + 4


class Sharpened(ViTImageProcessorPil):
    """Does more than geometry and a map of values: normalises by the image's own mean."""

    def _preprocess(self, images, do_rescale, do_normalize, **settings):
        done = super()._preprocess(
            images, do_rescale=do_rescale, do_normalize=do_normalize, **settings
        )
        if do_normalize:
            done["pixel_values"] = [image - image.mean() for image in done["pixel_values"]]
        return done


def test_pixels__of_a_processor_that_does_more_are_its_own_too(images):
    given, processor = images(False), Sharpened(size=SQUARE)
    rows = ImageRows(given, processor, keep_bytes=10**6)
    expected = processor(given, return_tensors="np", input_data_format="channels_last")
    np.testing.assert_allclose(rows.pixels(range(6)), expected["pixel_values"], rtol=0, atol=1e-6)
    assert np.abs(rows.pixels(range(6)).mean(axis=(1, 2, 3))).max() < 1e-6


def test_pixels__of_another_size_are_refused(images):
    rows = ImageRows(images(False), ViTImageProcessorPil(size={"shortest_edge": 12}))
    with pytest.raises(ValueError, match=r"row 2, of shape \(22, 17, 3\), became .*image_size="):
        rows.pixels([2])


def test_rows__refuse_a_processor_of_other_channels(rng):
    with pytest.raises(ValueError, match=r"pixel values of shape \(1, h, w\)|channels"):
        ImageRows([rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)], Widening(), n_channels=1)


class Widening(ViTImageProcessorPil):
    def __call__(self, images, **settings):
        return {"pixel_values": [np.zeros((3, 4, 4)) for _ in images]}


def test_pickle__leaves_the_kept_images_out(images):
    rows = ImageRows(images(False), PROCESSORS["vit"], keep_bytes=10**6)
    bare = len(pickle.dumps(rows))
    expected = rows.pixels(range(6))
    again = pickle.dumps(rows)
    assert len(again) == bare
    np.testing.assert_array_equal(pickle.loads(again).pixels(range(6)), expected)

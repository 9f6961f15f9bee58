"""Images in every form users hold them, each fault named with its row; pixels as the processor's own."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from transformers import BitImageProcessorPil, ViTImageProcessorPil

from sksve.inputs import ImageRows, read_rows


class AsTheyAre:
    """A processor that changes nothing."""

    def __call__(self, images, **settings):
        return {"pixel_values": [np.moveaxis(image, -1, 0) for image in images]}


def decoded(image, n_channels=3):
    [pixels] = ImageRows([image], AsTheyAre(), n_channels=n_channels).pixels([0])
    return np.moveaxis(pixels, 0, -1)


@pytest.fixture
def colour(rng):
    return rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.fixture
def file(colour, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(colour).save(path)
    return path


def as_series(cells):
    return pd.Series(cells, index=[f"row {i}" for i in range(len(cells))], dtype=object)


FORMS = {
    "pil": lambda a, f: [Image.fromarray(a)] * 2,
    "tuple": lambda a, f: (Image.fromarray(a),) * 2,
    "series": lambda a, f: as_series([Image.fromarray(a)] * 2),
    "stack": lambda a, f: np.stack([a, a]),
    "list-of-arrays": lambda a, f: [a, a],
    "array-and-file": lambda a, f: [a, f],
    "file-first": lambda a, f: [f, Image.fromarray(a)],
}


@pytest.mark.parametrize("form", FORMS)
def test_read_rows__reads_the_same_image_from_every_form(form, colour, file):
    X = FORMS[form](colour, file)
    rows = read_rows(X)
    assert (rows.kind, len(rows)) == ("image", 2)
    for image in rows.rows:
        np.testing.assert_array_equal(decoded(image), colour)
    assert (rows.index is not None) == (form == "series")


def test_read_rows__strings_are_paths_where_that_is_said(file, colour):
    texts = read_rows(np.array([str(file)]))
    assert texts.kind == "text"
    for rows in (
        read_rows([str(file), file], paths=True),
        texts.for_backbone("dino", vision=True),
    ):
        assert rows.kind == "image"
        np.testing.assert_array_equal(decoded(rows.rows[0]), colour)
    with pytest.raises(ValueError, match=r"Row 1 of X must be an image file.*'no.png'"):
        read_rows([str(file), "no.png"]).for_backbone("dino", vision=True)


def test_read_rows__grey_stacks_are_images_and_tables_stay_tables(rng):
    grey = rng.integers(0, 256, (4, 6, 9)).astype(np.uint8)
    for X in (grey, grey[..., None]):
        assert read_rows(X).kind == "image"
    np.testing.assert_array_equal(decoded(read_rows(grey).rows[2])[..., 1], grey[2])
    assert read_rows(grey[0]).kind == "table"
    assert read_rows(list(grey[0])).kind == "table"


def sizes(*shapes, dtype=np.uint8):
    return [np.zeros(shape, dtype=dtype) for shape in shapes]


GOOD = (6, 6, 3)
BAD = {
    "float": (sizes(GOOD) + sizes(GOOD, dtype=float), "Got float64 in row 1.*astype"),
    "nan": ([*sizes(GOOD), np.full(GOOD, np.nan)], "float64 in row 1 of X, with NaN"),
    "float-stack": (np.zeros((2, 6, 6)), "uint8.*Got float64 in row 0"),
    "int-stack": (np.zeros((2, 6, 6), dtype=int), "Got int64 in row 0"),
    "bool": (sizes((6, 6), dtype=bool), "Got bool in row 0"),
    "four-channels": (sizes(GOOD, (6, 6, 4)), r"\(6, 6, 4\) in row 1 of X.*transparency"),
    "channels-first": (np.zeros((2, 3, 6, 6), dtype=np.uint8), r"\(3, 6, 6\) in row 0.*moveaxis"),
    "no-pixels": (sizes(GOOD, (0, 6)), r"one pixel.*\(0, 6\) in row 1"),
    "one-image": (np.zeros((9, 8, 3), dtype=np.uint8), r"one image with 3 channels.*\[X\]"),
    "five-axes": (np.zeros((2, 2, 6, 6, 3), dtype=np.uint8), r"shape \(2, 2, 6, 6, 3\)"),
    "no-rows": (np.zeros((0, 6, 6), dtype=np.uint8), r"0 sample\(s\)"),
    "nested-lists": ([[[1, 2], [3, 4]]], "lists of shape.*uint8 arrays"),
    "none": ([Image.new("L", (3, 3)), None], "Row 1 is NoneType"),
    "number": ([Image.new("L", (3, 3)), 3], "Row 1 is int: 3"),
    "16-bit": ([Image.new("L", (3, 3)), Image.new("I;16", (3, 3))], "'I;16' in row 1"),
    "float-pil": ([Image.new("F", (3, 3))], "mode 'F' in row 0"),
    "no-file": ([Path("no") / "where.png"], "Row 0 .*where.png.*FileNotFoundError"),
    "folder": ([Path()], "Row 0 of X must be an image file"),
}


@pytest.mark.parametrize("case", BAD)
def test_read_rows__names_the_fault_and_the_row(case):
    X, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        read_rows(X)


def test_files__that_are_no_image_or_broken_are_named(tmp_path, rng):
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    with pytest.raises(ValueError, match=r"Row 0 .*notes.png.*UnidentifiedImageError"):
        read_rows([text])
    broken = tmp_path / "broken.png"
    Image.fromarray(rng.integers(0, 256, (90, 90, 3)).astype(np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:5000])
    [image] = read_rows([broken]).rows  # its head is whole: that is all that is read
    whole = np.zeros((90, 90, 3), np.uint8)
    with pytest.raises(ValueError, match=r"Row 4 .*broken.png"):
        ImageRows([*[whole] * 4, image], AsTheyAre()).pixels([0, 4])


def test_decoding__turns_a_photograph_upright(tmp_path, colour):
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(colour).save(path, exif=exif)
    np.testing.assert_array_equal(decoded(path), np.rot90(colour, -1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK"])
def test_decoding__is_pils_own_conversion(mode, colour):
    image = Image.fromarray(colour).convert(mode)
    np.testing.assert_array_equal(decoded(image), np.asarray(image.convert("RGB")))


def test_decoding__gives_one_channel_where_the_backbone_takes_one(colour):
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    for image in (colour, Image.fromarray(colour), grey, grey[..., None]):
        np.testing.assert_array_equal(decoded(image, 1)[..., 0], grey)


def test_decoding__palette_with_transparency_is_quiet(colour):
    image = Image.fromarray(colour).convert("P")
    image.info["transparency"] = b"\x00" * 10
    assert decoded(image).shape == (5, 7, 3)  # a warning would be an error here


def test_for_backbone__sends_each_to_the_other_backbone(colour):
    images, table = read_rows([colour]), read_rows([[1, 2]])
    assert images.for_backbone("b", vision=True) is images
    assert table.for_backbone("b", vision=False) is table
    for other in (table, read_rows([["a text"]])):
        with pytest.raises(ValueError, match=r"'b' is a vision backbone.*all-MiniLM"):
            other.for_backbone("b", vision=True)
    with pytest.raises(
        ValueError, match=r"X holds images, but 'b' is not a vision backbone.*dinov2"
    ):
        images.for_backbone("b", vision=False)


# -- pixels --------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels__are_the_processors_own(name, images):
    given = images(name == "no-resize")
    processor = PROCESSORS[name]
    expected = processor(given, return_tensors="np", input_data_format="channels_last")
    rows = ImageRows(given, processor)
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


def test_pixels__of_another_size_are_refused(images):
    rows = ImageRows(images(False), ViTImageProcessorPil(size={"shortest_edge": 12}))
    with pytest.raises(ValueError, match=r"row 2 became .*image_size="):
        rows.pixels([2])


def test_rows__refuse_a_processor_of_other_channels(rng):
    with pytest.raises(ValueError, match=r"pixel values of shape \(1, h, w\)|channels"):
        ImageRows([rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)], Widening(), n_channels=1)


class Widening(ViTImageProcessorPil):
    def __call__(self, images, **settings):
        return {"pixel_values": [np.zeros((3, 4, 4)) for _ in images]}

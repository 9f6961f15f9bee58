"""Images in every form users hold them; each fault is named with its row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sksve._exceptions import NotImageError
from sksve.inputs import read_rows
from sksve.inputs._images import to_array


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
    for row, image in enumerate(rows.rows):
        np.testing.assert_array_equal(to_array(image, row), colour)
    assert (rows.index is not None) == (form == "series")


def test_read_rows__strings_are_paths_where_that_is_said(file, colour):
    texts = read_rows(np.array([str(file)]))
    assert texts.kind == "text"
    for rows in (
        read_rows([str(file), file], paths=True),
        texts.for_backbone("dino", vision=True),
    ):
        assert rows.kind == "image"
        np.testing.assert_array_equal(to_array(rows.rows[0], 0), colour)
    with pytest.raises(NotImageError, match=r"Row 1 of X must be an image file.*'no.png'"):
        read_rows([str(file), "no.png"]).for_backbone("dino", vision=True)


def test_read_rows__grey_stacks_are_images_and_tables_stay_tables(rng):
    grey = rng.integers(0, 256, (4, 6, 9)).astype(np.uint8)
    for X in (grey, grey[..., None]):
        assert read_rows(X).kind == "image"
    np.testing.assert_array_equal(to_array(read_rows(grey).rows[2], 2)[..., 1], grey[2])
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
    with pytest.raises(NotImageError, match=r"Row 0 .*notes.png.*UnidentifiedImageError"):
        read_rows([text])
    broken = tmp_path / "broken.png"
    Image.fromarray(rng.integers(0, 256, (90, 90, 3)).astype(np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:5000])
    [image] = read_rows([broken]).rows  # its head is whole: that is all that is read
    with pytest.raises(NotImageError, match=r"Row 4 .*broken.png"):
        to_array(image, 4)


def test_to_array__turns_a_photograph_upright(tmp_path, colour):
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(colour).save(path, exif=exif)
    np.testing.assert_array_equal(to_array(path, 0), np.rot90(colour, -1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK"])
def test_to_array__is_pils_own_conversion(mode, colour):
    image = Image.fromarray(colour).convert(mode)
    np.testing.assert_array_equal(to_array(image, 0), np.asarray(image.convert("RGB")))


def test_to_array__gives_one_channel_where_the_backbone_takes_one(colour):
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    for image in (colour, Image.fromarray(colour), grey, grey[..., None]):
        np.testing.assert_array_equal(to_array(image, 0, n_channels=1)[..., 0], grey)


def test_to_array__palette_with_transparency_is_quiet(colour):
    image = Image.fromarray(colour).convert("P")
    image.info["transparency"] = b"\x00" * 10
    assert to_array(image, 0).shape == (5, 7, 3)  # a warning would be an error here


def test_for_backbone__sends_each_to_the_other_backbone(colour):
    images, table = read_rows([colour]), read_rows([[1, 2]])
    assert images.for_backbone("b", vision=True) is images
    assert table.for_backbone("b", vision=False) is table
    for other in (table, read_rows([["a text"]])):
        with pytest.raises(ValueError, match=r"'b' is a vision backbone.*all-MiniLM"):
            other.for_backbone("b", vision=True)
    with pytest.raises(ValueError, match=r"X holds images, but 'b' is no vision backbone.*dinov2"):
        images.for_backbone("b", vision=False)

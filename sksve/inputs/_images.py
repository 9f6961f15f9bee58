"""Images as users hold them: checked row by row, and brought to 8-bit arrays when they are needed."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve._exceptions import NotImageError

__all__ = ["check_images", "is_image", "stack_of_images", "to_array"]

# What PIL's convert("RGB") brings to 8 bits without loss of range; the others hold 16 or 32 bits.
_MODES = {
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "RGBX",
    "LA",
    "PA",
    "La",
    "RGBa",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
}
_WANTED = "Images (for a vision backbone) must be"


def is_image(cell: Any) -> bool:
    """Whether a cell can only be meant as an image: PIL, an array of 2 or more axes, a Path."""
    if isinstance(cell, np.ndarray):
        return cell.ndim >= 2
    return hasattr(cell, "getbands") or isinstance(cell, os.PathLike)


def check_images(cells: Sequence[Any]) -> list[Any]:
    """Check images one by one, without decoding any.

    Parameters
    ----------
    cells : sequence of PIL image, uint8 array of shape (h, w), (h, w, 1) or (h, w, 3), str or path
        Of a file only the head is read.

    Returns
    -------
    list
        The cells.

    Raises
    ------
    ValueError
        If an image is missing, empty, unreadable, or not of 8 bits in one or three channels; the
        message names the row.
    """
    for row, cell in enumerate(cells):
        if isinstance(cell, np.ndarray):
            _check_array(cell, f"row {row} of X")
        elif hasattr(cell, "getbands"):
            _check_pil(cell, f"row {row} of X")
        elif isinstance(cell, (str, os.PathLike)):
            _check_file(cell, row)
        else:
            raise NotImageError(
                f"X must hold images only: PIL images, uint8 arrays or file paths. Row {row} is "
                f"{type(cell).__name__}: {cell!r:.60}. Drop the rows without an image."
            )
    return list(cells)


def stack_of_images(X: Any) -> list[NDArray[np.uint8]]:
    """Check one array of equally large images, and give its rows (views, no copies).

    Parameters
    ----------
    X : array of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3)

    Returns
    -------
    list of ndarray

    Raises
    ------
    ValueError
        If `X` has another shape or is not uint8.
    """
    array = np.asarray(X)
    shape = tuple(array.shape)
    if array.ndim not in (3, 4):
        raise ValueError(
            "X must be 1-D (texts), 2-D (a table), or of shape (n, h, w) or (n, h, w, 3) (images, "
            f"for a vision backbone). Got an array of shape {shape}."
        )
    if shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )
    if array.ndim == 3 and shape[2] <= 4 < min(shape[:2]):
        raise ValueError(
            f"X has shape {shape}: that seems to be one image with {shape[2]} channels, where "
            "(n, h, w) or (n, h, w, 3) is expected. Put it into a list, [X]."
        )
    _check_array(array[0], "row 0 of X")
    return list(array)


def _check_array(image: np.ndarray, where: str) -> None:
    shape = tuple(image.shape)
    if image.dtype != np.uint8:
        holes = image.dtype.kind == "f" and bool(np.isnan(image).any())
        raise NotImageError(
            f"{_WANTED} uint8, from 0 (black) to 255. Got {image.dtype} in {where}"
            f"{', with NaN' if holes else ''}. If values go from 0 to 1, convert it with "
            "(image * 255).round().astype('uint8')."
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in (1, 3)):
        cure = ""
        if image.ndim == 3 and shape[0] in (1, 3):
            cure = " Move the channels last: np.moveaxis(image, 0, -1)."
        elif image.ndim == 3 and shape[2] in (2, 4):
            cure = " Drop the transparency: image[..., :3] (or image[..., 0] where there are 2)."
        raise NotImageError(
            f"{_WANTED} of shape (h, w), grey, or (h, w, 3), colour. Got {shape} in {where}.{cure}"
        )
    if 0 in shape:
        raise NotImageError(f"{_WANTED} at least one pixel large. Got shape {shape} in {where}.")


def _check_pil(image: Any, where: str) -> None:
    if image.mode not in _MODES:
        raise NotImageError(
            f"{_WANTED} of 8 bits a channel. Got PIL's mode {image.mode!r} in {where}. Bring it to "
            "0..255 yourself: where its values end is for you to say."
        )
    if 0 in image.size:
        raise NotImageError(f"{_WANTED} at least one pixel large. Got {image.size} in {where}.")


def _check_file(path: Any, row: int) -> None:
    with _opened(path, row) as image:
        _check_pil(image, f"row {row} of X ({os.fspath(path)!r:.200})")


def to_array(image: Any, row: int, *, n_channels: int = 3) -> NDArray[np.uint8]:
    """Decode one image.

    Grey becomes colour by repetition, colour becomes grey by PIL's luma; transparency and palettes
    go as PIL's ``convert("RGB")`` has it; a file is turned upright as its EXIF tag says.

    Parameters
    ----------
    image : as in :func:`check_images`
    row : int
        For the message.
    n_channels : {1, 3}, default=3

    Returns
    -------
    ndarray of shape (h, w, n_channels)

    Raises
    ------
    ValueError
        If a file cannot be read (any more).
    """
    if isinstance(image, (str, os.PathLike)):
        from PIL import ImageOps

        with _opened(image, row) as opened:
            try:
                return _of_pil(ImageOps.exif_transpose(opened), n_channels)
            except (OSError, SyntaxError, ValueError) as error:
                raise _unreadable(image, row, error) from error
    if not isinstance(image, np.ndarray):
        return _of_pil(image, n_channels)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] == n_channels:
        return image
    if n_channels == 3:
        return np.repeat(image, 3, axis=2)
    from PIL import Image

    return _of_pil(Image.fromarray(image), n_channels)


def _of_pil(image: Any, n_channels: int) -> NDArray[np.uint8]:
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")  # else PIL warns
    array = np.asarray(image.convert("L" if n_channels == 1 else "RGB"))
    return array[:, :, None] if n_channels == 1 else array


def _opened(path: Any, row: int) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Image files are read by Pillow: pip install 'sksve[images]'.") from error
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, row, error) from error


def _unreadable(path: Any, row: int, error: Exception) -> NotImageError:
    return NotImageError(
        f"Row {row} of X must be an image file that Pillow can read (with a vision backbone, str are "
        f"paths). Got {os.fspath(path)!r:.200} instead: {type(error).__name__}: {error!s:.200}"
    )

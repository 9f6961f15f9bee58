"""Images as users hold them: checked row by row, and made pixel values when a batch asks for them."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve._exceptions import NotImageError

# What PIL's convert("RGB") brings to 8 bits without loss of range; the others hold 16 or 32 bits.
_MODES = set("1 L P RGB RGBA RGBX LA PA La RGBa CMYK YCbCr HSV LAB".split())
_WANTED = "Images (for a vision backbone) must be"


def is_image(cell: Any) -> bool:
    """Whether a cell can only be meant as an image: PIL, an array of 2 or more axes, a Path."""
    if isinstance(cell, np.ndarray):
        return cell.ndim >= 2
    return hasattr(cell, "getbands") or isinstance(cell, os.PathLike)


def check_images(cells: Sequence[Any]) -> list[Any]:
    """Check PIL images, uint8 arrays, paths one by one, decoding none: of a file only the head is read."""
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
    """Check one array of equally large images, and give its rows (views, no copies)."""
    array = np.asarray(X)
    shape = tuple(array.shape)
    if array.ndim not in (3, 4):
        raise ValueError(
            "X must be 1-D (texts), 2-D (a table), or of shape (n, h, w) or (n, h, w, 3) (images, "
            f"for a vision backbone). Got an array of shape {shape}."
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
            f"{_WANTED} of 8 bits per channel. Got PIL's mode {image.mode!r} in {where}. Scale it "
            "to 0..255 first: only you know the range of its values."
        )
    if 0 in image.size:
        raise NotImageError(f"{_WANTED} at least one pixel large. Got {image.size} in {where}.")


def _check_file(path: Any, row: int) -> None:
    with _opened(path, row) as image:
        _check_pil(image, f"row {row} of X ({os.fspath(path)!r:.200})")


def _decoded(image: Any, row: int, n_channels: int) -> NDArray[np.uint8]:
    """Decode one checked image: (h, w, n_channels).

    Grey becomes colour by repetition, colour becomes grey by PIL's luma; transparency and palettes
    go as PIL's ``convert("RGB")`` has it; a file is turned upright as its EXIF tag says.
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


def longer_side(images: Sequence[Any]) -> int:
    """Median of the images' longer sides in pixels, of at most 200 of them, spread over all."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), 200)).astype(int))
    sides = []
    for row in chosen.tolist():
        image = images[row]
        if isinstance(image, np.ndarray):
            sides.append(max(image.shape[:2]))
        else:
            sides.append(max(image.size if hasattr(image, "size") else _size_of(image, row)))
    return int(np.median(sides))


def _size_of(path: Any, row: int) -> tuple[int, int]:
    with _opened(path, row) as image:
        size: tuple[int, int] = image.size
    return size


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


# -- pixel values --------------------------------------------------------------------------------


class ImageRows:
    """Checked images and the processor that makes pixel values of them, when they are asked for.

    `shape` is the channels, height and width of every processed image. A ValueError says that the processor
    makes something else of the first one than an array of `n_channels`, 1 or 3, which the backbone takes.
    """

    def __init__(self, images: Sequence[Any], processor: Any, *, n_channels: int = 3) -> None:
        self.images = images
        self.processor = processor
        self.n_channels = n_channels
        self.shape: tuple[int, ...] = self._processed(np.array([0]))[0].shape
        if len(self.shape) != 3 or self.shape[0] != n_channels:
            raise ValueError(
                f"{type(processor).__name__} must give pixel values of shape ({n_channels}, h, w), as "
                f"the backbone takes them. Got shape {self.shape} instead."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def pixels(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Pixel values (n, c, h, w), float32, of some rows, which may occur more than once.

        ValueError if a file cannot be decoded, or an image comes out in another size than the first did.
        """
        different, place = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        images = self._processed(different)
        for row, image in zip(different, images):
            if image.shape != self.shape:
                raise NotImageError(
                    "Every image must come out of the image processor in one size. Row 0 of X became "
                    f"{self.shape}, row {row} became {image.shape}. Let the processor crop "
                    "(do_center_crop=True) or give it a size of height and width, as "
                    "sksve.Backbone(..., image_size=...) does."
                )
        return np.asarray(images, dtype=np.float32)[place]

    def _processed(self, rows: NDArray[np.int64]) -> list[np.ndarray]:
        arrays = [_decoded(self.images[r], int(r), self.n_channels) for r in rows]
        out = self.processor(arrays, input_data_format="channels_last", do_convert_rgb=False)
        return [np.asarray(image) for image in out["pixel_values"]]

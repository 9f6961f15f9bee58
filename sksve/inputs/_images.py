"""Images as users hold them: checked row by row, and made pixel values when a batch asks for them."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve._exceptions import NotImageError

__all__ = ["ImageRows", "check_images", "is_image", "stack_of_images", "to_array"]

# What PIL's convert("RGB") brings to 8 bits without loss of range; the others hold 16 or 32 bits.
_MODES = set("1 L P RGB RGBA RGBX LA PA La RGBa CMYK YCbCr HSV LAB".split())
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


# -- pixel values --------------------------------------------------------------------------------

# A processor does two things: geometry (resize, crop), which leaves 8-bit values, and a map of each value
# to a number (rescale, normalise). What geometry leaves is a quarter of the size of the result and can be
# kept from epoch to epoch; the map is a table of 256 entries per channel, written by the processor itself.
_GEOMETRY = {"do_rescale": False, "do_normalize": False}
_VALUES = {"do_resize": False, "do_center_crop": False}


class ImageRows:
    """Checked images and the processor that makes pixel values of them, when they are asked for.

    Parameters
    ----------
    images : sequence
        What ``check_images`` has passed.
    processor : transformers image processor
    n_channels : {1, 3}, default=3
        What the backbone takes.
    keep_bytes : int, default=0
        Keep resized images (one byte a value) from one call to the next if all of them fit into this.

    Attributes
    ----------
    shape : tuple of int
        Channels, height and width of every processed image.

    Raises
    ------
    ValueError
        If the processor makes something else of the first image than an array of `n_channels`.
    """

    def __init__(
        self, images: Sequence[Any], processor: Any, *, n_channels: int = 3, keep_bytes: int = 0
    ) -> None:
        self.images = images
        self.processor = processor
        self.n_channels = n_channels
        self.keep_bytes = keep_bytes
        first = self._call([to_array(images[0], 0, n_channels=n_channels)])[0]
        self.shape: tuple[int, ...] = first.shape
        if len(self.shape) != 3 or self.shape[0] != n_channels:
            raise ValueError(
                f"{type(processor).__name__} must give pixel values of shape ({n_channels}, h, w), as "
                f"the backbone takes them. Got shape {self.shape} instead."
            )
        self._table = self._table_of(first)
        self.forget()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def forget(self) -> None:
        """Let go of the resized images that were kept."""
        self._kept: NDArray[np.uint8] | None = None
        self._have: NDArray[np.bool_] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_have": None}

    def pixels(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Pixel values of some images.

        Parameters
        ----------
        rows : sequence of int
            Row numbers; some may occur more than once.

        Returns
        -------
        ndarray of shape (len(rows), c, h, w), float32
            What the processor makes of them.

        Raises
        ------
        ValueError
            If a file cannot be decoded, or an image comes out in another size than the first did.
        """
        rows = np.asarray(rows, dtype=np.int64)
        different, place = np.unique(rows, return_inverse=True)
        if self._table is None:
            return np.asarray(self._processed(different, {}), dtype=np.float32)[place]
        size = len(self.images) * int(np.prod(self.shape))
        if size > self.keep_bytes:
            values = np.asarray(self._processed(different, _GEOMETRY), dtype=np.uint8)[place]
        else:
            if self._kept is None:
                self._kept = np.empty((len(self.images), *self.shape), dtype=np.uint8)
                self._have = np.zeros(len(self.images), dtype=bool)
            assert self._have is not None
            new = different[~self._have[different]]
            if len(new):
                self._kept[new] = self._processed(new, _GEOMETRY)
                self._have[new] = True
            values = self._kept[rows]
        out = np.empty(values.shape, dtype=np.float32)
        for channel, entries in enumerate(self._table):
            out[:, channel] = entries[values[:, channel]]
        return out

    def _processed(self, rows: NDArray[np.int64], settings: dict[str, bool]) -> list[np.ndarray]:
        arrays = [to_array(self.images[r], int(r), n_channels=self.n_channels) for r in rows]
        done = self._call(arrays, **settings)
        for row, image, given in zip(rows, done, arrays):
            if image.shape != self.shape:
                raise NotImageError(
                    f"Every image must come out of the image processor in one size. Row 0 of X became "
                    f"{self.shape}, row {row}, of shape {given.shape}, became {image.shape}. Let the "
                    "processor crop (do_center_crop=True) or give it a size of height and width, as "
                    "sksve.Backbone(..., image_size=...) does."
                )
        return done

    def _call(self, arrays: list[np.ndarray], **settings: bool) -> list[np.ndarray]:
        done = self.processor(
            arrays, input_data_format="channels_last", do_convert_rgb=False, **settings
        )["pixel_values"]
        return [np.asarray(image) for image in done]

    def _table_of(self, first: np.ndarray) -> NDArray[np.float32] | None:
        """Pixel value of each of 256 levels in each channel; None if it is no function of these."""
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], self.n_channels, axis=2)
        [table] = self._call([ramp], **_VALUES)
        [resized] = self._call(
            [to_array(self.images[0], 0, n_channels=self.n_channels)], **_GEOMETRY
        )
        if table.shape != (self.n_channels, 1, 256) or resized.dtype != np.uint8:
            return None
        table = table[:, 0].astype(np.float32)
        again = np.stack([entries[level] for entries, level in zip(table, resized)])
        return table if np.allclose(again, first, rtol=0, atol=1e-5) else None

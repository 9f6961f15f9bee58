"""Images to pixel values by the backbone's own image processor, a batch at a time.

A processor does two things: geometry (resize, crop), which leaves 8-bit values, and a map of each
value to a number (rescale, normalise). They are told apart here: what geometry leaves is a quarter of
the size of the result, and can be kept from epoch to epoch; the map is a table of 256 entries a channel,
written by the processor itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve._exceptions import NotImageError
from sksve.inputs._images import to_array

__all__ = ["ImageRows"]

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

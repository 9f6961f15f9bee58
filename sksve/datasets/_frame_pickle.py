"""Tables out of pickled pandas frames, without running what a pickle may ask for.

A pickle is a program. This reader knows the few words that a frame of numbers and strings is written
in, takes each of them for plain data, and refuses every other: no class of pandas is made, no code of
the file is run, and a new pandas cannot stumble over an old file.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_pickled_frame"]


class _Inert:
    """Stands for an object of the file: keeps what it was made with, does nothing."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _frombuffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    if dtype.hasobject:
        raise pickle.UnpicklingError("objects in a raw buffer")
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _reconstruct(subtype: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    return np.ndarray(0, np.uint8)  # __setstate__ fills it, whatever it is made as


# What a frame is written with, by old and new versions -> what is taken for it.
_WORDS: dict[tuple[str, str], Callable[..., Any]] = {
    ("pandas.core.frame", "DataFrame"): _Inert,
    ("pandas", "DataFrame"): _Inert,
    ("pandas.core.internals.managers", "BlockManager"): _Inert,
    ("pandas._libs.internals", "_unpickle_block"): _Inert,
    ("pandas.core.indexes.base", "_new_Index"): _Inert,
    ("pandas.core.indexes.base", "Index"): _Inert,
    ("pandas", "Index"): _Inert,
    ("pandas", "RangeIndex"): _Inert,
    ("pandas.core.indexes.range", "RangeIndex"): _Inert,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("builtins", "slice"): slice,
}


class _FrameUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _WORDS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read_pickled_frame(raw: bytes) -> dict[str, NDArray[Any]]:
    """Columns of a pickled pandas DataFrame of numbers and strings.

    Parameters
    ----------
    raw : bytes
        The pickle, not compressed.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)
        The columns in order, each with the dtype it was stored in.

    Raises
    ------
    ValueError
        If `raw` is no pickle of such a frame, or asks for anything that a frame does not need. None
        of it has run then.
    """
    try:
        frame = _FrameUnpickler(io.BytesIO(raw)).load()
        blocks, axes = frame.state["_mgr"].args
        names = [str(name) for name in _index(axes[0])]
        columns: dict[str, NDArray[Any]] = {}
        for block in blocks:
            values, placement, _ = block.args
            for row, position in enumerate(np.arange(len(names))[placement]):
                columns[names[position]] = values[row]
        return {name: columns[name] for name in names}
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        KeyError,
        TypeError,
        IndexError,
    ) as error:
        raise ValueError(f"This is no pickled frame of numbers and strings: {error}.") from error


def _index(index: _Inert) -> NDArray[Any]:
    return index.args[1]["data"]

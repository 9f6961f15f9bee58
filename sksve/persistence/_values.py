"""Parameters and fitted attributes as strict JSON, and back, with their exact types.

What JSON has no word for is an object with one key that starts with ``$``: ``{"$tuple": [...]}``,
``{"$float": "nan"}``, ``{"$dict": [[key, value], ...]}``, ``{"$scalar": [dtype, value]}``,
``{"$array": [dtype, shape, values]}``, ``{"$tensor": name}``, ``{"$path": "..."}``. Reading makes values
only: no class is looked up and nothing is called.
"""

import math
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from sksve._exceptions import PersistenceError

__all__ = ["decode", "encode"]

# Numeric arrays with more entries than this go among the tensors.
MOST_ENTRIES = 256
# A dtype may say that each of its strings has a gigabyte: not more than this for a whole array.
MOST_BYTES = 2**27
_DTYPE = re.compile(r"[<>|]([biufU])[0-9]{1,9}|\|(O)")
_PYTHON = {"b": bool, "i": int, "u": int, "f": float, "U": str}
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode(value: Any, *, name: str, tensors: MutableMapping[str, np.ndarray] | None = None) -> Any:
    """Turn a value into plain JSON values that :func:`decode` turns back exactly.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, a path, numpy scalar, numpy array (bool, int, uint, float, str,
        or object holding scalars), or a list, tuple or dict of such.
    name : str
        What a message calls the value.
    tensors : mutable mapping, optional
        Where arrays of more than 256 numbers go, under `name`; without it they stay in the JSON.

    Returns
    -------
    object
        None, bool, int, float, str, list or dict.

    Raises
    ------
    sksve.PersistenceError
        If the value, or something inside, is of another kind; the message names the place.

    Examples
    --------
    >>> import numpy as np
    >>> from sksve.persistence import decode, encode
    >>> encode({1: np.float32(0.5), 2: (1, None)}, name="class_weight")
    {'$dict': [[1, {'$scalar': ['<f4', 0.5]}], [2, {'$tuple': [1, None]}]]}
    >>> decode({"$dict": [[1, {"$tuple": []}]]})
    {1: ()}
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, np.generic):
        return {"$scalar": [_dtype_name(value.dtype, name), encode(value.item(), name=name)]}
    if isinstance(value, np.ndarray):
        return _encode_array(value, name, tensors)
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if kind is list or kind is tuple:
        items = [encode(v, name=f"{name}[{i}]", tensors=tensors) for i, v in enumerate(value)]
        return items if kind is list else {"$tuple": items}
    if kind is dict:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {k: encode(v, name=f"{name}.{k}", tensors=tensors) for k, v in value.items()}
        pairs = []
        for k, v in value.items():
            key = encode(k, name=f"a key of {name}")
            pairs.append([key, encode(v, name=f"{name}[{k!r}]", tensors=tensors)])
        return {"$dict": pairs}
    raise PersistenceError(
        f"{name} is an object of class {kind.__module__}.{kind.__qualname__}, which a saved model "
        "cannot hold: it holds None, bool, int, float, str, numpy arrays and scalars, and lists, "
        "tuples and dicts of them. Set it to such a value, or use pickle or joblib instead."
    )


def _dtype_name(dtype: np.dtype, name: str) -> str:
    if _DTYPE.fullmatch(dtype.str) and (dtype.kind != "f" or dtype.itemsize <= 8):
        return dtype.str
    raise PersistenceError(
        f"{name} is of dtype {dtype}, which a saved model cannot hold: it holds bool, integers, "
        "floats of at most 64 bits, str, and objects that are such."
    )


def _encode_array(
    value: np.ndarray, name: str, tensors: MutableMapping[str, np.ndarray] | None
) -> Any:
    dtype = _dtype_name(value.dtype, name)
    native = value.dtype.kind in "biuf" and value.dtype.isnative
    if tensors is not None and native and value.size > MOST_ENTRIES:
        tensors[name] = np.ascontiguousarray(value)
        return {"$tensor": name}
    flat = value.ravel().tolist()
    if value.dtype == object and any(isinstance(v, (list, tuple, dict, np.ndarray)) for v in flat):
        raise PersistenceError(
            f"{name} is an array of containers, which a saved model cannot hold."
        )
    return {"$array": [dtype, list(value.shape), [encode(v, name=name) for v in flat]]}


def decode(value: Any, tensors: Mapping[str, np.ndarray] | None = None) -> Any:
    """Turn what :func:`encode` made into the value it was.

    Parameters
    ----------
    value : object
        Plain JSON values.
    tensors : mapping, optional
        Arrays that lie outside the JSON.

    Returns
    -------
    object

    Raises
    ------
    sksve.PersistenceError
        If `value` is nothing :func:`encode` makes.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith("$")]
    if not marks:
        return {key: decode(item, tensors) for key, item in value.items()}
    try:
        [(mark, inner)] = value.items()
        return _DECODERS[mark](inner, tensors or {})
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        if isinstance(error, PersistenceError):
            raise
        raise PersistenceError(
            f"The saved value {value!s:.80} cannot be read by this version of sksve: {error}."
        ) from error


def _array(inner: Any, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    name, shape, flat = inner
    kind = _kind(name)
    values = decode(flat, tensors)
    _check_size(name, len(values))
    if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) != len(values):
        raise ValueError(f"{len(values)} values do not fill the shape {shape}")
    if kind == "O":
        array = np.empty(len(values), dtype=object)
        array[:] = values
    else:
        array = np.array([_checked(v, name) for v in values], dtype=name)
    return array.reshape(shape)


def _scalar(inner: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    name, value = inner
    if _kind(name) == "O":
        raise ValueError("a scalar of dtype object")
    _check_size(name, 1)
    return np.array(_checked(decode(value, tensors), name), dtype=name)[()]


def _kind(name: Any) -> str:
    match = _DTYPE.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no dtype a saved model may hold")
    return match[1] or match[2]


def _check_size(name: str, n: int) -> None:
    if n * np.dtype(name).itemsize > MOST_BYTES:
        raise ValueError(f"{n} values of dtype {name} would take more than {MOST_BYTES} bytes")


def _checked(value: Any, name: str) -> Any:
    """Refuse a value that numpy would bend to fit: 1.5 to 1, 'abc' to 'a'."""
    kind = _kind(name)
    if type(value) is not _PYTHON[kind]:
        raise ValueError(f"{value!r} is not of dtype {name}")
    if isinstance(value, str) and 4 * len(value) > np.dtype(name).itemsize:
        raise ValueError(f"{value!r} is longer than dtype {name} allows")
    return value


def _dict(inner: Any, tensors: Mapping[str, np.ndarray]) -> dict[Any, Any]:
    return {decode(key, tensors): decode(item, tensors) for key, item in inner}


_DECODERS = {
    "$array": _array,
    "$scalar": _scalar,
    "$dict": _dict,
    "$float": lambda inner, _: _FLOATS[inner],
    "$path": lambda inner, _: Path(inner),
    "$tensor": lambda inner, tensors: np.array(tensors[inner]),
    "$tuple": lambda inner, tensors: tuple([decode(item, tensors) for item in inner]),
}

"""Values as strict JSON and arrays, and back, with their exact types.

What JSON has no word for is an object with one key that starts with ``$``: ``{"$tuple": [...]}``,
``{"$float": "nan"}``, ``{"$dict": [[key, value], ...]}``, ``{"$scalar": [dtype, value]}``,
``{"$array": [dtype, shape, values]}``, ``{"$tensor": name}``, ``{"$path": "..."}``,
``{"$object": [class, parameters, attributes]}``, ``{"$model": [class, content, tensors]}``,
``{"$sklearn": name}`` (a tensor of the bytes of skops). Reading makes values, objects of a closed list of
sksve's own classes, and scikit-learn transformers of the types that skops trusts; nothing else is called.
"""

import json
import math
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from sksve._exceptions import PersistenceError
from sksve.persistence._transformers import transformer_from_bytes, transformer_to_bytes

# A manifest has some hundred kilobytes and a few levels; more than this is an attack on the memory.
# A dtype may say that each of its strings has a gigabyte: an array may not be larger either.
MOST_BYTES = 2**25
MOST_ARRAY_BYTES = 2**27
MOST_LEVELS = 64
# Numeric arrays with more entries than this go among the tensors.
MOST_ENTRIES = 256

_DTYPE = re.compile(r"[<>|]([biufU])[0-9]{1,9}|\|(O)")
_PYTHON = {"b": bool, "i": int, "u": int, "f": float, "U": str}
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_FITTED = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*")

# The only classes that a folder may name: what has save_pretrained, and what may be inside.
_MODELS = {
    "SVEClassifier": "sksve.estimators",
    "LinearProbeClassifier": "sksve.baselines",
    "FineTunedClassifier": "sksve.baselines",
    "DeepEnsembleClassifier": "sksve.baselines",
    "LoRAEnsembleClassifier": "sksve.baselines",
    "BatchEnsembleClassifier": "sksve.baselines",
    "MCDropoutClassifier": "sksve.baselines",
    "LaplaceClassifier": "sksve.baselines",
    "CalibratedClassifier": "sksve.calibration",
    "ConformalClassifier": "sksve.calibration",
    "CostSensitiveClassifier": "sksve.calibration",
    "PriorCorrection": "sksve.calibration",
    "SelectiveClassifier": "sksve.calibration",
}
_OBJECTS = {
    "TabularToText": "sksve.preprocessing",
    "SideFeatures": "sksve.preprocessing._side_features",
    "Training": "sksve.estimators",
    "TemperatureScaling": "sksve.calibration",
    "EnsembleTemperatureScaling": "sksve.calibration",
    "VectorScaling": "sksve.calibration",
    "MatrixScaling": "sksve.calibration",
    "DirichletCalibration": "sksve.calibration",
    "BetaCalibration": "sksve.calibration",
    "IsotonicCalibration": "sksve.calibration",
    "HistogramBinning": "sksve.calibration",
    "BBQ": "sksve.calibration",
    "ENIR": "sksve.calibration",
    "StructuredMatrixScaling": "sksve.calibration",
    "VennAbers": "sksve.calibration",
}


@dataclass(frozen=True)
class SavedModel:
    """What a saved folder holds; also a value, so that one model may be inside another."""

    class_name: str
    content: dict[str, Any]  # whatever `encode` takes
    tensors: dict[str, np.ndarray]  # always written as tensors, whatever their size


def class_named(name: Any) -> Any:
    """Return the class of a saved model, imported now; refuse any name that is not on the list.

    >>> class_named("SVEClassifier")
    <class 'sksve.estimators._sve.SVEClassifier'>
    """
    return _class_in(_MODELS, name, "A saved folder may hold")


def _class_in(homes: Mapping[str, str], name: Any, words: str) -> Any:
    home = homes.get(name) if isinstance(name, str) else None
    if home is None:
        raise PersistenceError(f"{words} {', '.join(homes)}. Got {str(name)!r:.80} instead.")
    kind = getattr(import_module(home), name, None)
    if not isinstance(kind, type):
        raise PersistenceError(f"This version of sksve has no {name}. Install a newer one.")
    return kind


def set_fitted(thing: Any, attributes: Mapping[str, Any]) -> None:
    """Set fitted attributes that were saved; refuse a name that would hide something of the class."""
    for name, value in attributes.items():
        if not _FITTED.fullmatch(name) or hasattr(type(thing), name):
            raise PersistenceError(
                f"{name!r:.60} is no learned attribute of {type(thing).__name__}."
            )
        setattr(thing, name, value)


# -- strict JSON ---------------------------------------------------------------------------------


def dumps(value: Any) -> str:
    """Write plain values in one canonical form: sorted keys, ASCII, one space of indentation.

    >>> loads(dumps({"b": 1, "a": [0.1, None]}).encode())
    {'a': [0.1, None], 'b': 1}
    """
    return json.dumps(value, allow_nan=False, sort_keys=True, ensure_ascii=True, indent=1) + "\n"


def loads(data: bytes, *, name: str = "The file") -> Any:
    """Read JSON as its standard has it, with bounds on size and depth; `name` is for the message."""
    if len(data) > MOST_BYTES:
        raise PersistenceError(f"{name} must have at most {MOST_BYTES} bytes. Got {len(data)}.")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise PersistenceError(
            f"{name} is no strict JSON: {error or 'it is nested too deeply'}. It was damaged or "
            "edited: save the model again, or download it again."
        ) from error
    # Level by level: whoever walks through the values later recurses.
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer if isinstance(outer, list) else outer.values())
        ]
    if level:
        raise PersistenceError(f"{name} must be nested at most {MOST_LEVELS} levels deep.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return unique


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number} is too large")
    return value


# -- values to JSON ------------------------------------------------------------------------------


def encode(value: Any, *, name: str, tensors: MutableMapping[str, np.ndarray] | None = None) -> Any:
    """Turn a value into plain JSON values that :func:`decode` turns back exactly.

    `name` is what a message calls it. Arrays of more than 256 numbers go among the `tensors`, if there are
    such.

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
    if kind is SavedModel:
        return _encode_model(value, name, tensors)
    if kind.__name__ in _OBJECTS and kind is _class_in(_OBJECTS, kind.__name__, ""):
        params = value.get_params(deep=False)
        fitted = {k: v for k, v in vars(value).items() if k not in params and k.endswith("_")}
        parts = [encode(part, name=name, tensors=tensors) for part in (params, fitted)]
        return {"$object": [kind.__name__, *parts]}
    if (
        kind.__module__.startswith("sklearn.")
        and hasattr(value, "transform")
        and tensors is not None
    ):
        return {"$sklearn": _keep(transformer_to_bytes(value, name), name, tensors)}
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
        return {"$tensor": _keep(value, name, tensors)}
    flat = value.ravel().tolist()
    if value.dtype == object and any(isinstance(v, (list, tuple, dict, np.ndarray)) for v in flat):
        raise PersistenceError(
            f"{name} is an array of containers, which a saved model cannot hold."
        )
    return {"$array": [dtype, list(value.shape), [encode(v, name=name) for v in flat]]}


def _encode_model(
    value: SavedModel, name: str, tensors: MutableMapping[str, np.ndarray] | None
) -> Any:
    if tensors is None:
        raise PersistenceError(f"{name} is a whole model, which has tensors.")
    content = encode(value.content, name=name, tensors=tensors)
    places = {k: _keep(v, f"{name}.{k}", tensors) for k, v in value.tensors.items()}
    return {"$model": [value.class_name, content, places]}


def _keep(value: np.ndarray, name: str, tensors: MutableMapping[str, np.ndarray]) -> str:
    while name in tensors:
        name += "'"
    tensors[name] = value
    return name


# -- JSON to values ------------------------------------------------------------------------------


def decode(value: Any, tensors: MutableMapping[str, np.ndarray] | None = None) -> Any:
    """Turn what :func:`encode` made into the value it was; takes out the tensors it needs."""
    tensors = {} if tensors is None else tensors
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if not any(key.startswith("$") for key in value):
        return {key: decode(item, tensors) for key, item in value.items()}
    try:
        [(mark, inner)] = value.items()
        return _DECODERS[mark](inner, tensors)
    except PersistenceError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        RecursionError,
        AttributeError,
    ) as error:
        raise PersistenceError(
            f"The saved value {value!s:.80} cannot be read by this version of sksve: {error}."
        ) from error


def _array(inner: Any, tensors: MutableMapping[str, np.ndarray]) -> np.ndarray:
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


def _scalar(inner: Any, tensors: MutableMapping[str, np.ndarray]) -> Any:
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
    if n * np.dtype(name).itemsize > MOST_ARRAY_BYTES:
        raise ValueError(
            f"{n} values of dtype {name} would take more than {MOST_ARRAY_BYTES} bytes"
        )


def _checked(value: Any, name: str) -> Any:
    """Refuse a value that numpy would bend to fit: 1.5 to 1, 'abc' to 'a'."""
    kind = _kind(name)
    if type(value) is not _PYTHON[kind]:
        raise ValueError(f"{value!r} is not of dtype {name}")
    if isinstance(value, str) and 4 * len(value) > np.dtype(name).itemsize:
        raise ValueError(f"{value!r} is longer than dtype {name} allows")
    return value


def _dict(inner: Any, tensors: MutableMapping[str, np.ndarray]) -> dict[Any, Any]:
    return {decode(key, tensors): decode(item, tensors) for key, item in inner}


def _object(inner: Any, tensors: MutableMapping[str, np.ndarray]) -> Any:
    name, params, fitted = inner
    kind = _class_in(_OBJECTS, name, "A saved object must be one of")
    if unknown := set(params) - set(kind._get_param_names()):
        raise PersistenceError(
            f"This version's {kind.__name__} has no parameter {', '.join(sorted(unknown))}."
        )
    thing = kind(**{k: decode(v, tensors) for k, v in params.items()})
    set_fitted(thing, {k: decode(v, tensors) for k, v in fitted.items()})
    return thing


def _model(inner: Any, tensors: MutableMapping[str, np.ndarray]) -> SavedModel:
    name, content, places = inner
    content = decode(content, tensors)
    if type(name) is not str or not isinstance(content, dict):
        raise ValueError("a model without a class or content")
    return SavedModel(name, content, {k: tensors.pop(place) for k, place in places.items()})


_DECODERS = {
    "$array": _array,
    "$scalar": _scalar,
    "$dict": _dict,
    "$object": _object,
    "$model": _model,
    "$sklearn": lambda inner, tensors: transformer_from_bytes(tensors.pop(inner)),
    "$float": lambda inner, _: _FLOATS[inner],
    "$path": lambda inner, _: Path(inner),
    "$tensor": lambda inner, tensors: np.array(tensors.pop(inner)),
    "$tuple": lambda inner, tensors: tuple([decode(item, tensors) for item in inner]),
}

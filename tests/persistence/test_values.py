"""Values through JSON: the same value, of the same type."""

import io
import json
import math
import os
import pathlib
import zipfile

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from sksve import PersistenceError
from sksve.persistence import decode, dumps, encode, loads


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        equal = a.dtype == b.dtype and a.shape == b.shape
        return equal and all(same(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items())
        return len(a) == len(b) and all(same(x, y) for x, y in pairs)  # in order, too
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and same(a.item(), b.item())
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    return a == b


def through_json(value, tensors=None):
    return decode(loads(dumps(encode(value, name="it", tensors=tensors)).encode()), tensors)


DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.unicode_string_dtypes(endianness="?", max_len=5)
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
ARRAYS = DTYPES.flatmap(lambda d: hnp.arrays(d, SHAPES))
SCALARS = DTYPES.flatmap(lambda d: hnp.arrays(d, 1)).map(lambda a: a[0])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | SCALARS | ARRAYS
    | st.just(pathlib.Path("some/where"))
)  # fmt: skip
KEYS = (
    st.text() | st.integers() | st.booleans() | st.just("$tuple") | SCALARS.filter(lambda s: s == s)
)
VALUES = st.recursive(
    LEAVES,
    lambda v: (
        st.lists(v, max_size=3)
        | st.lists(v, max_size=3).map(tuple)
        | st.dictionaries(KEYS, v, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(VALUES)
def test__round_trip(value):
    assert same(through_json(value), value)


def test__round_trip__tells_types_apart():
    assert not same(1, 1.0)
    assert not same(1, True)
    assert not same(np.float64(0.5), 0.5)
    assert not same((1,), [1])


@pytest.mark.parametrize(
    "classes",
    [
        np.array(["neg", "pos"]),
        np.array([0, 1]),
        np.array([0, 1], dtype=np.uint8),
        np.array([0.5, 1.5]),
        np.array([False, True]),
        np.array(["neg", "pöß"], dtype=object),
    ],
    ids=["str", "int", "uint8", "float", "bool", "object"],
)
def test__round_trip__of_classes(classes):
    assert same(through_json(classes), classes)


def test__large_arrays_go_among_the_tensors():
    tensors = {}
    value = {"big": np.arange(300.0).reshape(2, 150), "small": np.arange(3.0)}
    encoded = encode(value, name="it", tensors=tensors)
    assert encoded["big"] == {"$tensor": "it.big"}
    assert list(tensors) == ["it.big"]
    assert same(decode(encoded, tensors), value)


class Ours:
    pass


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, Ours()]}, r"^it\.a\[1\] is an object of class .*Ours"),
        (np.random.default_rng(0), "Generator"),
        (len, "builtin_function_or_method"),
        ({1, 2}, "builtins.set"),
        (np.array([1j]), "complex128"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
        (np.longdouble(1), "dtype"),
        (np.array([[1], None], dtype=object), "array of containers"),
        (np.array([Ours()], dtype=object), "Ours"),
        ({Ours(): 1}, "a key of it is an object"),
    ],
    ids=[
        "inside", "generator", "function", "set", "complex", "date", "longdouble", "containers",
        "objects", "key",
    ],
)  # fmt: skip
def test__encode__names_what_cannot_be_held(value, words):
    with pytest.raises(PersistenceError, match=words):
        encode(value, name="it")


@pytest.mark.parametrize(
    "value",
    [
        {"$eval": "1"},
        {"$tuple": [1], "more": 1},
        {"$array": ["<i8", [2], [1]]},
        {"$array": ["<i8", [1], [1.5]]},
        {"$array": ["<i8", [1], [True]]},
        {"$array": ["|i1", [1], [300]]},
        {"$array": ["<U1", [1], ["ab"]]},
        {"$array": ["O8,V", [1], [1]]},
        {"$array": ["<i8", [-1], []]},
        {"$array": "x"},
        {"$scalar": ["|O", 1]},
        {"$float": "1"},
        {"$dict": [[1]]},
        {"$dict": [[[1], 2]]},
        {"$path": 3},
        {"$tensor": "absent"},
        {"$object": ["os.system", {}, {}]},
        {"$object": ["TemperatureScaling", {"unheard_of": 1}, {}]},
        {"$object": ["TemperatureScaling", {}, {"fit": 1}]},
        {"$object": ["TemperatureScaling", [], 1]},
        {"$object": 3},
        {"$model": ["SVEClassifier", 1, {}]},
        {"$model": [1, {}, {}]},
        {"$model": ["SVEClassifier", {}, {"x": "absent"}]},
    ],
    ids=lambda value: str(value).replace("/", "_")[:40],
)
def test__decode__refuses_what_encode_never_makes(value):
    with pytest.raises(PersistenceError):
        decode({"inside": [value]})


# -- strict JSON: what Python's own reader would let pass is refused ------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(PLAIN)
def test__json__round_trip(value):
    again = loads(dumps(value).encode())
    assert again == value
    assert repr(again) == repr(json.loads(json.dumps(value, sort_keys=True)))  # 1 is not 1.0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": [Infinity]}', "Infinity is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e999]", "1e999 is too large"),
        (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' stands twice"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "the key 'a' stands twice"),
        (b'{"a": 1', "strict JSON"),
        (b'{"a": 1} {"a": 1}', "strict JSON"),
        (b"", "strict JSON"),
        (b'"\xff"', "strict JSON"),
        (b"\xef\xbb\xbf{}", "strict JSON"),
        ('{"a": 1}'.encode("utf-16"), "strict JSON"),
        (b"[" * 200_000, "strict JSON"),
        (b"9" * 10_000, "strict JSON"),
    ],
    ids=[
        "nan", "inf", "-inf", "huge float", "twice", "twice by escape", "cut", "two values", "empty",
        "no utf-8", "bom", "utf-16", "deep", "huge int",
    ],
)  # fmt: skip
def test__json__loads__refuses(data, words):
    with pytest.raises(PersistenceError, match=words):
        loads(data, name="here")


def test__json__dumps__refuses_nan():
    with pytest.raises(ValueError):
        dumps([float("nan")])


def test__transformers__of_sklearn_go_through_skops():
    table = np.array([["a", 1.0], ["b", 2.0]], dtype=object)
    encoder = OneHotEncoder().fit(table)
    tensors = {}
    saved = encode(encoder, name="encoder", tensors=tensors)
    again = decode(saved, dict(tensors))
    np.testing.assert_array_equal(
        again.transform(table).toarray(), encoder.transform(table).toarray()
    )
    with pytest.raises(PersistenceError, match="cannot be read"):
        decode(saved, {"encoder": tensors["encoder"][:-20]})
    strange = skops.io.dumps(FunctionTransformer(os.system))
    with pytest.raises(PersistenceError, match=r"cannot be read.*posix\.system"):
        decode(saved, {"encoder": np.frombuffer(strange, dtype=np.uint8)})
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 2**28)
    with pytest.raises(PersistenceError, match="would unpack to more"):
        decode(saved, {"encoder": np.frombuffer(bomb.getvalue(), dtype=np.uint8)})
    with pytest.raises(PersistenceError, match="skops does not trust"):
        encode(FunctionTransformer(os.system), name="f", tensors={})

"""Strict JSON: what Python's own reader would let pass is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksve import PersistenceError
from sksve.persistence import dumps, loads

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(PLAIN)
def test__round_trip(value):
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
def test__loads__refuses(data, words):
    with pytest.raises(PersistenceError, match=words):
        loads(data, name="here")


def test__dumps__refuses_nan():
    with pytest.raises(ValueError):
        dumps([float("nan")])

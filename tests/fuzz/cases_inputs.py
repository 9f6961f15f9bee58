"""Reading texts, tables and images, writing tables as texts, and saved folders."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sksve import NoveltyDetector, inputs, persistence, preprocessing
from tests.fuzz.harness import Source, attempt, fuzz
from tests.fuzz.values import junk
from tests.fuzz.values_rows import pick_texts, tables

KINDS = {"text", "text_column", "text_pair", "table", "image"}


def any_input(source: Source, n: int) -> tuple[Any, bool]:
    kind = source.int(0, 4)
    if kind == 0:
        return junk(source), False
    if kind == 1:
        return tables(source, n), False
    if kind == 2:
        return images(source, n), False
    return pick_texts(source, n)


def images(source: Source, n: int) -> Any:
    rng = source.rng
    makers: dict[str, Any] = {
        "grey": lambda: rng.integers(0, 256, (n, 28, 28)).astype(np.uint8),
        "colour": lambda: rng.integers(0, 256, (n, 28, 28, 3)).astype(np.uint8),
        "list": lambda: [rng.integers(0, 256, (9 + i, 12, 3)).astype(np.uint8) for i in range(n)],
        "floats": lambda: rng.random((n, 28, 28)),
        "nan": lambda: np.full((n, 8, 8), np.nan),
        "int64": lambda: rng.integers(0, 256, (n, 8, 8)),
        "four-channels": lambda: np.zeros((n, 8, 8, 4), np.uint8),
        "channels-first": lambda: np.zeros((n, 3, 8, 8), np.uint8),
        "no-rows": lambda: np.zeros((0, 8, 8), np.uint8),
        "no-pixels": lambda: np.zeros((n, 0, 8), np.uint8),
        "one-pixel": lambda: np.zeros((n, 1, 1), np.uint8),
        "five-d": lambda: np.zeros((n, 2, 2, 2, 2), np.uint8),
        "mixed": lambda: [np.zeros((8, 8), np.uint8)] * (n - 1) + [None],
        "paths": lambda: [Path("no/such/picture.png")] * n,
        "folder": lambda: [Path(".")] * n,
        "nul-path": lambda: [Path("a\0b.png")] * n,
        "objects": lambda: np.full((n, 8, 8), None),
        "bools": lambda: np.zeros((n, 8, 8), bool),
        "readonly": lambda: np.broadcast_to(np.uint8(7), (n, 8, 8)),
        "pil": lambda: [_pil("RGB")] * n,
        "pil-palette": lambda: [_pil("P")] * n,
        "pil-float": lambda: [_pil("F")] * n,
        "pil-16": lambda: [_pil("I;16")] * n,
    }
    return source.build(makers)


def _pil(mode: str) -> Any:
    from PIL import Image

    return Image.new(mode, (8, 9))


# -- preprocessing -------------------------------------------------------------------------------

_PARAMETERS = (
    "template", "separator", "columns", "names", "humanize", "text_columns", "digits", "missing",
)  # fmt: skip
_GOOD = {
    "template": ["{name} is {value}.", "{value:>4}", "{value}{{}}"],
    "separator": ["", "\n", "\0"],
    "columns": [[0], [2, 0], [-1], ["a"], np.array([1])],
    "names": [["x", "y", "z"], {"a": "age"}, {"x0": "n"}],
    "humanize": [False],
    "text_columns": [[0], []],
    "digits": [1, 17, np.int64(3)],
    "missing": ["none", ""],
}


@fuzz("preprocessing.TabularToText", share=2)
def tabular(source: Source, world: Any) -> None:
    made = preprocessing.TabularToText()
    for _ in range(source.int(0, 2)):
        key = source.one_of(_PARAMETERS)
        made.set_params(**{key: junk(source) if source.seldom(2) else source.one_of(_GOOD[key])})
    n = source.int(1, 6)
    X = junk(source) if source.seldom(8) else tables(source, n)
    before = dict(vars(made))
    done, _ = attempt(made.fit, X)
    if not done:
        left = {k for k in vars(made) if k not in before}
        assert not [k for k in left if k not in {"n_features_in_", "feature_names_in_"}], left
        return
    if source.seldom():
        X = junk(source) if source.seldom(2) else tables(source, n)
    done, found = attempt(made.transform, X, watch=(made,))
    if done:
        assert isinstance(found, np.ndarray)
        assert found.ndim == 1
        assert found.dtype == object
        assert all(type(text) is str for text in found)
        assert len(found) == len(X)


@fuzz("NoveltyDetector", "estimators.NoveltyDetector", share=0.3)
def detector(source: Source, world: Any) -> None:
    made = NoveltyDetector(world.tiny(), max_length=24)
    if source.seldom(2):
        made.set_params(
            **{source.one_of(sorted(set(made.get_params()) - {"backbone"})): junk(source)}
        )
    done, _ = attempt(made.fit, any_input(source, source.int(1, 5))[0])
    if done:
        X = any_input(source, source.int(1, 5))[0]
        done, found = attempt(made.novelty_score, X, watch=(made,))
        if done:
            assert found.shape == (len(X),)
            assert ((found >= 0) & (found <= 1)).all()


@fuzz("preprocessing.BackboneFeatures", share=0.5)
def features(source: Source, world: Any) -> None:
    made = preprocessing.BackboneFeatures(world.tiny(), max_length=24)
    if source.seldom(2):
        names = ["normalize", "batch_size", "max_length", "long_texts", "serializer", "precision"]
        name = source.one_of(names)
        made.set_params(**{name: junk(source)})
    X = any_input(source, source.int(1, 5))[0]
    done, _ = attempt(made.fit, X)
    if done:
        X = any_input(source, source.int(1, 5))[0] if source.seldom() else X
        done, found = attempt(made.transform, X, watch=(made,))
        if done:
            assert found.shape == (len(X), 16)
            assert np.isfinite(found).all()


# -- inputs --------------------------------------------------------------------------------------


@fuzz("inputs.read_rows", "inputs.CheckedRows", share=3)
def rows(source: Source, world: Any) -> None:
    n = source.int(1, 5)
    X, _good = any_input(source, n)
    pairs = source.seldom()
    if pairs:
        first, second = pick_texts(source, n)[0], pick_texts(source, n)[0]
        if isinstance(first, list) and isinstance(second, list):
            X = list(zip(first, second))
            X = pd.DataFrame(X) if source.seldom(2) and X else X
    done, found = attempt(inputs.read_rows, X, pairs=pairs, paths=source.seldom(8))
    if not done:
        return
    assert found.kind in KINDS
    assert len(found) >= 1
    assert not pairs or found.kind == "text_pair"
    if found.kind.startswith("text"):
        for text in (text for row in found.rows for text in (row if pairs else [row])):
            assert type(text) is str
            text.encode()
    attempt(found.for_backbone, "name", vision=source.seldom(2))


@fuzz("inputs.tokenize", "inputs.tokenize_pairs", "inputs.tokenize_windows", share=0.5)
def tokens(source: Source, world: Any) -> None:
    n = source.int(1, 4)
    X, good = pick_texts(source, n, one_in=100)
    if not good:
        return
    texts = inputs.read_rows(X).rows
    length = source.int(5, 40)
    tokenizer = world.tokenizer()
    if world.name == "tokenize_pairs":
        done, found = attempt(inputs.tokenize_pairs, tokenizer, list(zip(texts, texts)), length)
        found = found[0] if done else None
    elif world.name == "tokenize_windows":
        done, found = attempt(inputs.tokenize_windows, tokenizer, texts, length)
        for ids, numbers in zip(*found):
            assert len(ids) == len(numbers)
            assert np.isin(np.diff(numbers), (0, 1)).all()
            assert max(map(numbers.count, numbers)) <= length
        return
    else:
        done, found = attempt(inputs.tokenize, tokenizer, texts, length)
    assert done
    assert len(found) == n
    assert all(1 <= len(row) <= length and all(type(t) is int for t in row) for row in found)


@fuzz("inputs.check_max_length", share=0.2)
def small_checks(source: Source, world: Any) -> None:
    attempt(inputs.check_max_length, source.int(1, 99), source.one_of([None, 1, 50]), "name")


# -- persistence ---------------------------------------------------------------------------------


def nested(source: Source, depth: int = 0) -> Any:
    kind = source.int(0, 6 if depth < 3 else 2)
    if kind <= 2:
        return junk(source)
    if kind == 3:
        return [nested(source, depth + 1) for _ in range(source.int(0, 3))]
    if kind == 4:
        return tuple(nested(source, depth + 1) for _ in range(source.int(0, 3)))
    if kind == 5:
        keys = [k for k in ("a", "$b", 1, None, (1,), "\ud800") if source.seldom(2)]
        return {k: nested(source, depth + 1) for k in keys}
    arrays = [np.arange(3), np.array(["a", "b"]), np.array([1.5, np.nan]), np.zeros((0, 2))]
    arrays += [np.array([None, "x"], dtype=object), np.array(["2020"], "M8[D]"), np.ones(2, ">f4")]
    return source.one_of(arrays)


@fuzz("persistence.encode", "persistence.decode", share=2)
def values(source: Source, world: Any) -> None:
    given = nested(source)
    done, told = attempt(persistence.encode, given, name="x")
    if not done:
        return
    # A lone surrogate is no UTF-8, but JSON writes it as an escape; so does ours.
    text = persistence.dumps({"v": told})
    again = persistence.decode(persistence.loads(text.encode())["v"])
    assert _same(again, given), (again, given)


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and repr(a.tolist()) == repr(b.tolist())
    if isinstance(b, Path):
        return Path(a) == b
    if type(a) is not type(b):
        return False
    if isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(b, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in b)
    return (
        a == b or (isinstance(b, float) and math.isnan(a) and math.isnan(b)) or repr(a) == repr(b)
    )


#: What a stranger may write in the place of a value.
_MARKS = (
    "$tuple", "$float", "$dict", "$scalar", "$array", "$tensor", "$path", "$object", "$model",
    "$nothing", "a",
)  # fmt: skip
_LEAVES = (
    None, True, -1, 0, 1.5, "nan", "x", "|O", "<f8", "<f999999999", "<U999999999", "<i8", "|b1", "<U3",
    10**30, -(10**400), "../x", "\0",
)  # fmt: skip


def wild(source: Source, depth: int = 0) -> Any:
    kind = source.int(0, 4 if depth < 4 else 0)
    if kind == 0:
        return source.one_of(_LEAVES)
    if kind == 1:
        return [wild(source, depth + 1) for _ in range(source.int(0, 3))]
    if kind == 2:
        return [source.one_of(_LEAVES[7:14]), [source.int(0, 3)], [wild(source, depth + 1)]]
    mark = source.one_of(_MARKS)
    told = {mark: wild(source, depth + 1)}
    if source.seldom(6):
        told["b"] = 1
    return told


@fuzz("persistence.set_fitted", share=2)
def strangers(source: Source, world: Any) -> None:
    name = source.one_of(["a_", "fit", "__class__", "_seed", "a b", "", "\ud800", "get_params"])
    made = preprocessing.TabularToText()
    done, _ = attempt(lambda: persistence.set_fitted(made, {name: 1}))  # not watched: it changes
    assert done == (name == "a_")
    attempt(persistence.decode, wild(source), strict=False)
    told = [
        source.one_of(["TabularToText", "os.system", None, 3, ["x"]]),
        {"digits": wild(source)} if source.seldom(2) else wild(source),
        {source.one_of(["x_", "fit", "__dict__"]): wild(source)}
        if source.seldom(2)
        else wild(source),
    ]
    attempt(persistence.decode, {source.one_of(["$object", "$model"]): told}, strict=False)
    made = preprocessing.TabularToText(**{source.one_of(_PARAMETERS): junk(source)})
    done, told = attempt(persistence.encode, made, name="serializer")
    if done:
        assert repr(persistence.decode(told).get_params()) == repr(made.get_params())


@fuzz("persistence.dumps", "persistence.loads")
def strict_json(source: Source, world: Any) -> None:
    if world.name == "dumps":
        attempt(
            persistence.dumps, {"a": source.one_of([1, 1.5, math.nan, math.inf, "\ud800", None])}
        )
        return
    data = source.one_of(
        [b"", b"{", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff\xfe", b"1e999", b"-Infinity",
         b"\xef\xbb\xbf{}", b"9" * 5000, b'"\\ud800"', b"null", b"{}", b'{"a":' * 5000 + b"1" + b"}" * 5000]
    )  # fmt: skip
    attempt(persistence.loads, data)
    cut = json.dumps(wild(source)).encode()
    attempt(persistence.loads, cut[: source.int(0, len(cut))])


@fuzz("persistence.class_named", share=0.5)
def small(source: Source, world: Any) -> None:
    name = source.one_of(
        ["SVEClassifier", "os.system", "sksve.SVEClassifier", "../x", "__import__"]
    )
    attempt(persistence.class_named, junk(source) if source.seldom(2) else name)


@fuzz("persistence.write_folder", "persistence.read_folder", "persistence.SavedModel", share=0.5)
def folders(source: Source, world: Any) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        tensors = {source.one_of(["x", "", "../x", "a" * 300, "\u00fc"]): np.arange(4.0)}
        saved = persistence.SavedModel("Any", {"v": source.int(0, 9)}, tensors)
        done, _ = attempt(persistence.write_folder, folder, saved, card="\ud800", also=(OSError,))
        if not done:
            assert not folder.exists()
            return
        files = sorted(p for p in folder.iterdir() if p.name != "README.md")
        path = source.one_of(files)
        before = path.read_bytes()
        data = bytearray(before)
        action = source.one_of(["none", "flip", "cut", "grow", "empty", "remove"])
        at = source.int(0, len(data) - 1)
        if action == "flip":
            data[at] ^= 1 << source.int(0, 7)
        data = {"cut": data[:at], "grow": data + b"x", "empty": data[:0]}.get(action, data)
        if action == "remove":
            os.remove(path)
        else:
            path.write_bytes(data)
        done, found = attempt(persistence.read_folder, folder)
        # Of the manifest, the last line's end may go: what it says is hashed, not its blanks.
        nothing_lost = action == "cut" and path.name == "sksve.json" and not before[at:].strip()
        assert done == (action == "none" or nothing_lost), action
        if done:
            assert found.content == saved.content

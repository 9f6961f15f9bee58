"""A stranger's saved model. They can seal what they have written: hashes are no proof against them."""

import json
import os
import pickle
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import save

from sksve import PersistenceError, SVEClassifier
from sksve.backbones import make_tiny_backbone
from sksve.persistence import dumps, read_folder
from sksve.preprocessing import TabularToText
from tests.persistence.manifest import put, reseal

MIB = 2**20


@pytest.fixture(scope="module")
def tiny():
    return make_tiny_backbone()


@pytest.fixture(scope="module")
def fitted(tiny):
    clf = SVEClassifier(tiny, n_members=2, max_epochs=1, side_features=None, random_state=0)
    return clf.fit([[1, "a"], [2, "b"], [3, "a"], [4, "b"]], [0, 1, 0, 1])


@pytest.fixture
def folder(fitted, tmp_path):
    return fitted.save_pretrained(tmp_path / "model")


def load(folder, tiny):
    return SVEClassifier.from_pretrained(folder, backbone=tiny)


@contextmanager
def lean(mib=64, seconds=20):
    """What a small file asks for must not take much memory or time."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < mib * MIB, f"{peak / MIB:.0f} MiB"
    assert time.process_time() - start < seconds


def test_reseal__an_honest_one_loads(folder, fitted, tiny):
    reseal(folder)
    X = [[1, "a"], [5, "b"]]
    np.testing.assert_array_equal(load(folder, tiny).predict_proba(X), fitted.predict_proba(X))


def test_lean__can_fail():
    with pytest.raises(AssertionError, match="MiB"), lean():
        np.ones(100 * MIB, dtype=np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        "../members-0123456789abcdef.safetensors",
        "/etc/passwd",
        "..\\members-0123456789abcdef.safetensors",
        "sub/members-0123456789abcdef.safetensors",
        "members-0123456789abcdef.safetensors\0",
        "members-0123456789abcdef.safetensors\n",
        "MEMBERS-0123456789ABCDEF.safetensors",
        "README.md",
        "",
        None,
        ["members-0123456789abcdef.safetensors"],
    ],
)
def test_names__nothing_but_the_folder_is_opened(name, folder, tiny):
    outside = folder.parent / "members-0123456789abcdef.safetensors"
    outside.write_bytes(save({"x": np.zeros(3)}))
    reseal(folder, lambda m: m["tensors"].update(file=name))
    with pytest.raises(PersistenceError, match="Nothing else is opened"):
        load(folder, tiny)


class Ill:
    def __reduce__(self):
        return os.mkdir, ("done",)


def test_pickle__in_disguise_is_not_run(folder, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reseal(folder, tensors=pickle.dumps(Ill()))
    with pytest.raises(PersistenceError, match="cannot be read"):
        load(folder, tiny)
    assert not (tmp_path / "done").exists()
    (folder / "sksve.json").write_bytes(pickle.dumps(Ill()))
    with pytest.raises(PersistenceError, match="no strict JSON"):
        load(folder, tiny)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "name", ["Pipeline", "os.system", "sksve.SVEClassifier", "__class__", "LinearProbeClassifier"]
)
def test_classes__outside_the_registry(name, folder, tiny):
    reseal(folder, lambda m: m.update({"class": name}))
    with pytest.raises(PersistenceError, match="holds a"):
        load(folder, tiny)


def test_classes__of_a_serializer(folder, tiny):
    reseal(folder, put(("content", "serializer", "fitted", "$object", 0), "Popen"))
    with pytest.raises(PersistenceError, match="must be one of TabularToText"):
        load(folder, tiny)
    reseal(folder, put(("content", "serializer", "fitted", "$object", 0), "TemperatureScaling"))
    with pytest.raises(PersistenceError, match="TemperatureScaling has no parameter"):
        load(folder, tiny)


def header(told):
    data = json.dumps(told).encode()
    return len(data).to_bytes(8, "little") + data


LIES = {
    "a-terabyte": header({"x": {"dtype": "F64", "shape": [2**37], "data_offsets": [0, 8]}})
    + b"8bytes..",
    "overflow": header({"x": {"dtype": "F64", "shape": [2**62, 8], "data_offsets": [0, 8]}})
    + b"8bytes..",
    "offsets-outside": header({"x": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}})
    + b"8bytes..",
    "offsets-backwards": header({"x": {"dtype": "U8", "shape": [0], "data_offsets": [8, 0]}})
    + b"8bytes..",
    "overlap": header(
        {
            "x": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
            "y": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
        }
    )
    + b"8bytes..",
    "header-of-an-exabyte": (2**60).to_bytes(8, "little") + b"{}",
    "negative-shape": header({"x": {"dtype": "U8", "shape": [-8], "data_offsets": [0, 8]}})
    + b"8bytes..",
    "no-dtype": header({"x": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 8]}}) + b"8bytes..",
    "nothing": b"",
    "deep": header([]) + b"[" * 10_000,
}


@pytest.mark.parametrize("lie", LIES)
def test_tensors__whose_header_lies(lie, folder, tiny):
    reseal(folder, tensors=LIES[lie])
    with lean(), pytest.raises(PersistenceError, match="cannot be read"):
        load(folder, tiny)


def nest(depth, mark=None):
    value = 1
    for _ in range(depth):
        value = [value] if mark is None else {mark: [value]}
    return value


def _attribute(value):
    return lambda m: m["content"]["attributes"].update(extra_=value)


CLAIMS = {
    "members": lambda m: m["content"].update(members=list(range(10**5))),
    "members-twice": lambda m: m["content"].update(members=[0, 0]),
    "members-huge": lambda m: m["content"].update(members=[0, 10**30]),
    "classes": lambda m: m["content"]["attributes"].update(
        classes_={"$array": ["<i8", [10**5], list(range(10**5))]}
    ),
    "wide-strings": _attribute({"$array": ["<U999999999", [1], ["a"]]}),
    "wide-scalar": _attribute({"$scalar": ["<U999999999", "a"]}),
    "empty-but-wide": _attribute({"$array": ["<f8", [10**15, 2], []]}),
    "shape-overflow": _attribute({"$array": ["<f8", [2**62, 2**62], [1.0]]}),
    "tensor-elsewhere": _attribute({"$tensor": "../../x"}),
    "deep": _attribute(nest(900)),
    "deep-tuples": _attribute(nest(300, "$tuple")),
    "unknown-mark": _attribute({"$call": ["os.system", "true"]}),
    "hides-a-method": lambda m: m["content"]["attributes"].update(fit=1),
    "hides-the-class": lambda m: m["content"]["attributes"].update(__class__="x"),
    "hides-the-net": lambda m: m["content"]["attributes"].update(net_=1),
    "parameter": lambda m: m["content"]["parameters"].update(os="x"),
    "rank": lambda m: m["content"]["settings"].update(rank="os.system"),
    "backbone-list": lambda m: m["content"].update(backbone=[]),
    "settings": lambda m: m["content"]["settings"].update(os="x"),
    "nothing": lambda m: m["content"].clear(),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_manifest__claims_are_refused_before_they_cost(claim, folder, tiny):
    if claim.startswith("deep"):  # as they would be written by hand
        reseal_by_hand(folder, CLAIMS[claim])
        with pytest.raises(PersistenceError, match=r"nested|strict JSON"):
            load(folder, tiny)
        return
    reseal(folder, CLAIMS[claim])
    with lean(mib=200), pytest.raises(ValueError, match=r"\w") as raised:
        load(folder, tiny)
    assert type(raised.value).__module__.startswith("sksve") or "parameter" in str(raised.value)


def reseal_by_hand(folder, change):
    """As `reseal`, for what Python's own writer cannot write."""
    manifest = json.loads((folder / "sksve.json").read_text())
    change(manifest)
    value = manifest["content"]["attributes"].pop("extra_")
    depth, opening, closing = (
        (900, "[", "]") if isinstance(value, list) else (300, '{"$tuple": [', "]}")
    )
    manifest["content"]["attributes"]["extra_"] = "HERE"
    text = dumps(manifest).replace('"HERE"', opening * depth + "1" + closing * depth)
    (folder / "sksve.json").write_text(text)


@pytest.mark.parametrize(
    "template",
    [
        "{value:>99999999999}",
        "{value:>1000000000}",
        "{value.__class__}",
        "{name[0]}",
        "{value!r:{name}}",
    ],
)
def test_template__of_a_loaded_serializer(template, folder, tiny):
    for part in ("fitted", "parameter"):
        try:
            place = ("content", "serializer", part, "$object", 1, "template")
            reseal(folder, put(place, template))
        except TypeError:
            continue  # there is none
    with lean(), pytest.raises(ValueError, match="template"):
        load(folder, tiny).predict([[1, "a"]])


def test_template__given_by_a_user():
    with lean(), pytest.raises(ValueError, match="at most 9999 wide"):
        TabularToText(template="{value:>1000000000}").fit([[1]])


# -- files that are none -------------------------------------------------------------------------

needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")


@needs_fifo
@pytest.mark.parametrize("which", ["sksve.json", "tensors"])
def test_pipe__is_not_waited_for(which, folder, tiny):
    path = folder / "sksve.json" if which == "sksve.json" else next(folder.glob("members-*"))
    if which == "tensors":
        reseal(folder, lambda m: m["tensors"].update(bytes=0))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PersistenceError, match="no regular file"):
        load(folder, tiny)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="the system has no /dev/zero")
def test_device__is_not_read(folder, tiny):
    (folder / "sksve.json").unlink()
    (folder / "sksve.json").symlink_to("/dev/zero")
    with lean(), pytest.raises(PersistenceError, match="no regular file"):
        load(folder, tiny)


def test_huge_manifest__is_not_read_whole(folder, tiny):
    with open(folder / "sksve.json", "wb") as file:
        file.truncate(2**33)  # sparse: takes no space on the disk
    with lean(), pytest.raises(PersistenceError, match="at most"):
        load(folder, tiny)


def test_links__nothing_outside_is_overwritten_by_a_save(folder, fitted, tmp_path):
    """A folder whose files are links to the victim's own: they are replaced, not followed."""
    target = tmp_path / "precious"
    target.write_text("mine")
    for name in ("README.md", "sksve.json"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        (tmp_path / f"elsewhere-{name}").write_bytes(kept)
        (folder / name).symlink_to(tmp_path / f"elsewhere-{name}")
    before = (tmp_path / "elsewhere-README.md").read_bytes()
    (folder / "members-aaaaaaaaaaaaaaaa.safetensors").symlink_to(target)
    fitted.save_pretrained(folder)
    assert target.read_text() == "mine"
    assert (tmp_path / "elsewhere-README.md").read_bytes() == before
    assert not (folder / "README.md").is_symlink()
    read_folder(folder)


def test_links__of_a_hub_cache_are_followed(folder, fitted, tiny, tmp_path):
    """huggingface_hub keeps files elsewhere and links to them."""
    for path in list(folder.iterdir()):
        path.rename(tmp_path / f"blob-{path.name}")
        path.symlink_to(tmp_path / f"blob-{path.name}")
    X = [[1, "a"]]
    np.testing.assert_array_equal(load(folder, tiny).predict_proba(X), fitted.predict_proba(X))

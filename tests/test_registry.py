"""The registry client against real pip and archives made here: no network is used."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from sksve import FetchError, IntegrityError
from tests.fetching import skip_without_registry
from tests.private import cache_folder, fetch_package, registry, sha256_of

# SHA-256 of b"abc": the first test vector of FIPS 180-2, appendix B.1.
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

# A build backend that lives in the sdist itself, so that pip needs nothing else; it leaves a mark.
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import os, pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    pathlib.Path(os.environ["SKSVE_TEST_MARK"]).write_text("ran")
    info = pathlib.Path(folder, "sksve_toy-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: sksve-toy\\nVersion: 1.0\\n")
    return info.name
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise AssertionError("a wheel is never built")
"""


def make_wheel(folder):
    path = folder / "sksve_toy-1.0-py3-none-any.whl"
    info = "sksve_toy-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sksve_toy/data.txt", "the payload")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: sksve-toy\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def make_sdist(folder):
    path = folder / "sksve_toy-1.0.tar.gz"
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: sksve-toy\nVersion: 1.0\n",
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"sksve_toy-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that is pip's only index, and an empty cache."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SKSVE_TEST_MARK", str(tmp_path / "mark"))
    return shelf


def no_pip(*args):
    raise AssertionError("pip must not run")


def files_below(folder):
    return sorted(p.name for p in Path(folder).rglob("*") if p.is_file())


def test_sha256_of__a_published_vector(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_of(path) == SHA256_OF_ABC


def test_cache_folder__is_the_variable_or_the_platforms(monkeypatch):
    monkeypatch.setenv("SKSVE_CACHE", os.path.join("~", "mine"))
    assert cache_folder() == Path.home() / "mine"
    monkeypatch.delenv("SKSVE_CACHE")
    assert cache_folder().name == "sksve"
    assert cache_folder().is_absolute()


def test_fetch_package__a_wheel_is_downloaded_once(shelf, monkeypatch):
    wheel = make_wheel(shelf)
    first = fetch_package("sksve-toy", "1.0", sha256=sha256_of(wheel))
    assert first.read_bytes() == wheel.read_bytes()
    assert first.is_relative_to(cache_folder() / "packages")
    assert files_below(cache_folder()) == [wheel.name], "only the archive stays"
    monkeypatch.setattr(registry, "_run_pip", no_pip)
    assert fetch_package("SKSVE_toy", "1.0", sha256=sha256_of(wheel)) == first


def test_fetch_package__wheel_and_sdist_stand_side_by_side(shelf, tmp_path):
    wheel, sdist = make_wheel(shelf), make_sdist(shelf)
    paths = {
        kind: fetch_package("sksve-toy", "1.0", sha256=sha256_of(source), kind=kind)
        for kind, source in (("wheel", wheel), ("sdist", sdist))
    }
    assert paths["sdist"].read_bytes() == sdist.read_bytes()
    assert paths["wheel"].read_bytes() == wheel.read_bytes()
    assert (tmp_path / "mark").exists(), "pip runs the sdist's build script for its metadata"


@pytest.mark.parametrize(("kind", "make"), [("wheel", make_wheel), ("sdist", make_sdist)])
def test_fetch_package__a_wrong_hash_is_refused_before_anything_runs(shelf, tmp_path, kind, make):
    got = sha256_of(make(shelf))
    with pytest.raises(IntegrityError, match="must have the SHA-256 " + "0" * 64) as caught:
        fetch_package("sksve-toy", "1.0", sha256="0" * 64, kind=kind)
    assert got in str(caught.value), "the message shows the hash that came"
    assert not (tmp_path / "mark").exists()
    assert files_below(cache_folder()) == []


def test_fetch_package__does_not_rely_on_pips_check(shelf, monkeypatch):
    wheel = make_wheel(shelf)
    monkeypatch.setattr(registry, "_run_pip", lambda *args: wheel)
    with pytest.raises(IntegrityError, match="Got " + sha256_of(wheel)):
        fetch_package("sksve-toy", "1.0", sha256="0" * 64)
    assert wheel.exists()
    assert files_below(cache_folder()) == []


def test_fetch_package__a_damaged_archive_is_seen_and_replaced(shelf):
    wheel = make_wheel(shelf)
    cached = fetch_package("sksve-toy", "1.0", sha256=sha256_of(wheel))
    cached.write_bytes(cached.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="does not have the SHA-256") as seen:
        again = fetch_package("sksve-toy", "1.0", sha256=sha256_of(wheel))
    assert str(cached) in str(seen[0].message)
    assert again.read_bytes() == wheel.read_bytes()


def test_fetch_package__a_damaged_archive_is_not_used_when_download_is_forbidden(shelf):
    wheel = make_wheel(shelf)
    cached = fetch_package("sksve-toy", "1.0", sha256=sha256_of(wheel))
    cached.write_bytes(b"not it")
    with pytest.raises(FetchError, match="damaged"):
        fetch_package("sksve-toy", "1.0", sha256=sha256_of(wheel), download_if_missing=False)


def test_fetch_package__unreachable_registry_tells_what_pip_said_and_the_cure(shelf):
    with pytest.raises(FetchError) as caught:
        fetch_package("sksve-toy", "1.0", sha256="0" * 64)
    message = str(caught.value)
    assert "No matching distribution found for sksve-toy==1.0" in message
    assert "pip download --no-deps --only-binary sksve-toy sksve-toy==1.0" in message
    assert f"put the archive into {cache_folder() / 'packages' / 'sksve-toy-1.0'}" in message


def test_fetch_package__the_cure_works(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_run_pip", no_pip)
    home = cache_folder() / "packages" / "sksve-toy-1.0"
    home.mkdir(parents=True)
    put = make_wheel(home)
    assert fetch_package("sksve-toy", "1.0", sha256=sha256_of(put)) == put


def test_fetch_package__missing_and_not_allowed_is_an_oserror(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_run_pip", no_pip)
    with pytest.raises(OSError, match="not in the cache and download_if_missing is False"):
        fetch_package("a", "1", sha256="0" * 64, folder=tmp_path, download_if_missing=False)
    assert list(tmp_path.iterdir()) == []


def test_fetch_package__a_folder_named_pip_here_is_not_run(shelf, tmp_path, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").write_text("")
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    wheel = make_wheel(shelf)
    assert fetch_package("sksve-toy", "1.0", sha256=sha256_of(wheel)).name == wheel.name


def test_fetch_package__a_cache_that_cannot_be_written_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("a file, where a folder must be made")
    with (
        pytest.raises(FetchError, match=r"Cannot put a 1 into .*SKSVE_CACHE"),
        skip_without_registry(),
    ):
        fetch_package("a", "1", sha256="0" * 64, folder=tmp_path / "file")


def test_fetch_package__only_a_registry_out_of_reach_skips_a_test(shelf):
    with pytest.raises(pytest.skip.Exception, match="no package registry is reachable"):
        with skip_without_registry():
            fetch_package("sksve-toy", "1.0", sha256="0" * 64)

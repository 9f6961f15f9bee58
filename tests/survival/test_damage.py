"""Truncated and bit-flipped files: always seen, never a silently wrong answer."""

import os

import numpy as np
import pytest
import torch

from sksve import IntegrityError, SVEClassifier
from sksve.adapters import SVDCache, decompose
from sksve.backbones import fetch_backbone, resolve_backbone
from tests.private import svd_module


def damaged(data, rng, n):
    """Yield n copies of some bytes: one bit flipped, a run of bytes replaced, or the end cut off."""
    for k in range(n):
        changed = bytearray(data)
        place = int(rng.integers(len(data)))
        if k % 3 == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif k % 3 == 1:
            junk = rng.integers(0, 256, size=min(16, len(data) - place), dtype=np.uint8).tobytes()
            changed[place : place + len(junk)] = junk
        else:
            del changed[place:]
        if bytes(changed) != data:
            yield bytes(changed)


def test__svd_cache_entry__is_made_again(tmp_path, rng, tally):
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    expected = decompose(weight)
    SVDCache(folder=tmp_path, min_disk_size=1).get(weight)
    [path] = tmp_path.glob("*.safetensors")
    data = path.read_bytes()
    unseen = 0
    for changed in damaged(data, rng, 300):
        path.write_bytes(changed)
        found = SVDCache(folder=tmp_path, min_disk_size=1).get(weight)
        assert all(torch.equal(a, b) for a, b in zip(found, expected))
        unseen += path.read_bytes() == changed
        tally("damaged entry of the SVD cache")
    # What is not made again was changed where it means nothing: in the header's blanks.
    assert unseen <= 3


def test__svd_cache_entry__of_another_matrix_under_this_name(tmp_path):
    one, two = torch.eye(4), 2 * torch.eye(4)
    cache = SVDCache(folder=tmp_path, min_disk_size=1)
    for w in (one, two):
        cache.get(w)
    paths = [tmp_path / f"{svd_module.weight_key(w)}.safetensors" for w in (one, two)]
    paths[0].write_bytes(paths[1].read_bytes())
    assert SVDCache(folder=tmp_path, min_disk_size=1).get(one)[1].tolist() == [1.0] * 4


@pytest.mark.parametrize("n", [60, pytest.param(600, marks=pytest.mark.slow)])
def test__saved_model__is_refused(n, two_models, backbone, texts, tmp_path, rng, tally):
    folder = two_models[0].save_pretrained(tmp_path / "model")
    for path in [*folder.glob("*.safetensors"), folder / "sksve.json"]:
        data = path.read_bytes()
        for changed in damaged(data, rng, n):
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=r"members|sksve\.json|format|tensors") as caught:
                SVEClassifier.from_pretrained(folder, backbone=backbone)
            assert type(caught.value).__module__.startswith("sksve")
            tally("damaged file of a saved model")
        path.write_bytes(data)
    again = SVEClassifier.from_pretrained(folder, backbone=backbone)
    assert np.array_equal(again.predict_proba(texts), two_models[0].predict_proba(texts))


@pytest.fixture
def carrier(toy_backbone):
    """A known backbone in a package: gives its folder in the cache."""
    names = ("config.json", "tokenizer.json", "1_Pooling/config.json")
    text = b'{"hidden_size": 16, "word": "film"}'
    toy_backbone(dict.fromkeys(names, text) | {"model.safetensors": os.urandom(2000)})
    return fetch_backbone("toy-backbone")


NAMES = [
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "1_Pooling/config.json",
    "sksve-sha256.json",
]


@pytest.mark.parametrize("name", NAMES)
def test__backbone_in_the_cache__is_refused_and_fetched_again(name, carrier, rng, tally):
    path = carrier / name
    data = path.read_bytes()
    for k, changed in enumerate(damaged(data, rng, 24)):
        path.write_bytes(changed)
        os.utime(path, (k, k))  # the time of the last change may be coarse; a hash is kept with it
        with pytest.raises(IntegrityError, match=r"(?s)toy-backbone.*fetch"):
            resolve_backbone("toy-backbone")
        assert (fetch_backbone("toy-backbone") / name).read_bytes() == data
        assert resolve_backbone("toy-backbone").folder == carrier
        tally("damaged file of a fetched backbone")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test__backbone_in_the_cache__with_a_file_missing(name, carrier):
    (carrier / name).unlink()
    assert (fetch_backbone("toy-backbone") / name).is_file()


def test__backbone_of_an_older_sksve__still_loads(carrier):
    (carrier / "sksve-sha256.json").unlink()
    assert resolve_backbone("toy-backbone").folder == carrier
    assert fetch_backbone("toy-backbone") == carrier

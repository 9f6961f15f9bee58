"""Where decompositions are kept, and which weights are hashed once."""

from pathlib import Path

import platformdirs
import torch

from sksve._registry import cache_folder
from sksve.adapters import SVDCache, mark_frozen, weight_key


def test_location__is_the_one_cache_folder_on_every_platform(monkeypatch):
    monkeypatch.delenv("SKSVE_CACHE", raising=False)

    def on_windows(name, appauthor=None):
        return Path("Local") / ("" if appauthor is False else name) / name / "Cache"

    monkeypatch.setattr(platformdirs, "user_cache_path", on_windows)
    assert SVDCache().location() == cache_folder() / "svd" == Path("Local/sksve/Cache/svd")


def test_weight_key__only_of_frozen_memory_is_remembered():
    weight = torch.arange(12.0).reshape(3, 4)
    before = weight_key(weight)
    weight.data.mul_(2)
    assert weight_key(weight) != before
    frozen = torch.arange(12.0).reshape(3, 4)
    mark_frozen(frozen)
    parts = [frozen, frozen.T, frozen[1:], torch.nn.Parameter(frozen)]
    keys = [weight_key(part) for part in parts]
    assert keys == [weight_key(part.clone()) for part in parts]
    assert len(set(keys)) == 3
    frozen.mul_(2)  # which nobody does: that shows where the keys come from
    assert [weight_key(part) for part in parts] == keys

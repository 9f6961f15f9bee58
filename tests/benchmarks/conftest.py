"""The scripts in benchmarks/ import each other by bare names, as scripts do."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Import a script of benchmarks/; its bare names are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        found = getattr(sys.modules[name], "__file__", None) or ""
        if Path(found).parent == BENCHMARKS:
            del sys.modules[name]


def sentences(n, seed, words=("good", "bad")):
    """Texts of one class or the other, a few with the other's word."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(words), n)
    said = np.where(rng.uniform(size=n) < 0.9, y, rng.integers(0, len(words), n))
    nouns = rng.choice(["film", "plot", "cast"], n)
    X = [f"{words[k]} {noun}" for k, noun in zip(said, nouns)]
    return np.array(X, dtype=object), y

"""Shared set-up: no model hub, quiet threads, reproducible hypothesis."""

import os

# Before torch or transformers is imported by any test.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("sksve", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("sksve")


@pytest.fixture
def rng():
    """A fresh generator per test, so that tests cannot move each other's numbers."""
    return np.random.default_rng(0)

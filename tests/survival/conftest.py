"""Two fitted models of one class and shape with different answers, and empty caches of their own."""

import pytest

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone

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

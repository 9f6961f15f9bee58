"""A few rows of text and a tiny transformer: every fit here takes a fraction of a second."""

import pytest

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from tests.making import new

# Unequal lengths, so that batches hold padding.
TEXTS = [
    "good film",
    "bad film",
    "the story was great and very fun",
    "the worst movie of all, dull and boring",
    "loved it",
    "hated it",
    "a best movie",
    "no story, poor plot than never",
    "great",
    "dull",
    "very good and fun to the most",
    "it is not good at all, it is bad",
]
LABELS = ["pos", "neg"] * 6


@pytest.fixture(scope="session")
def texts():
    return list(TEXTS)


@pytest.fixture(scope="session")
def labels():
    return list(LABELS)


@pytest.fixture(scope="session")
def tiny():
    """A (model, tokenizer) pair that many tests share: none may change it."""
    return make_tiny_backbone()


@pytest.fixture(scope="session")
def make(tiny):
    """Make an estimator of few members that trains for a few steps."""

    def make(backbone=None, **changes):
        settings = {
            "n_members": 3,
            "max_epochs": 2,
            "batch_size": 4,
            "lr": 0.02,
            "head_lr": 0.02,
            "precision": "float64",
            "random_state": 0,
        }
        return new(SVEClassifier, tiny if backbone is None else backbone, **(settings | changes))

    return make


@pytest.fixture(scope="session")
def fitted(make, texts, labels):
    """Fitted in float64 on two classes of strings; not to be fitted again."""
    return make().fit(texts, labels)


@pytest.fixture(scope="session")
def fitted32(make, texts):
    """Fitted in float32 on three classes; not to be fitted again."""
    return make(precision="float32").fit(texts, [0, 1, 2] * 4)

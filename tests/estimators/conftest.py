"""A few rows of text and a tiny transformer: every fit here takes a fraction of a second."""

import pytest

from sksve import SVEClassifier
from tests.making import new


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


@pytest.fixture
def no_loading(monkeypatch):
    """Nothing may be loaded: whatever is wrong must have been said before."""

    def refuse(*args, **kwargs):
        raise AssertionError("the backbone was loaded")

    monkeypatch.setattr("sksve.estimators._base.load_backbone", refuse)


@pytest.fixture(scope="session")
def fitted(make, texts, labels):
    """Fitted in float64 on two classes of strings; not to be fitted again."""
    return make().fit(texts, labels)


@pytest.fixture(scope="session")
def fitted32(make, texts):
    """Fitted in float32 on three classes; not to be fitted again."""
    return make(precision="float32").fit(texts, [0, 1, 2] * 4)

"""Every rival, small enough to fit in a fraction of a second."""

import pytest

from sksve.backbones import make_tiny_backbone
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LaplaceClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
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

#: name -> class and how many members, or samples, it predicts with.
RIVALS = {
    "fine_tuned": (FineTunedClassifier, {}),
    "deep_ensemble": (DeepEnsembleClassifier, {"n_members": 3}),
    "lora_ensemble": (LoRAEnsembleClassifier, {"n_members": 3, "rank": 2}),
    "batch_ensemble": (BatchEnsembleClassifier, {"n_members": 3}),
    "mc_dropout": (MCDropoutClassifier, {"n_samples": 4}),
    "laplace": (LaplaceClassifier, {"n_samples": 4}),
}


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


@pytest.fixture(params=RIVALS)
def rival(request):
    """Name of a rival; Laplace where laplace-torch is installed (an optional extra)."""
    if request.param == "laplace":
        pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")
    return request.param


@pytest.fixture(scope="session")
def make(tiny):
    """Make a rival that trains for a few steps."""

    def make(name, backbone=None, **changes):
        cls, own = RIVALS[name]
        settings = {
            "max_epochs": 2,
            "batch_size": 4,
            "lr": 0.02,
            "head_lr": 0.02,
            "precision": "float64",
            "random_state": 0,
        }
        return new(cls, tiny if backbone is None else backbone, **(settings | own | changes))

    return make


@pytest.fixture(scope="session")
def fitted(make, texts, labels):
    """Give a fitted rival by name, each fitted once; not to be fitted again."""
    kept = {}

    def fitted(name):
        if name not in kept:
            kept[name] = make(name).fit(texts, labels)
        return kept[name]

    return fitted

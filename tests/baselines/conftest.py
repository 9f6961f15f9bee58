"""Every rival, small enough to fit in a fraction of a second."""

import pytest

from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LaplaceClassifier,
    LinearProbeClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
from tests.making import new

#: name -> class and how many members, or samples, it predicts with.
RIVALS = {
    "fine_tuned": (FineTunedClassifier, {}),
    "deep_ensemble": (DeepEnsembleClassifier, {"n_members": 3}),
    "lora_ensemble": (LoRAEnsembleClassifier, {"n_members": 3, "rank": 2}),
    "batch_ensemble": (BatchEnsembleClassifier, {"n_members": 3}),
    "mc_dropout": (MCDropoutClassifier, {"n_samples": 4}),
    "laplace": (LaplaceClassifier, {"n_samples": 4}),
    "linear_probe": (LinearProbeClassifier, {"n_members": 3}),
}


@pytest.fixture(params=RIVALS)
def rival(request):
    """Name of a rival; Laplace where laplace-torch is installed (an optional extra)."""
    if request.param == "laplace":
        pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")
    return request.param


@pytest.fixture(params=[name for name in RIVALS if name != "linear_probe"])
def trained_rival(request):
    """Name of a rival that is trained."""
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
        settings |= own | changes
        if name == "linear_probe":  # solved, not trained
            settings = {k: v for k, v in settings.items() if k in cls().get_params()}
        return new(cls, tiny if backbone is None else backbone, **settings)

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

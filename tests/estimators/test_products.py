"""Known products in a fit: kept where layers can use them and they are small, with the same result."""

import numpy as np
import pytest

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from sksve.baselines import BatchEnsembleClassifier, LoRAEnsembleClassifier
from sksve.training import _inference, feature_cache

CORES = {"rank": 3, "off_diagonals": 2, "adapt_blocks": 1}
SETTINGS = {
    "subspaces": (SVEClassifier, {**CORES, "direction_pool": 6, "core_optimizer": "muon"}),
    "no-bias": (SVEClassifier, {**CORES, "train_bias": False}),
    "freeze-out": (SVEClassifier, {**CORES, "adapt_blocks": 2, "freeze_out": 0.5}),
    "lora": (LoRAEnsembleClassifier, {"rank": 2, "adapt_blocks": 1}),
}
USELESS = {
    "values": (SVEClassifier, {"rank": 3, "adapt_blocks": 1}),
    "whole-matrix": (SVEClassifier, {"off_diagonals": 2, "adapt_blocks": 1}),
    "scaled-input": (BatchEnsembleClassifier, {"adapt_blocks": 1}),
}
WIDTH = 16


@pytest.fixture(autouse=True)
def empty_cache():
    feature_cache.clear()
    yield
    feature_cache.clear()


@pytest.fixture
def fit(texts, labels):
    backbone = make_tiny_backbone("bert", n_blocks=3, hidden_size=WIDTH)

    def fit(cls, settings, **more):
        feature_cache.clear()
        settings = {"precision": "float64", "max_epochs": 3, "batch_size": 4, **settings, **more}
        return cls(backbone, n_members=3, random_state=0, **settings).fit(texts, labels)

    return fit


def kept_width():
    [(flat, _)] = feature_cache._entries.values()
    return flat.shape[1]


@pytest.mark.parametrize("name", SETTINGS)
def test_fit__is_the_same_with_and_without(name, fit, texts, monkeypatch):
    fits = {}
    for n_bytes, width in ((2**29, 4 * WIDTH), (0, WIDTH)):
        monkeypatch.setattr(_inference, "PRODUCT_BYTES", n_bytes)
        fits[width] = fit(*SETTINGS[name])
        assert kept_width() == width
    a, b = (clf.predict_proba_members(texts) for clf in fits.values())
    assert np.abs(a[0] - a[1]).max() > 1e-4
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["subspaces", "lora"])
def test_fit__in_low_precision_differs_by_its_rounding_only(name, fit, texts, monkeypatch):
    cls, settings = SETTINGS[name]
    fits = []
    for n_bytes in (2**29, 0):
        monkeypatch.setattr(_inference, "PRODUCT_BYTES", n_bytes)
        fits.append(fit(cls, {**settings, "precision": "bfloat16"}).predict_proba_members(texts))
    np.testing.assert_allclose(*fits, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", USELESS)
def test_fit__keeps_none_for_layers_that_cannot_use_them(name, fit):
    fit(*USELESS[name])
    assert kept_width() == WIDTH


def test_fit__validation_rows_and_further_fits_go_on_from_them(fit, texts, labels):
    cls, settings = SETTINGS["subspaces"]
    whole = fit(cls, settings, early_stopping=True, n_iter_no_change=9, validation_fraction=0.25)
    assert np.isfinite([row["valid_loss"] for row in whole.history_]).all()
    further = fit(cls, settings).partial_fit(texts, labels)
    assert further.n_iter_ == 4
    assert np.isfinite(further.predict_proba(texts)).all()


def test_fit__members_apart_are_those_of_a_joint_fit(fit, texts):
    cls, settings = SETTINGS["subspaces"]
    together, apart = (fit(cls, settings, n_jobs=n_jobs) for n_jobs in (None, 2))
    pair = (clf.predict_proba_members(texts) for clf in (together, apart))
    np.testing.assert_allclose(*pair, rtol=0, atol=1e-9)

"""A classifier whose layers hold leading singular triplets only: the same answers, saved and loaded."""

import numpy as np
import pytest

from sksve import SVEClassifier
from sksve.adapters import SVDCache, SVDLinear
from sksve.adapters import _cache as cache_module
from sksve.adapters import _decompose_top as top
from sksve.backbones import make_tiny_backbone

TEXTS = ["good film", "bad film", "a rather longer text about a film", "so so"] * 3


@pytest.fixture
def own_cache(monkeypatch):
    monkeypatch.setattr(cache_module, "svd_cache", SVDCache(use_disk=False))


def short_way(m):
    """Let layers of 16 x 16 count as large."""
    m.setattr(top, "MIN_SIDE", 1)
    m.setattr(top, "MAX_SHARE", 1.0)
    m.setattr(top, "EXTRA", 3)


def values_held(clf):
    layers = [m for m in clf.net_.module_.modules() if isinstance(m, SVDLinear)]
    return [layer.S.shape[0] for layer in layers]


@pytest.mark.parametrize("off_diagonals", [0, 1])
def test__fits_and_loads_either_way(own_cache, monkeypatch, tmp_path, off_diagonals):
    backbone = make_tiny_backbone()
    clf = SVEClassifier(
        backbone, n_members=2, rank=3, off_diagonals=off_diagonals, max_epochs=2, lr=0.01,
        precision="float64", random_state=0,
    )  # fmt: skip
    answers = {}
    for short in (False, True):
        with monkeypatch.context() as m:
            if short:
                short_way(m)
            answers[short] = clf.fit(TEXTS, [0, 1, 1, 0] * 3).predict_proba_members(TEXTS)
            assert (max(values_held(clf)) < 6) is short
            clf.save_pretrained(tmp_path / f"{short}")
    np.testing.assert_allclose(answers[True], answers[False], rtol=0, atol=1e-8)
    assert np.ptp(answers[True], axis=1).min() > 1e-4  # texts do differ
    for written in (False, True):
        for short in (False, True):
            with monkeypatch.context() as m:
                if short:
                    short_way(m)
                loaded = SVEClassifier.from_pretrained(tmp_path / f"{written}", backbone=backbone)
            assert (max(values_held(loaded)) < 6) is short
            got = loaded.predict_proba_members(TEXTS)
            np.testing.assert_allclose(got, answers[written], rtol=0, atol=1e-9)

"""``backbone=sksve.Backbone(...)``: the same fit as of its parts, in searches and saved folders."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sksve import Backbone, SVEClassifier
from sksve.backbones import make_tiny_backbone
from tests.making import save_tiny

SETTINGS = {"n_members": 2, "max_epochs": 1, "random_state": 0, "precision": "float64"}


@pytest.mark.parametrize("kind", ["pair", "folder"])
def test_fit__with_a_backbone_of_the_source_is_that_of_the_source(kind, texts, labels, tmp_path):
    source = make_tiny_backbone()
    if kind == "folder":
        for part in source:
            part.save_pretrained(tmp_path)
        source = tmp_path
    plain = SVEClassifier(source, **SETTINGS).fit(texts, labels)
    wrapped = clone(SVEClassifier(Backbone(source), **SETTINGS)).fit(texts, labels)
    expected = plain.predict_proba_members(texts)
    np.testing.assert_array_equal(wrapped.predict_proba_members(texts), expected)
    other = SVEClassifier(Backbone(source, pooling="cls", target_modules=["query"]), **SETTINGS)
    other.fit(texts, labels)
    assert {name.rpartition(".")[2] for name in other.adapter_report_.adapted} == {"query"}
    assert other.net_.module_.split.pooling == "cls"
    assert np.abs(other.predict_proba_members(texts) - expected).max() > 1e-3


def test_search__over_the_backbones_parameters(texts, labels):
    clf = SVEClassifier(Backbone(make_tiny_backbone()), **SETTINGS)
    grid = {"backbone__pooling": ["mean", "cls"]}
    search = GridSearchCV(clf, grid, cv=2, error_score="raise").fit(texts, labels)
    chosen = search.best_estimator_
    assert chosen.backbone.pooling == search.best_params_["backbone__pooling"]
    assert chosen.net_.module_.split.pooling == chosen.backbone.pooling


def test_saved__folder_keeps_how_the_backbone_is_used(texts, labels, tmp_path):
    save_tiny(tmp_path / "weights")
    backbone = Backbone(str(tmp_path / "weights"), pooling="last", target_modules="attention")
    clf = SVEClassifier(backbone, **SETTINGS).fit(texts, labels)
    clf.save_pretrained(tmp_path / "saved")
    loaded = SVEClassifier.from_pretrained(tmp_path / "saved")
    expected = clf.predict_proba_members(texts)
    np.testing.assert_allclose(loaded.predict_proba_members(texts), expected, rtol=0, atol=1e-12)
    assert loaded.backbone == backbone
    assert loaded.adapter_report_.adapted == clf.adapter_report_.adapted

"""Named settings: what the evidence is about, and usable wherever parameters are."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sksve import RANDOM_SUBSPACES, SVEClassifier
from sksve.adapters import SVDLinear
from sksve.backbones import make_tiny_backbone
from tests.making import new

GRID = Path(__file__).parents[2] / "benchmarks/evidence/configs/grid.toml"


def test_random_subspaces__are_what_the_evidence_is_about():
    config = tomllib.loads(GRID.read_text())
    method = config["methods"]["sve_subspaces"]
    told = method["settings"] | method["text_settings"] | method["trials"][1]
    told["batch_size"] = config["shared"]["batch_size"]
    assert told.pop("off_diagonals") == told["rank"] - 1  # what a full core was called then
    told |= {"core": "full", "optimizer": told.pop("core_optimizer")}
    training = RANDOM_SUBSPACES["training"].get_params()
    assert {name: training.get(name, RANDOM_SUBSPACES.get(name)) for name in told} == told
    assert set(RANDOM_SUBSPACES) <= {*told, "training"}
    assert {t["head_lr"] for t in method["trials"]} == {5e-3, 1.5e-2, 1.5e-3}


def test_random_subspaces__train_own_directions_and_are_what_typed_parameters_give(texts, labels):
    small = {"adapt_blocks": 2, "rank": 6, "direction_pool": 8}
    clf = SVEClassifier(
        make_tiny_backbone(), n_members=2, random_state=0, **RANDOM_SUBSPACES | small
    )
    assert clone(clf).get_params()["training__optimizer"] == "muon"
    proba = clf.fit(texts, labels).predict_proba(texts)
    layers = [m for m in clf.net_.module_.modules() if isinstance(m, SVDLinear)]
    assert layers
    for layer in layers:
        assert layer.directions is not None
        assert layer.directions.shape == (2, 6)
        assert int(layer.directions.max()) < 8
        assert bool((layer.values != 0).any())
    typed = new(
        SVEClassifier, make_tiny_backbone(), n_members=2, random_state=0, adapt_blocks=2, rank=6,
        core="full", direction_pool=8, init_scale=0.0, train_bias=False, optimizer="muon", lr=8e-3,
        head_lr=5e-3, weight_decay=5.0, max_epochs=3, batch_size=16, freeze_out=0.5,
    )  # fmt: skip
    np.testing.assert_array_equal(typed.fit(texts, labels).predict_proba(texts), proba)


def test_random_subspaces__can_be_searched_over(texts, labels):
    small = {"adapt_blocks": 2, "rank": 6, "direction_pool": 8, "max_epochs": 1}
    clf = SVEClassifier(make_tiny_backbone(), n_members=2, random_state=0)
    search = GridSearchCV(
        clf.set_params(**RANDOM_SUBSPACES | small),
        {"weight_decay": [0.0, 15.0]},
        cv=2,
        scoring="neg_log_loss",
    )
    search.fit(texts, labels)
    assert set(search.best_params_) == {"weight_decay"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_random_subspaces__cannot_be_changed_for_everyone():
    with pytest.raises(TypeError, match="does not support item assignment"):
        RANDOM_SUBSPACES["lr"] = 1.0  # type: ignore[index]

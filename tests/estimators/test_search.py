"""Search: what is decomposed once, and members that are trained once for every size."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    ShuffleSplit,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from transformers import BertModel

from sksve import MemberSearchCV
from sksve.adapters import clear_svd_cache, svd_cache
from sksve.backbones import make_tiny_backbone
from sksve.metrics import scorers
from sksve.preprocessing import TabularToText
from tests.making import save_tiny


@pytest.fixture
def decomposed(monkeypatch, tmp_path):
    """Count real decompositions by matrix, with nothing in the caches."""
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path))
    svd_cache.clear()
    counts, real = Counter(), torch.linalg.svd

    def counting(weight, **kwargs):
        counts[weight.double().numpy().tobytes()] += 1
        return real(weight, **kwargs)

    monkeypatch.setattr(torch.linalg, "svd", counting)
    return counts


@pytest.mark.parametrize("kind", ["pair", "folder"])
def test__search__decomposes_each_matrix_once(kind, decomposed, make, texts, labels, tmp_path):
    pair = make_tiny_backbone(random_state=77)
    backbone = pair
    if kind == "folder":
        backbone = save_tiny(tmp_path / "model", random_state=77)
    grid = {"rank": [2, None], "n_members": [1, 2]}
    clf = make(backbone, max_epochs=1)
    GridSearchCV(clf, grid, cv=2, error_score="raise").fit(texts, labels)
    matrices = [n for n, p in pair[0].named_parameters() if ".layer." in n and p.ndim == 2]
    assert len(decomposed) == len(matrices)
    assert set(decomposed.values()) == {1}


def test__search__reads_a_folder_once(make, texts, labels, tmp_path, monkeypatch):
    reads, real = [], BertModel.from_pretrained

    def counting(*args, **kwargs):
        reads.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(BertModel, "from_pretrained", counting)
    clf = make(save_tiny(tmp_path, random_state=78), max_epochs=1, n_members=1)
    GridSearchCV(clf, {"rank": [1, 2]}, cv=2, error_score="raise").fit(texts, labels)
    assert len(reads) == 1


WORKER = """
import json, torch
from sksve import SVEClassifier
from sksve.adapters import svd_cache
from sksve.backbones import make_tiny_backbone
counts, real = [0], torch.linalg.svd
def counting(weight, **kwargs):
    counts[0] += 1
    return real(weight, **kwargs)
torch.linalg.svd = counting
svd_cache.min_disk_size = 0
clf = SVEClassifier(make_tiny_backbone(random_state=79), n_members=1, max_epochs=1, random_state=0)
clf.fit(["good", "bad"] * 4, [0, 1] * 4)
print(json.dumps([counts[0], clf.predict_proba(["good"]).tolist()]))
"""


@pytest.mark.slow
def test__another_process__reads_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path))
    first, second = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", WORKER], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(2)
    )
    assert first[0] > 0
    assert second[0] == 0
    assert second[1] == first[1]


def test__clear_svd_cache__empties_memory_and_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path))
    monkeypatch.setattr(svd_cache, "min_disk_size", 0)
    svd_cache.get(torch.eye(3))
    (tmp_path / "svd" / "left.tmp").write_bytes(b"by a writer that was killed")
    (tmp_path / "other").write_bytes(b"")
    assert len(list((tmp_path / "svd").iterdir())) == 2
    clear_svd_cache()
    assert len(svd_cache) == 0
    assert list((tmp_path / "svd").iterdir()) == []
    assert (tmp_path / "other").exists()
    clear_svd_cache()  # nothing there: no error


@pytest.mark.slow
def test__grid_search__in_processes_equals_that_in_one(make, texts, labels):
    grid = {"rank": [2, None], "n_members": [1, 2]}
    settings = {"cv": 2, "scoring": scorers(), "refit": "neg_expected_calibration_error"}
    clf = make(max_epochs=1)
    one = GridSearchCV(clf, grid, error_score="raise", **settings).fit(texts, labels)
    two = GridSearchCV(clf, grid, n_jobs=2, error_score="raise", **settings).fit(texts, labels)
    mine = MemberSearchCV(clf, grid, n_jobs=2, error_score="raise", **settings).fit(texts, labels)
    for name in scorers():
        expected = one.cv_results_[f"mean_test_{name}"]
        for other in (two, mine):
            np.testing.assert_allclose(other.cv_results_[f"mean_test_{name}"], expected, atol=1e-9)
    np.testing.assert_allclose(two.predict_proba(texts), one.predict_proba(texts), atol=1e-9)


SPACE = {
    "rank": [2, 0.5],
    "n_members": [1, 2],
    "off_diagonals": [1, 2],
    "lr": [0.01, 0.1],
    "adapt_blocks": [1, None],
}


@pytest.mark.slow
def test__randomized_search__over_everything(make, texts, labels):
    search = RandomizedSearchCV(
        make(max_epochs=1, core="auto"), SPACE, n_iter=4, cv=2, random_state=1, error_score="raise",
        scoring=scorers(), refit="neg_multiclass_brier_score",
    ).fit(texts, labels)  # fmt: skip
    for params in search.cv_results_["params"]:
        assert params.keys() == SPACE.keys()
    for name in scorers():
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    assert search.best_index_ == search.cv_results_["rank_test_neg_multiclass_brier_score"].argmin()
    direct = make(max_epochs=1, **{"core": "auto"} | search.best_params_).fit(texts, labels)
    np.testing.assert_array_equal(search.predict_proba(texts), direct.predict_proba(texts))


@pytest.mark.slow
def test__halving_search__gives_the_survivors_more_rows(make, texts, labels):
    search = HalvingGridSearchCV(
        make(max_epochs=1, n_members=1), {"lr": [0.001, 0.02], "rank": [1, None]}, cv=2, factor=2,
        min_resources=6, random_state=0, error_score="raise", scoring="neg_log_loss",
    ).fit(texts, labels)  # fmt: skip
    assert search.n_resources_ == [6, 12]
    assert search.n_candidates_ == [4, 2]


def test__first_members__share_the_frozen_tensors(fitted):
    first = fitted.first_members(2)
    frozen = {id(p) for p in fitted.net_.module_.parameters() if not p.requires_grad}
    frozen |= {id(b) for b in fitted.net_.module_.buffers()}
    shared = {id(t) for t in [*first.net_.module_.parameters(), *first.net_.module_.buffers()]}
    assert len(frozen & shared) == len(frozen) > 0
    with pytest.raises(ValueError, match=r"range \[1, 3\]"):
        fitted.first_members(4)
    with pytest.raises(ValueError, match="Got True"):
        fitted.first_members(True)


def both(estimator, grid, X, y, fit_params=None, **settings):
    settings = {"cv": 2, "error_score": "raise", "return_train_score": True} | settings
    theirs = GridSearchCV(estimator, grid, **settings).fit(X, y, **(fit_params or {}))
    mine = MemberSearchCV(estimator, grid, **settings).fit(X, y, **(fit_params or {}))
    return theirs, mine


def same_search(theirs, mine):
    assert mine.cv_results_["params"] == theirs.cv_results_["params"]
    assert mine.cv_results_.keys() == theirs.cv_results_.keys()
    for key, values in theirs.cv_results_.items():
        if key.startswith("param_"):
            assert mine.cv_results_[key].tolist() == values.tolist()
        elif "time" not in key and key != "params":
            np.testing.assert_allclose(
                mine.cv_results_[key], values, rtol=0, atol=1e-9, err_msg=key
            )
    assert mine.n_splits_ == theirs.n_splits_
    assert mine.multimetric_ == theirs.multimetric_


def test__member_search__equals_grid_search(make, texts, labels):
    grid = {"n_members": [3, 1, 2], "rank": np.array([1, 4])}
    theirs, mine = both(make(max_epochs=1), grid, texts, labels, scoring="neg_log_loss")
    same_search(theirs, mine)
    assert mine.best_params_ == theirs.best_params_
    assert mine.best_score_ == pytest.approx(theirs.best_score_, abs=1e-9)
    np.testing.assert_array_equal(mine.predict_proba(texts), theirs.predict_proba(texts))
    assert mine.score(texts, labels) == pytest.approx(theirs.score(texts, labels), abs=1e-12)
    assert mine.classes_.tolist() == ["neg", "pos"]
    # 2 ranks x 2 splits: 3 members trained instead of 1 + 2 + 3.
    assert (mine.n_members_trained_, mine.n_members_scored_) == (12, 24)


def test__member_search__predicts_each_fold_once(make, texts, labels, monkeypatch):
    clf, sizes = make(max_epochs=1), []
    real = type(clf)._logits

    def counting(self, data):
        sizes.append(self.n_members)
        return real(self, data)

    monkeypatch.setattr(type(clf), "_logits", counting)
    MemberSearchCV(clf, {"n_members": [1, 2, 3]}, cv=2, scoring=scorers(), refit=False).fit(
        texts, labels
    )
    assert sizes == [3, 3]


@pytest.mark.slow
def test__member_search__with_many_metrics_and_grids(make, texts, labels):
    grid = [{"n_members": [1, 2]}, {"n_members": [3], "lr": [0.1]}]
    settings = {"scoring": scorers(), "refit": "neg_expected_calibration_error"}
    theirs, mine = both(make(max_epochs=1), grid, texts, labels, **settings)
    same_search(theirs, mine)
    assert mine.best_index_ == theirs.best_index_


@pytest.mark.slow
def test__member_search__of_a_pipeline_of_tables_with_weights_and_groups(make, labels):
    X = pd.DataFrame({"age": np.arange(12.0), "job": ["nurse", None, "cook"] * 4})
    pipe = make_pipeline(TabularToText(), make(max_epochs=1))
    grid = {"sveclassifier__n_members": [1, 2], "tabulartotext__digits": [2, 6]}
    weight = np.linspace(0.1, 3, 12)
    params = {"sveclassifier__sample_weight": weight, "groups": np.arange(12) % 3}
    theirs, mine = both(pipe, grid, X, labels, params, cv=GroupKFold(3))
    same_search(theirs, mine)
    assert mine.feature_names_in_.tolist() == ["age", "job"]
    np.testing.assert_array_equal(mine.predict_proba(X), theirs.predict_proba(X))


def test__member_search__uses_the_same_random_splits_for_all(make, texts, labels):
    grid = [{"n_members": [1]}, {"n_members": [1]}]
    splits = ShuffleSplit(2, test_size=0.5, random_state=np.random.RandomState(0))
    search = MemberSearchCV(make(max_epochs=1), grid, cv=splits, refit=False).fit(texts, labels)
    assert np.ptp(search.cv_results_["mean_test_score"]) == 0.0
    assert not hasattr(search, "best_estimator_")


@pytest.mark.parametrize(
    ("grid", "error", "words"),
    [
        ({"rank": [1]}, ValueError, "must name n_members"),
        ({"n_members": [1], "rank": [1], "a__n_members": [2]}, ValueError, "once"),
        ({"nets__n_members": [2]}, ValueError, "Invalid parameter"),
    ],
    ids=["none", "twice", "unknown"],
)
def test__member_search__refuses_a_grid(grid, error, words, make, texts, labels):
    with pytest.raises(error, match=words):
        MemberSearchCV(make(), grid).fit(texts, labels)


def test__member_search__refuses_other_estimators_and_metrics(make, texts, labels):
    class Other(sklearn.base.ClassifierMixin, sklearn.base.BaseEstimator):
        def __init__(self, n_members=1):
            self.n_members = n_members

        def fit(self, X, y):
            return self

    with pytest.raises(TypeError, match="Got Other for 'n_members'"):
        MemberSearchCV(Other(), {"n_members": [1]}).fit(texts, labels)
    search = MemberSearchCV(make(max_epochs=1), {"n_members": [1]}, cv=2, scoring=scorers())
    with pytest.raises(ValueError, match="must name one of the metrics"):
        search.fit(texts, labels)


def test__metadata_routing__of_weights_through_cross_validation_and_search(make, texts, labels):
    weight = np.linspace(0.1, 3, 12)
    clf = make(max_epochs=1, n_members=1)
    pipe = make_pipeline("passthrough", clf)
    old = cross_validate(
        pipe, texts, labels, cv=2, params={"sveclassifier__sample_weight": weight},
        return_estimator=True, error_score="raise",
    )  # fmt: skip
    plain = cross_validate(pipe, texts, labels, cv=2, return_estimator=True)
    with sklearn.config_context(enable_metadata_routing=True):
        asks = make_pipeline("passthrough", clf.set_fit_request(sample_weight=True))
        asks[-1].set_score_request(sample_weight=True)
        new = cross_validate(
            asks, texts, labels, cv=2, params={"sample_weight": weight}, return_estimator=True,
            error_score="raise",
        )  # fmt: skip
        grid = {"sveclassifier__rank": [1, None]}
        search = GridSearchCV(asks, grid, cv=2, error_score="raise")
        search.fit(texts, labels, sample_weight=weight)
        grid = {"sveclassifier__n_members": [1, 2]}
        mine = MemberSearchCV(asks, grid, cv=2, error_score="raise")
        mine.fit(texts, labels, sample_weight=weight)
        theirs = GridSearchCV(asks, grid, cv=2, error_score="raise")
        same_search(theirs.fit(texts, labels, sample_weight=weight), mine)
    for a, b, c in zip(old["estimator"], new["estimator"], plain["estimator"]):
        np.testing.assert_array_equal(a.predict_proba(texts), b.predict_proba(texts))
        assert np.abs(a.predict_proba(texts) - c.predict_proba(texts)).max() > 1e-5
    for found in (search, mine):
        best = make(max_epochs=1, **{"n_members": 1} | {
            k.partition("__")[2]: v for k, v in found.best_params_.items()
        }).fit(texts, labels, sample_weight=weight)  # fmt: skip
        np.testing.assert_array_equal(found.predict_proba(texts), best.predict_proba(texts))

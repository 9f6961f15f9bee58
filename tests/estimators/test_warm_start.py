"""warm_start: more members later are the members of one large fit."""

import copy
import warnings

import numpy as np
import pytest

from tests.estimators.test_members import assert_same_members, parametrize_settings


def parameters(clf):
    return [p.detach().numpy().copy() for p in clf.net_.module_.member_tensors()]


@parametrize_settings
def test__warm_start__equals_one_fit(settings, make, texts, labels):
    settings = {"max_epochs": 3} | settings
    once = make(n_members=3, **settings).fit(texts, labels)
    grown = make(n_members=1, warm_start=True, **settings).fit(texts, labels)
    first = parameters(grown)
    grown.set_params(n_members=3).fit(texts, labels)
    for p, q in zip(parameters(grown), first):
        np.testing.assert_array_equal(p[:1], q)  # not trained again
    assert_same_members(grown, once)
    np.testing.assert_allclose(
        grown.predict_proba_members(texts), once.predict_proba_members(texts), rtol=0, atol=1e-9
    )
    assert grown.n_iter_ == once.n_iter_ == len(grown.history_)
    assert grown.net_.member_ids == (0, 1, 2)
    assert grown.adapter_report_ == once.adapter_report_
    assert [row.keys() for row in grown.history_] == [row.keys() for row in once.history_]


def test__warm_start__keeps_the_seed_of_a_generator(make, texts, labels):
    once = make(random_state=np.random.RandomState(7)).fit(texts, labels)
    state = np.random.RandomState(7)
    grown = make(n_members=2, random_state=state, warm_start=True).fit(texts, labels)
    grown.set_params(n_members=3).fit(texts, labels)
    np.testing.assert_allclose(
        grown.predict_proba(texts), once.predict_proba(texts), rtol=0, atol=1e-9
    )


def test__warm_start__of_as_many_members_warns_and_trains_nothing(make, texts, labels, monkeypatch):
    clf = make(warm_start=True).fit(texts, labels)
    before = vars(clf).copy()
    monkeypatch.delattr("sksve.estimators._base.train")
    with pytest.warns(UserWarning, match="does not fit new members"):
        assert clf.fit(texts, labels) is clf
    assert all(before[name] is value for name, value in vars(clf).items())


@pytest.fixture(scope="module")
def warm(make, texts, labels):
    return make(warm_start=True, max_epochs=1).fit(texts, labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_members": 2}, "n_members=2 must be larger or equal to 3"),
        ({"n_members": 4, "rank": 2}, "rank cannot change"),
        ({"n_members": 4, "random_state": 99}, "random_state cannot change"),
        ({"n_members": 4, "lr": 0.5, "max_epochs": 9}, "lr, max_epochs cannot change"),
        ({"n_members": 4, "precision": "float32"}, "precision cannot change"),
        ({"n_members": 4, "class_weight": "balanced"}, "class_weight cannot change"),
    ],
)
def test__warm_start__refuses_another_structure(changes, words, warm, texts, labels):
    clf = copy.deepcopy(warm).set_params(**changes)
    with pytest.raises(ValueError, match=words):
        clf.fit(texts, labels)


@pytest.mark.filterwarnings("ignore:X has no column of free text")
@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (None, ["pos", "neg", "so"] * 4, "the same classes"),
        (None, [0, 1] * 6, "the same classes"),
        (np.zeros((12, 2)), None, "kind 'text'"),
    ],
)
def test__warm_start__refuses_other_classes_and_kinds(X, y, words, warm, texts, labels):
    clf = copy.deepcopy(warm).set_params(n_members=4)
    with pytest.raises(ValueError, match=words):
        clf.fit(texts if X is None else X, labels if y is None else y)


@pytest.mark.filterwarnings("ignore:X has no column of free text")
def test__warm_start__refuses_another_width(make, labels):
    clf = make(warm_start=True, max_epochs=1, n_members=1).fit(np.eye(12, 2), labels)
    with pytest.raises(ValueError, match="X has 3 features"):
        clf.set_params(n_members=2).fit(np.eye(12, 3), labels)


def test__warm_start__goes_on_after_a_copy_with_what_shapes_no_member(warm, make, texts, labels):
    clf = copy.deepcopy(warm).set_params(n_members=4, random_state=None, verbose=0, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.fit(texts, labels)
    once = make(n_members=4, max_epochs=1).fit(texts, labels)
    np.testing.assert_allclose(
        clf.predict_proba(texts), once.predict_proba(texts), rtol=0, atol=1e-9
    )


def test__without_warm_start__fit_begins_anew(make, texts, labels):
    clf = make(n_members=1, max_epochs=1).fit(texts, labels)
    clf.fit(texts[:6], [5, 6] * 3)
    assert clf.classes_.tolist() == [5, 6]
    fresh = make(n_members=1, max_epochs=1).fit(texts[:6], [5, 6] * 3)
    np.testing.assert_array_equal(clf.predict_proba(texts), fresh.predict_proba(texts))


@pytest.mark.filterwarnings("ignore:X has no column of free text")
def test__refit__on_another_kind_leaves_nothing_behind(make, texts, labels):
    clf = make(n_members=1, max_epochs=1).fit(np.eye(12, 2), labels)
    assert clf.n_features_in_ == 2
    clf.fit(texts, labels)
    assert not hasattr(clf, "n_features_in_")
    assert not hasattr(clf, "_serializer")

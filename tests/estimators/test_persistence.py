"""pickle, joblib, deepcopy and clone."""

import copy
import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sksve import SVEClassifier
from tests.making import save_tiny


def by_pickle(clf):
    return pickle.loads(pickle.dumps(clf))


def by_joblib(clf):
    file = io.BytesIO()
    joblib.dump(clf, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "pickle": by_pickle,
    "joblib": by_joblib,
    "deepcopy": copy.deepcopy,
    "twice": lambda c: by_pickle(by_pickle(c)),
}


@pytest.mark.parametrize("way", WAYS)
def test__copy__predicts_the_same_bits(way, fitted, texts, labels):
    copied = WAYS[way](fitted)
    np.testing.assert_array_equal(
        copied.predict_proba_members(texts), fitted.predict_proba_members(texts)
    )
    np.testing.assert_array_equal(copied.predict(texts), fitted.predict(texts))
    assert copied.adapter_report_ == fitted.adapter_report_
    assert copied.n_iter_ == fitted.n_iter_
    assert len(copied.net_.history) == len(fitted.net_.history)


def test__copy__of_a_table_classifier(make, labels):
    X = np.eye(12, 3)
    clf = make(n_members=1, max_epochs=1, side_features=None).fit(X, labels)
    np.testing.assert_array_equal(by_pickle(clf).predict_proba(X), clf.predict_proba(X))


def test__copy__shares_no_weights_and_can_be_fitted_again(fitted, texts, labels):
    copied = copy.deepcopy(fitted)
    before = fitted.predict_proba(texts)
    with torch.no_grad():
        for p in copied.net_.module_.parameters():
            p.zero_()
    np.testing.assert_array_equal(fitted.predict_proba(texts), before)
    copied.fit(texts, labels)
    np.testing.assert_array_equal(copied.predict_proba(texts), before)


@pytest.mark.slow
def test__pickle__is_loaded_where_nothing_is_imported(fitted, texts, tmp_path):
    path = tmp_path / "clf.pkl"
    path.write_bytes(pickle.dumps(fitted))
    code = (
        "import pickle, sys\n"
        "clf = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(*clf.predict_proba(['good film'])[0].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = np.array(done.stdout.split(), dtype=float)
    np.testing.assert_allclose(printed, fitted.predict_proba(["good film"])[0], atol=1e-12)


def test__pickle__leaves_data_optimizer_and_merged_weights_out(make, texts, labels):
    few = make(max_epochs=1).fit(texts, labels)
    many = make(max_epochs=1, batch_size=1200, early_stopping=True).fit(texts * 100, labels * 100)
    few.predict(texts)
    many.predict(texts * 100)  # merges
    assert len(pickle.dumps(many)) < len(pickle.dumps(few)) + 2000
    assert by_pickle(many).net_.optimizer_ is None
    assert by_pickle(many).net_.valid_dataset is None


def test__pickle__holds_each_weight_once(texts, labels, tmp_path):
    save_tiny(tmp_path, hidden_size=64)
    clf = SVEClassifier(tmp_path, n_members=2, max_epochs=1, random_state=0).fit(texts, labels)
    clf.predict(texts)

    def pickled(thing):
        return len(pickle.dumps(thing))

    weights = sum(t.nbytes for t in clf.net_.module_.state_dict().values())
    module, tokenizer = pickled(clf.net_.module_), pickled(clf._tokenizer)
    assert weights > 300_000
    assert pickled(clf) < module + tokenizer + weights / 4
    net = by_pickle(clf).net_
    assert net.module is net.module_


def test__clone__is_unfitted_and_trains_alike(fitted, texts, labels):
    cloned = clone(fitted)
    for unfitted in (cloned, by_pickle(cloned)):
        with pytest.raises(NotFittedError):
            unfitted.predict(texts)
    ours, theirs = fitted.get_params(), cloned.get_params()
    assert all(ours[k] == theirs[k] for k in ours if k != "backbone")
    assert cloned.backbone[0] is not fitted.backbone[0]
    np.testing.assert_array_equal(
        cloned.fit(texts, labels).predict_proba(texts), fitted.predict_proba(texts)
    )


def test__repr__is_short(make, fitted):
    for clf in (make(), fitted):
        assert "backbone=(BertModel, " in repr(clf)
        assert len(repr(clf)) < 1500
        html = clf._repr_html_()
        assert "SVEClassifier" in html
        assert len(html) < 200_000
    named = type(fitted)("some-model", rank=4)
    assert repr(named) == "SVEClassifier(backbone='some-model', rank=4)"


def test__from_folder__is_the_same_as_from_the_pair(make, fitted, texts, labels, tmp_path):
    save_tiny(tmp_path)
    for name in (str(tmp_path), tmp_path):
        clf = make(name).fit(texts, labels)
        np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))
    np.testing.assert_array_equal(by_pickle(clf).predict_proba(texts), clf.predict_proba(texts))

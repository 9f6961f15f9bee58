"""Threads that share one fitted model: the same bits as alone."""

import sys
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sksve import SVEClassifier
from sksve import baselines as rivals
from sksve.backbones import make_tiny_backbone
from tests.private import inference
from tests.survival.conftest import LABELS, SETTINGS, TEXTS

N_THREADS = 8
WORDS = " ".join(TEXTS).split()


@pytest.fixture(autouse=True)
def restless():
    """Threads change places a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def at_once(calls):
    """Run every call in a thread of its own, all begun together; give what they return."""
    found = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(k):
        start.wait()
        try:
            found[k] = calls[k]()
        except BaseException as error:
            found[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


def rows_for(thread):
    """Texts of other number and length in each thread."""
    rng = np.random.default_rng(thread)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 9))) for _ in range(3 + thread)]


def check(clf, rows, tally, *, rounds=2, method="predict_proba"):
    predict = getattr(clf, method)
    alone = [predict(X) for X in rows]
    for _ in range(rounds):
        together = at_once([lambda X=X: predict(X) for X in rows])
        for a, b in zip(alone, together):
            assert np.array_equal(a, b)
        tally(f"{len(rows)} threads predict with one model")


def small(**changes):
    return SETTINGS | {"random_state": 0} | changes


@pytest.mark.parametrize("route", ["thin", "merged"])
@pytest.mark.parametrize("blocks", [None, 1], ids=["all blocks", "last block"])
def test__sve(route, blocks, backbone, monkeypatch, tally):
    """Both routes of prediction switch layers: to some members, or to dense weights of one."""
    monkeypatch.setattr(inference, "merging_pays", lambda *args: route == "merged")
    clf = SVEClassifier(backbone, **small(n_members=3, adapt_blocks=blocks)).fit(TEXTS, LABELS)
    check(clf, [rows_for(k) for k in range(N_THREADS)], tally, rounds=3)


def test__sve__members_and_methods_mixed(two_models, tally):
    clf, rows = two_models[0], rows_for(3)
    methods = ["predict_proba_members", "predict_proba", "predict", "decision_function"] * 2
    alone = [getattr(clf, name)(rows) for name in methods]
    for _ in range(3):
        together = at_once([lambda name=name: getattr(clf, name)(rows) for name in methods])
        assert all(np.array_equal(a, b) for a, b in zip(alone, together))
        tally("8 threads predict with one model")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test__sve__in_half_precision(precision, backbone, tally):
    clf = SVEClassifier(backbone, **small(precision=precision)).fit(TEXTS, LABELS)
    check(clf, [rows_for(k) for k in range(N_THREADS)], tally)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("FineTunedClassifier", {"n_members": None}),
        ("DeepEnsembleClassifier", {}),
        ("MCDropoutClassifier", {"n_members": None, "n_samples": 3}),
        ("LoRAEnsembleClassifier", {}),
        ("BatchEnsembleClassifier", {}),
        ("LinearProbeClassifier", dict.fromkeys(("lr", "max_epochs", "batch_size"))),
    ],
)
def test__rivals(name, changes, backbone, tally):
    settings = {k: v for k, v in small(**changes).items() if v is not None}
    clf = getattr(rivals, name)(backbone, **settings).fit(TEXTS, LABELS)
    check(clf, [rows_for(k) for k in range(N_THREADS)], tally)


def relative_positions(rng):
    return (
        make_tiny_backbone("deberta-v2"),
        TEXTS,
        LABELS,
        [rows_for(k) for k in range(N_THREADS)],
        {},
    )


def pairs(rng):
    X = np.array([[a, b] for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1])], dtype=object)
    rows = [X[rng.permutation(8)[: 2 + k % 6]] for k in range(N_THREADS)]
    return make_tiny_backbone(), X, LABELS, rows, {"serializer": "pair"}


def tables(rng):
    X = pd.DataFrame({"n": rng.normal(size=40), "word": rng.choice(WORDS, size=40)})
    rows = [X.iloc[k : 2 * k + 3] for k in range(N_THREADS)]
    return make_tiny_backbone(), X, rng.choice(["a", "b"], size=40), rows, {"side_features": None}


def images(rng):
    X = rng.integers(0, 256, size=(16, 16, 16, 3), dtype=np.uint8)
    rows = [X[k : 2 * k + 2] for k in range(N_THREADS)]
    return make_tiny_backbone("vit"), X, ["a", "b"] * 8, rows, {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [relative_positions, pairs, tables, images])
def test__other_inputs_and_backbones(kind, rng, tally):
    backbone, X, y, rows, changes = kind(rng)
    check(SVEClassifier(backbone, **small(**changes)).fit(X, y), rows, tally)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*were cut:UserWarning")
def test__long_and_short_texts__each_cut_where_it_must(backbone, tally):
    """The tokenizer holds its settings of truncation in itself."""
    clf = SVEClassifier(backbone, **small(max_length=6)).fit(["a good film"] * 8, LABELS)
    long = " ".join(WORDS * 3)
    calls = [lambda k=k: clf.predict_proba([long] * k + ["good"]) for k in (1, 2)]
    alone = [call() for call in calls]
    for _ in range(4):
        together = at_once(calls * 4)
        assert all(np.array_equal(together[i], alone[i % 2]) for i in range(8))
        tally("8 threads predict with one model")


@pytest.mark.slow
def test__predict_beside_a_fit_of_a_clone(backbone, texts, tally):
    clf = SVEClassifier(backbone, **small(max_epochs=3)).fit(TEXTS, LABELS)
    alone = clf.predict_proba(texts)

    def predict():
        return [clf.predict_proba(texts) for _ in range(6)]

    def fit():
        return clone(clf).fit(TEXTS, LABELS).predict_proba(texts)

    found = at_once([predict, fit, predict, fit])
    for result in found:
        for proba in result if isinstance(result, list) else [result]:
            assert np.array_equal(proba, alone)
    tally("threads predict beside threads that fit a clone")


def test__save_beside_predictions(two_models, backbone, texts, tmp_path, tally):
    clf = two_models[0]
    alone = clf.predict_proba(texts)

    def save(k):
        folder = clf.save_pretrained(tmp_path / f"m{k}")
        return SVEClassifier.from_pretrained(folder, backbone=backbone).predict_proba(texts)

    calls = [lambda: clf.predict_proba(texts), lambda: save(1), lambda: save(2)]
    assert all(np.array_equal(found, alone) for found in at_once([calls[0], *calls]))
    tally("threads save and load beside threads that predict")

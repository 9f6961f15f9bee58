"""Workers by fork, spawn and joblib: right answers, and nobody waits for ever."""

import multiprocessing
import threading

import joblib
import numpy as np
import pytest
import torch

from sksve import SVEClassifier
from sksve.adapters import svd_cache
from tests.survival.conftest import LABELS, SETTINGS, TEXTS
from tests.survival.kills import in_child, needs_fork


@pytest.fixture
def two_threads():
    """The parent computes on two threads, as on any laptop."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    # Large enough that torch shares it out: its threads exist from now on.
    torch.nn.functional.gelu(torch.randn(2000, 1000)) @ torch.randn(1000, 1000)
    yield
    torch.set_num_threads(before)


@needs_fork
def test__fork__after_the_parent_has_computed_on_several_threads(two_threads, tally):
    """OpenMP's threads are not in the child, which would wait for them."""

    def compute():
        assert torch.get_num_threads() == 1
        torch.nn.functional.gelu(torch.randn(2000, 1000)) @ torch.randn(1000, 1000)
        torch.linalg.svd(torch.randn(200, 200, dtype=torch.float64))

    in_child(compute)
    tally("forked worker after a fit on several threads")


@needs_fork
def test__fork__predicts_and_fits(two_threads, backbone, texts, tally):
    clf = SVEClassifier(backbone, **SETTINGS, random_state=0).fit(TEXTS * 2, LABELS * 2)
    answer = clf.predict_proba(texts * 4)

    def work():
        np.testing.assert_allclose(clf.predict_proba(texts * 4), answer, rtol=0, atol=1e-6)
        again = SVEClassifier(backbone, **SETTINGS, random_state=0).fit(TEXTS * 2, LABELS * 2)
        np.testing.assert_allclose(again.predict_proba(texts * 4), answer, rtol=0, atol=1e-5)

    in_child(work)
    tally("forked worker after a fit on several threads")


@needs_fork
def test__fork__while_other_threads_hold_every_lock(two_models, backbone, texts, tally):
    clf = two_models[0]
    answer = clf.predict_proba(texts)
    held, done = threading.Event(), threading.Event()

    def hold():
        from sksve.backbones import _fetch, _load
        from tests.private import lock_of

        locks = [svd_cache._lock, _load._lock, _fetch._lock]
        locks.append(lock_of(clf._tokenizer))
        with locks[0], locks[1], locks[2], locks[3]:
            held.set()
            done.wait(timeout=60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:

        def work():
            assert np.array_equal(clf.predict_proba(texts), answer)
            again = SVEClassifier(backbone, **SETTINGS, adapt_blocks=1, random_state=0)
            again.fit(TEXTS * 32, LABELS * 32)  # as many as the caches look at

        in_child(work)
    finally:
        done.set()
        thread.join()
    tally("fork while other threads hold locks")


def fit_and_predict(clf, texts, labels, rows):
    return clf.fit(texts, labels).predict_proba(rows)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test__multiprocessing(start, two_models, texts, tally):
    with multiprocessing.get_context(start).Pool(2) as pool:
        calls = [pool.apply_async(clf.predict_proba, (texts,)) for clf in two_models * 2]
        calls.append(pool.apply_async(fit_and_predict, (two_models[0], TEXTS, LABELS, list(texts))))
        found = [call.get(timeout=300) for call in calls]
    for k, proba in enumerate(found):
        assert np.array_equal(proba, two_models[k % 2].predict_proba(texts))
    tally(f"worker of multiprocessing, {start}", len(found))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test__joblib(backend, two_models, backbone, texts, monkeypatch, tmp_path, tally):
    answers = [clf.predict_proba(texts) for clf in two_models]
    fresh = [SVEClassifier(backbone, **SETTINGS, random_state=seed) for seed in (0, 1)]
    with joblib.parallel_config(backend=backend, n_jobs=2):
        found = joblib.Parallel()(
            [joblib.delayed(clf.predict_proba)(texts) for clf in two_models]
            + [joblib.delayed(fit_and_predict)(clf, TEXTS, LABELS, texts) for clf in fresh]
        )
        clf = SVEClassifier(backbone, **SETTINGS, n_jobs=2, random_state=0).fit(TEXTS, LABELS)
    assert all(np.array_equal(a, b) for a, b in zip(found, answers * 2))
    np.testing.assert_allclose(clf.predict_proba(texts), answers[0], rtol=0, atol=1e-6)
    tally(f"worker of joblib, {backend}", 5)

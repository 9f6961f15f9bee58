"""Member parallelism (n_jobs): the same estimator, whatever joblib's backend."""

import pickle
import threading

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sksve import MemberSearchCV, NonFiniteLossError
from sksve.adapters import svd_cache
from sksve.backbones import SplitBackbone
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    LoRAEnsembleClassifier,
)
from tests.estimators.test_members import assert_same_members, parametrize_settings
from tests.estimators.test_seeds import global_states
from tests.training.away import Away

BASELINES = [
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    LoRAEnsembleClassifier,
]


@pytest.fixture
def away():
    """Where tasks run in this test; it has their bytes."""
    backend = Away()
    with parallel_config(backend=backend):
        yield backend


def assert_equal_estimators(a, b, texts):
    assert_same_members(a, b)
    assert a.net_.member_ids == b.net_.member_ids == tuple(range(a.n_members))
    assert a.n_iter_ == b.n_iter_
    for key in ("member_train_loss", "member_padding"):
        np.testing.assert_allclose(a.net_.history[:, key], b.net_.history[:, key], rtol=1e-9)
    np.testing.assert_allclose(
        a.predict_proba_members(texts), b.predict_proba_members(texts), rtol=0, atol=1e-9
    )


def assert_close_predictions(a, b, texts):
    # float32: AdamW turns the rounding noise of a gradient that is zero (the biases of attention keys)
    # into steps of full size, which change no answer. So answers are compared.
    np.testing.assert_allclose(
        a.predict_proba_members(texts), b.predict_proba_members(texts), rtol=0, atol=1e-4
    )


@parametrize_settings
def test_n_jobs__gives_the_same_members(settings, away, make, texts, labels):
    joint = make(**settings).fit(texts, labels)
    apart = make(n_jobs=2, **settings).fit(texts, labels)
    assert_equal_estimators(joint, apart, texts)


def test_n_jobs__in_float32(away, make, texts, labels):
    joint, apart = (make(n_jobs=n, precision="float32").fit(texts, labels) for n in (None, 2))
    assert_close_predictions(joint, apart, texts)


@pytest.mark.parametrize("method", BASELINES, ids=lambda c: c.__name__)
def test_n_jobs__baselines(method, away, tiny, texts, labels):
    settings = {"max_epochs": 2, "batch_size": 4, "precision": "float64", "random_state": 0}
    joint, apart = (
        method(tiny, n_members=3, n_jobs=n, **settings).fit(texts, labels) for n in (None, 2)
    )
    assert away.sent
    assert_equal_estimators(joint, apart, texts)


@pytest.mark.slow
@pytest.mark.parametrize("method", BASELINES, ids=lambda c: c.__name__)
def test_n_jobs__baselines_in_processes(method, tiny, texts, labels):
    settings = {"max_epochs": 2, "batch_size": 4, "precision": "float64", "random_state": 0}
    joint = method(tiny, n_members=3, **settings).fit(texts, labels)
    with parallel_config(backend="loky"):
        apart = method(tiny, n_members=3, n_jobs=2, **settings).fit(texts, labels)
    assert_equal_estimators(joint, apart, texts)


def test_n_jobs__fitted_estimator_is_as_light_and_complete(away, make, fitted, texts, labels):
    apart = make(n_jobs=2).fit(texts, labels)
    assert abs(len(pickle.dumps(apart)) - len(pickle.dumps(fitted))) < 5_000
    # Back come the members' own values, not the module with its singular vectors.
    mine = sum(p[:2].nbytes for p in fitted.net_.module_.member_parameters())
    assert max(away.came) < mine + 10_000
    assert len(apart.net_.history) == 2
    again = pickle.loads(pickle.dumps(apart))
    np.testing.assert_array_equal(again.predict_proba(texts), apart.predict_proba(texts))


def test_n_jobs__then_warm_start_and_partial_fit(away, make, texts, labels):
    def grown(n_jobs):
        clf = make(n_jobs=n_jobs, n_members=2, warm_start=True).fit(texts, labels)
        clf.set_params(n_members=4).fit(texts, labels)
        return clf.partial_fit(texts[:4], labels[:4])

    assert_equal_estimators(grown(None), grown(2), texts)


def test_n_jobs__member_search(away, make, texts, labels):
    def search(n_jobs):
        found = MemberSearchCV(make(n_jobs=n_jobs), {"n_members": [1, 3]}, cv=2)
        return found.fit(texts, labels).cv_results_["mean_test_score"]

    np.testing.assert_allclose(search(None), search(2), rtol=0, atol=1e-12)


def test_n_jobs__moves_no_global_random_state(away, make, texts, labels):
    before = global_states()
    make(n_jobs=2).fit(texts, labels)
    assert global_states() == before


WARNED = {"members (0, 1) have run an epoch", "members (2,) have run an epoch"}


class Warns(Callback):
    def on_epoch_end(self, net, **kwargs):
        import warnings

        warnings.warn(f"members {net.member_ids} have run an epoch", RuntimeWarning, stacklevel=2)


def test_n_jobs__warnings_of_tasks_are_given_here(away, make, texts, labels):
    with pytest.warns(RuntimeWarning) as told:
        make(n_jobs=2, callbacks=[Warns()]).fit(texts, labels)
    assert {str(w.message) for w in told} == WARNED


def test_n_jobs__an_error_names_the_members_and_changes_nothing(away, make, texts, labels):
    clf = make(n_jobs=2).fit(texts, labels)
    before = clf.predict_proba(texts)
    clf.set_params(lr=1e300)
    with pytest.raises(NonFiniteLossError, match=r"The loss of member [02]"):
        clf.fit(texts, labels)
    np.testing.assert_array_equal(clf.predict_proba(texts), before)


def test_n_jobs__a_worker_with_another_lapack(away, make, texts, labels, monkeypatch):
    decompose, here = svd_cache.get, threading.get_ident()

    def other_signs(weight, key=None):
        U, S, Vh = decompose(weight, key)
        if threading.get_ident() == here:
            return U, S, Vh
        sign = torch.where(torch.arange(len(S)) % 3 == 0, -1.0, 1.0).to(U)
        return U * sign, S, Vh * sign[:, None]

    monkeypatch.setattr(svd_cache, "get", other_signs)
    settings = {"rank": 3, "off_diagonals": 1}  # signs matter to a band
    joint, apart = (make(n_jobs=n, **settings).fit(texts, labels) for n in (None, 2))
    assert_equal_estimators(joint, apart, texts)


def test_n_jobs__frozen_blocks_run_once(away, make, texts, labels, monkeypatch):
    runs, original = [], SplitBackbone.features

    def counted(self, *args, **more):
        runs.append(args[0].shape)
        return original(self, *args, **more)

    monkeypatch.setattr(SplitBackbone, "features", counted)
    make(n_jobs=2, adapt_blocks=1).fit(texts, labels)
    assert len(runs) == 1


class Cores(Away):
    """Counts as Dask's backend does: the cluster's cores, whatever it is asked for."""

    def effective_n_jobs(self, n_jobs):
        return 6


@pytest.mark.parametrize(("n_jobs", "tasks"), [(None, 0), (1, 0), (2, 2), (99, 3), (-1, 3)])
def test_n_jobs__no_more_tasks_than_asked_for_or_members(
    n_jobs, tasks, make, fitted, texts, labels
):
    backend = Cores()
    with parallel_config(backend=backend):
        assert_same_members(make(n_jobs=n_jobs).fit(texts, labels), fitted)
    assert len(backend.sent) == tasks


# -- processes ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_n_jobs__in_processes(backend, make, texts, labels):
    for settings in ({}, {"adapt_blocks": 1}):
        joint = make(**settings).fit(texts, labels)
        with parallel_config(backend=backend):
            apart = make(n_jobs=2, **settings).fit(texts, labels)
        assert_equal_estimators(joint, apart, texts)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_n_jobs__whatever_the_threads_of_a_worker(precision, make, texts, labels):
    joint = make(precision=precision).fit(texts, labels)
    for threads in (1, 2):
        with parallel_config(backend="loky", inner_max_num_threads=threads):
            apart = make(n_jobs=2, precision=precision).fit(texts, labels)
        same = assert_equal_estimators if precision == "float64" else assert_close_predictions
        same(joint, apart, texts)


@pytest.mark.slow
def test_n_jobs__inside_a_search_in_processes(make, texts, labels):
    grid = {"rank": [2, None]}

    def scores(outer, inner):
        search = GridSearchCV(make(n_jobs=inner), grid, cv=2, n_jobs=outer, scoring="neg_log_loss")
        return search.fit(texts, labels).cv_results_["mean_test_score"]

    np.testing.assert_allclose(scores(2, 2), scores(None, None), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_n_jobs__warnings_and_errors_out_of_processes(make, texts, labels):
    with parallel_config(backend="loky"):
        with pytest.warns(RuntimeWarning) as told:
            make(n_jobs=2, callbacks=[Warns()]).fit(texts, labels)
        with pytest.raises(NonFiniteLossError, match=r"The loss of member [02]"):
            make(n_jobs=2, lr=1e300).fit(texts, labels)
    assert {str(w.message) for w in told} == WARNED

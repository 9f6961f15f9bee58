"""Members trained apart: the same estimator, whatever joblib's backend."""

import pickle
import random
import re

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sksve import MemberSearchCV, NonFiniteLossError
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    LinearProbeClassifier,
    LoRAEnsembleClassifier,
)
from tests.estimators.test_members import assert_same_members, parametrize_settings
from tests.training.away import Away

BASELINES = [
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    LinearProbeClassifier,
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
@pytest.mark.parametrize("n_jobs", [2, 8, -1])
def test_apart__gives_the_same_members(settings, n_jobs, away, make, texts, labels):
    joint = make(**settings).fit(texts, labels)
    apart = make(n_jobs=n_jobs, **settings).fit(texts, labels)
    assert_equal_estimators(joint, apart, texts)


def test_apart__in_float32(away, make, texts, labels):
    joint, apart = (make(n_jobs=n, precision="float32").fit(texts, labels) for n in (None, 2))
    assert_close_predictions(joint, apart, texts)


@pytest.mark.parametrize("method", BASELINES, ids=lambda c: c.__name__)
def test_apart__baselines(method, away, tiny, texts, labels):
    settings = {"max_epochs": 2, "batch_size": 4, "precision": "float64", "random_state": 0}
    joint, apart = (
        method(tiny, n_members=3, n_jobs=n, **settings).fit(texts, labels) for n in (None, 2)
    )
    assert away.sent
    assert_equal_estimators(joint, apart, texts)


def test_apart__fitted_estimator_is_as_light_and_complete(away, make, fitted, texts, labels):
    apart = make(n_jobs=2).fit(texts, labels)
    assert abs(len(pickle.dumps(apart)) - len(pickle.dumps(fitted))) < 5_000
    assert len(apart.net_.history) == 2
    again = pickle.loads(pickle.dumps(apart))
    np.testing.assert_array_equal(again.predict_proba(texts), apart.predict_proba(texts))


def test_apart__then_warm_start_and_partial_fit(away, make, texts, labels):
    def grown(n_jobs):
        clf = make(n_jobs=n_jobs, n_members=2, warm_start=True).fit(texts, labels)
        clf.set_params(n_members=4).fit(texts, labels)
        return clf.partial_fit(texts[:4], labels[:4])

    assert_equal_estimators(grown(None), grown(2), texts)


def test_apart__member_search(away, make, texts, labels):
    def search(n_jobs):
        found = MemberSearchCV(make(n_jobs=n_jobs), {"n_members": [1, 3]}, cv=2)
        return found.fit(texts, labels).cv_results_["mean_test_score"]

    np.testing.assert_allclose(search(None), search(2), rtol=0, atol=1e-12)


def test_apart__moves_no_global_random_state(away, make, texts, labels):
    def state():
        numpys = np.random.get_state()[1]  # noqa: NPY002
        return random.getstate()[1], numpys.tolist(), torch.get_rng_state().tolist()

    before = state()
    make(n_jobs=2).fit(texts, labels)
    assert state() == before


WARNED = {"members (0, 1) have run an epoch", "members (2,) have run an epoch"}


class Warns(Callback):
    def on_epoch_end(self, net, **kwargs):
        import warnings

        warnings.warn(f"members {net.member_ids} have run an epoch", RuntimeWarning, stacklevel=2)


def test_apart__warnings_of_tasks_are_given_here(away, make, texts, labels):
    with pytest.warns(RuntimeWarning) as told:
        make(n_jobs=2, callbacks=[Warns()]).fit(texts, labels)
    assert {str(w.message) for w in told} == WARNED


def test_apart__an_error_names_the_members_and_changes_nothing(away, make, texts, labels):
    clf = make(n_jobs=2).fit(texts, labels)
    before = clf.predict_proba(texts)
    clf.set_params(lr=1e300)
    with pytest.raises(NonFiniteLossError, match="The loss of member") as caught:
        clf.fit(texts, labels)
    told = re.compile(r"It happened in the task that trains members (0, 1|2), process \d+ of ")
    assert told.search(caught.value.__notes__[0])  # both tasks fail, and either may be the first
    np.testing.assert_array_equal(clf.predict_proba(texts), before)


# -- processes ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_apart__in_processes(backend, make, texts, labels):
    for settings in ({}, {"adapt_blocks": 1}):
        joint = make(**settings).fit(texts, labels)
        with parallel_config(backend=backend):
            apart = make(n_jobs=2, **settings).fit(texts, labels)
        assert_equal_estimators(joint, apart, texts)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_apart__whatever_the_threads_of_a_worker(precision, make, texts, labels):
    joint = make(precision=precision).fit(texts, labels)
    for threads in (1, 2):
        with parallel_config(backend="loky", inner_max_num_threads=threads):
            apart = make(n_jobs=2, precision=precision).fit(texts, labels)
        same = assert_equal_estimators if precision == "float64" else assert_close_predictions
        same(joint, apart, texts)


@pytest.mark.slow
def test_apart__inside_a_search_in_processes(make, texts, labels):
    grid = {"rank": [2, None]}

    def scores(outer, inner):
        search = GridSearchCV(make(n_jobs=inner), grid, cv=2, n_jobs=outer, scoring="neg_log_loss")
        return search.fit(texts, labels).cv_results_["mean_test_score"]

    np.testing.assert_allclose(scores(2, 2), scores(None, None), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_apart__warnings_and_errors_out_of_processes(make, texts, labels):
    with parallel_config(backend="loky"):
        with pytest.warns(RuntimeWarning) as told:
            make(n_jobs=2, callbacks=[Warns()]).fit(texts, labels)
        with pytest.raises(NonFiniteLossError) as caught:
            make(n_jobs=2, lr=1e300).fit(texts, labels)
    assert {str(w.message) for w in told} == WARNED
    assert any("in the task that trains members" in note for note in caught.value.__notes__)

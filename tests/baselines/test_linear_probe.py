"""The linear probe: heads only, and the same contract as the ensemble."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from sksve import SVEClassifier
from sksve.baselines import LinearProbeClassifier
from tests.making import LABELS, TEXTS, new


@pytest.fixture(scope="module")
def make(tiny):
    def make(**changes):
        settings = {"max_epochs": 3, "batch_size": 4, "precision": "float64", "random_state": 0}
        return new(LinearProbeClassifier, tiny, **(settings | changes))

    return make


@pytest.fixture(scope="module")
def fitted(make):
    return make(n_members=2).fit(TEXTS, LABELS)


def features(pair, texts):
    model, tokenizer = pair
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        tokens = [double(**tokenizer(t, return_tensors="pt")).last_hidden_state[0] for t in texts]
    return np.stack([t.mean(0) for t in tokens])


def test__probe__trains_heads_only(fitted, tiny):
    names = {n for n, p in fitted.net_.module_.named_parameters() if p.requires_grad}
    assert names == {"heads.weight", "heads.bias"}
    assert fitted.adapter_report_.adapted == ()
    assert fitted.adapter_report_.n_trainable == 2 * (2 * 16 + 2)
    given, inside = tiny[0].state_dict(), fitted.net_.module_.split.model.state_dict()
    assert all(torch.equal(inside[n], given[n].double()) for n in given if n in inside)


def test__probe__is_a_linear_map_of_the_pooled_vector(fitted, tiny):
    pooled = torch.tensor(features(tiny, TEXTS))
    heads = fitted.net_.module_.heads
    logits = torch.einsum("nd,mcd->mnc", pooled, heads.weight) + heads.bias[:, None]
    expected = logits.softmax(-1).detach().numpy()
    np.testing.assert_allclose(fitted.predict_proba_members(TEXTS), expected, rtol=0, atol=1e-9)


def test__probe__converges_to_logistic_regression(make, tiny):
    # Every text has contradicting labels, so that the optimum is finite.
    X, y = TEXTS[:6] * 3, np.array([0, 1, 0, 1, 0, 1] * 2 + [1, 0] * 3)
    probe = make(
        max_epochs=400, batch_size=18, head_lr=0.1, weight_decay=0.0, max_grad_norm=None
    ).fit(X, y)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(features(tiny, X), y)
    np.testing.assert_allclose(
        probe.predict_proba(X), oracle.predict_proba(features(tiny, X)), rtol=0, atol=1e-3
    )


def test__probe__shares_streams_and_batches_with_the_ensemble(fitted, tiny):
    # Without noise and without adapter steps the ensemble is the probe.
    ensemble = new(
        SVEClassifier, tiny, n_members=2, init_scale=0.0, lr=1e-300, head_lr=fitted.settings_.head_lr,
        max_epochs=3, batch_size=4, precision="float64", random_state=0, max_grad_norm=None,
    ).fit(TEXTS, LABELS)  # fmt: skip
    probe = clone(fitted).set_params(training__max_grad_norm=None).fit(TEXTS, LABELS)
    np.testing.assert_allclose(
        ensemble.predict_proba_members(TEXTS), probe.predict_proba_members(TEXTS), rtol=0, atol=1e-9
    )

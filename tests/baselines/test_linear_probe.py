"""The linear probe is scikit-learn's logistic regression on the backbone's vectors, by value."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from sksve.baselines import LinearProbeClassifier
from sksve.preprocessing import BackboneFeatures
from tests.making import TEXTS

X = [f"{a} {b}".strip() for a in TEXTS for b in ("", "a film", "the story", "never")]
Y = np.random.default_rng(0).choice(["a", "b", "c"], size=len(X))
TWO = np.where(Y == "a", "a", "b")
SOLVER = {"tol": 1e-8, "max_iter": 10_000}


@pytest.fixture(scope="module")
def vectors(tiny):
    return BackboneFeatures(tiny, normalize=True, precision="float64").fit_transform(X)


@pytest.fixture(scope="module")
def make(tiny):
    def make(**changes):
        return LinearProbeClassifier(tiny, **{"precision": "float64", "random_state": 0} | changes)

    return make


def searched(vectors, y, Cs, **how):
    weight = how.pop("sample_weight", None)
    search = LogisticRegressionCV(
        Cs=Cs, cv=5, scoring="neg_log_loss", l1_ratios=(0,), use_legacy_attributes=False, **SOLVER, **how
    )  # fmt: skip
    return search.fit(vectors, y, sample_weight=weight)


@pytest.mark.parametrize("Cs", [(0.3, 3.0, 30.0), (0.01, 0.1)], ids=str)
@pytest.mark.parametrize("y", [Y, TWO], ids=["three", "two"])
def test_probe__is_the_searched_logistic_regression(y, Cs, make, vectors):
    probe = make(Cs=Cs).fit(X, y)
    oracle = searched(vectors, y, Cs)
    assert probe.C_ == oracle.C_
    np.testing.assert_allclose(
        probe.predict_proba(X), oracle.predict_proba(vectors), rtol=0, atol=1e-6
    )


def test_weights__count_as_in_scikit_learn(make, vectors, rng):
    weight = rng.uniform(0.1, 4, size=len(X))
    probe = make(class_weight="balanced").fit(X, Y, sample_weight=weight)
    share = {label: len(Y) / 3 / np.sum(Y == label) for label in "abc"}
    oracle = searched(vectors, Y, probe.Cs, sample_weight=weight, class_weight=share)
    assert probe.C_ == oracle.C_
    np.testing.assert_allclose(
        probe.predict_proba(X), oracle.predict_proba(vectors), rtol=0, atol=1e-6
    )
    times = np.arange(len(X)) % 3
    weighed = make(Cs=[3.0]).fit(X, Y, sample_weight=times)
    repeated = make(Cs=[3.0]).fit(np.repeat(X, times), np.repeat(Y, times))
    np.testing.assert_allclose(
        weighed.predict_proba(X), repeated.predict_proba(X), rtol=0, atol=1e-6
    )


def test_soft_labels__are_rows_with_shares(make, vectors, rng):
    soft = rng.dirichlet([1, 1, 1], size=len(X))
    soft[0] = 1, 0, 0
    probe = make(Cs=[2.0]).fit(X, soft)
    oracle = LogisticRegression(C=2.0, **SOLVER).fit(
        np.repeat(vectors, 3, axis=0), np.tile([0, 1, 2], len(X)), sample_weight=soft.ravel()
    )
    np.testing.assert_allclose(
        probe.predict_proba(X), oracle.predict_proba(vectors), rtol=0, atol=1e-6
    )
    hard = make().fit(X, np.eye(3)[np.searchsorted(["a", "b", "c"], Y)])
    plain = make().fit(X, Y)
    assert hard.C_ == plain.C_
    np.testing.assert_allclose(hard.predict_proba(X), plain.predict_proba(X), rtol=0, atol=1e-9)


def test_rare_classes__are_trained_on_and_not_judged(make, vectors):
    y = np.array(["a"] * 40 + ["b"] * 5 + ["c", "c", "d"])
    probe = make().fit(X, y)
    oracle = LogisticRegression(C=probe.C_, **SOLVER).fit(vectors, y)
    np.testing.assert_allclose(
        probe.predict_proba(X), oracle.predict_proba(vectors), rtol=0, atol=1e-6
    )
    two = make().fit(["good film", "bad film"], ["x", "y"])  # no fold can be held out
    assert two.C_ == 30.0
    assert two.predict(["good film"]) == ["x"]


def test_class_without_rows__is_never_expected(make):
    weight = np.where(Y == "c", 0.0, 1.0)
    probe = make().fit(X, Y, sample_weight=weight)
    assert probe.classes_.tolist() == ["a", "b", "c"]
    assert probe.predict_proba(X)[:, 2].max() < 1e-30
    without = make().fit([x for x, y in zip(X, Y) if y != "c"], Y[Y != "c"])
    np.testing.assert_allclose(
        probe.predict_proba(X)[:, :2], without.predict_proba(X), rtol=0, atol=1e-6
    )


def test_further_members__are_a_bayesian_bootstrap(make):
    probe = make(n_members=200, Cs=[3.0]).fit(X, TWO)
    members = probe.predict_proba_members(X)[..., 1]
    alone = make(Cs=[3.0]).fit(X, TWO).predict_proba(X)[:, 1]
    np.testing.assert_allclose(members[0], alone, rtol=0, atol=1e-12)
    # Weights of mean 1 and variance 1: the spread is that of the sandwich estimator's first order.
    z = BackboneFeatures(probe.backbone, normalize=True, precision="float64").fit_transform(X)
    z = np.column_stack([z, np.ones(len(X))])
    grad = z * (alone - (TWO == "b"))[:, None]
    hessian = (z * (alone * (1 - alone))[:, None]).T @ z
    hessian[:-1, :-1] += np.eye(z.shape[1] - 1) / 3.0
    spread = np.sqrt(((grad @ np.linalg.solve(hessian, z.T)) ** 2).sum(axis=0))
    spread *= alone * (1 - alone)
    assert np.median(members[1:].std(axis=0) / spread) == pytest.approx(1.0, abs=0.15)


def test_members__come_back_and_are_judged(make, tmp_path):
    probe = make(n_members=2).fit(X, Y, X_val=X[:9], y_val=Y[:9])
    (epoch,) = probe.history_
    codes = np.searchsorted(probe.classes_, Y[:9])
    members = probe.predict_proba_members(X[:9])
    expected = -np.log(members[:, np.arange(9), codes]).mean(axis=1)
    np.testing.assert_allclose(epoch["valid_loss"], expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(
        epoch["valid_accuracy"], (members.argmax(-1) == codes).mean(axis=1)
    )
    again = LinearProbeClassifier.from_pretrained(
        probe.save_pretrained(tmp_path), backbone=probe.backbone
    )
    assert again.C_ == probe.C_
    again.set_params(warm_start=True, n_members=3).fit(X, Y)
    three = make(n_members=3).fit(X, Y).predict_proba_members(X)
    np.testing.assert_allclose(again.predict_proba_members(X), three, rtol=0, atol=1e-6)


def test_what_is_not_there__is_not_a_parameter(make):
    probe = make().fit(X, Y)
    absent = {"max_epochs", "lr", "batch_size", "weight_decay", "early_stopping", "training"}
    assert not absent & (probe.get_params().keys() | probe.settings_.values.keys())
    with pytest.raises(AttributeError, match="no partial_fit: a logistic regression is solved on"):
        probe.partial_fit(X, Y)
    for Cs in ([], [0.0], "3", [1.0, np.inf], 3.0):
        with pytest.raises(ValueError, match="'Cs' parameter of LinearProbeClassifier must be a"):
            make(Cs=Cs).fit(X, Y)
    assert {n for n, p in probe.net_.module_.named_parameters() if p.requires_grad} == {
        "heads.weight", "heads.bias",
    }  # fmt: skip
    assert probe.adapter_report_.adapted == ()
    inside = probe.net_.module_.split.model.state_dict()
    given = probe.backbone[0].state_dict()
    assert all(torch.equal(inside[n], given[n].double()) for n in given if n in inside)


def test_probe__has_no_options_of_training():
    probe = LinearProbeClassifier()
    assert not [name for name in probe.get_params() if name.startswith("training")]
    with pytest.raises(ValueError, match="Invalid parameter 'training'"):
        probe.set_params(training__head_lr=0.01)

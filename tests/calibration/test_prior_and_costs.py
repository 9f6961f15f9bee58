"""Other class shares and other costs: by value, by name, and never by the batch."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from sksve.calibration import CalibratedClassifier, CostSensitiveClassifier, PriorCorrection
from tests.calibration.problems import draw_labels

LABELS = np.array(["ant", "bee", "cow"])


def shifted(rng, priors, n=4000):
    """Rows of three normal classes in the given shares, and their exact probabilities at equal ones."""
    y = draw_labels(rng, np.tile(priors, (n, 1)))
    X = np.array([[0, 0], [1.5, 0], [0, 1.5]])[y] + rng.normal(size=(n, 2))
    return X, LABELS[y]


@pytest.fixture
def model(rng):
    return FrozenEstimator(LogisticRegression(C=100).fit(*shifted(rng, [1 / 3] * 3, 20_000)))


def test_em__finds_the_shares_of_largest_likelihood(rng, model):
    truth = np.array([0.7, 0.25, 0.05])
    X, y = shifted(rng, truth)
    clf = PriorCorrection(model, source_priors=[1 / 3] * 3).fit(X[:9], y[:9])
    before = clf.predict_proba(X)
    np.testing.assert_allclose(before, model.predict_proba(X), atol=1e-15)
    clf.adapt(X)
    np.testing.assert_allclose(clf.priors_, truth, atol=0.03)
    ratio = before * 3

    def loss(theta):
        shares = np.exp(np.append(theta, 0))
        return -np.log(ratio @ (shares / shares.sum())).mean()

    best = minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    shares = np.exp(np.append(best, 0))
    np.testing.assert_allclose(clf.priors_, shares / shares.sum(), atol=1e-4)
    assert clf.n_iter_ > 1
    # Better on rows of these shares, and the same whether a row comes alone or among others.
    codes = np.searchsorted(LABELS, y)
    after = clf.predict_proba(X)
    loss_of = [-np.log(p[np.arange(len(y)), codes]).mean() for p in (before, after)]
    assert loss_of[1] < loss_of[0] - 0.05
    np.testing.assert_allclose(clf.predict_proba(X[3:4])[0], after[3], atol=1e-15)
    again = clf.adapt(priors=dict(zip(LABELS, [1 / 3] * 3))).predict_proba(X)
    np.testing.assert_allclose(again, before, atol=1e-12)


def test_given_shares__are_bayes_rule(rng, data):
    X, y = data
    clf = PriorCorrection(LogisticRegression()).fit(X, y)
    source = np.array([np.mean(y == label) for label in LABELS])
    np.testing.assert_allclose(clf.source_priors_, source)
    new = np.array([0.5, 0.2, 0.3])
    clf.adapt(priors=pd.Series({"cow": 0.3, "ant": 0.5, "bee": 0.2}))
    raw = LogisticRegression().fit(X, y).predict_proba(X) * new / source
    np.testing.assert_allclose(clf.predict_proba(X), raw / raw.sum(axis=1, keepdims=True))
    assert (clf.predict(X) == LABELS[raw.argmax(axis=1)]).all()
    weight = np.where(y == "ant", 2.0, 1.0)
    weighted = PriorCorrection(LogisticRegression()).fit(X, y, weight).source_priors_
    np.testing.assert_allclose(weighted, source * [2, 1, 1] / (source @ [2, 1, 1]))


def test_balanced_weights__are_undone(rng):
    truth = np.array([0.8, 0.15, 0.05])
    X, y = shifted(rng, truth, 20_000)
    balanced = LogisticRegression(class_weight="balanced")
    clf = PriorCorrection(balanced, source_priors=[1 / 3] * 3).fit(X, y).adapt(priors=truth)
    plain = LogisticRegression().fit(X, y)
    assert np.abs(balanced.fit(X, y).predict_proba(X) - plain.predict_proba(X)).mean() > 0.1
    assert np.abs(clf.predict_proba(X) - plain.predict_proba(X)).mean() < 0.02


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([0.5, 0.5], "must have shape"),
        ([0.5, 0.6, 0.1], "sum to 1"),
        ([1.2, -0.1, -0.1], "must not be negative"),
        ({"ant": 0.5, "bee": 0.5}, "a share for each"),
        ({"ant": 0.5, "bee": 0.3, "dog": 0.2}, "a share for each"),
    ],
)
def test_priors__that_are_none(data, priors, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        PriorCorrection(LogisticRegression(), source_priors=priors).fit(X, y)
    clf = PriorCorrection(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match=message):
        clf.adapt(priors=priors)
    for args in ({}, {"X": X, "priors": [1 / 3] * 3}):
        with pytest.raises(ValueError, match="either rows without labels"):
            clf.adapt(**args)
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match=r"source priors of \['cow'\] are 0"):
        PriorCorrection(frozen).fit(X[y != "cow"], y[y != "cow"])


def test_prior__keeps_the_members(committee, data):
    X, y = data
    clf = PriorCorrection(CalibratedClassifier(committee())).fit(X, y).adapt(priors=[0.8, 0.1, 0.1])
    inner = clf.estimator_.predict_proba_members(X)
    raw = inner * (clf.priors_ / clf.source_priors_)
    expected = raw / raw.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba_members(X), expected, atol=1e-12)
    uncertainty = clf.predict_uncertainty(X)
    np.testing.assert_allclose(uncertainty.confidence, clf.predict_proba(X).max(axis=1))
    assert (uncertainty.epistemic >= 0).all()


COSTS = np.array([[0, 1, 9], [2, 0, 1], [30, 4, -1]])


@pytest.mark.parametrize(
    "costs",
    [
        COSTS,
        pd.DataFrame(COSTS, index=LABELS, columns=LABELS).loc[["cow", "ant", "bee"], ["bee", "ant", "cow"]],
        {
            "bee": {"ant": 2, "cow": 1},
            "ant": {"bee": 1, "cow": 9, "ant": 0},
            "cow": {"ant": 30, "bee": 4, "cow": -1},
        },
    ],
    ids=["array", "frame", "mapping"],
)  # fmt: skip
def test_costs__decide_by_least_expected_cost(data, costs):
    X, y = data
    clf = CostSensitiveClassifier(LogisticRegression(), costs).fit(X, y)
    p = LogisticRegression().fit(X, y).predict_proba(X)
    expected = [[sum(row[k] * COSTS[k, j] for k in range(3)) for j in range(3)] for row in p]
    np.testing.assert_allclose(clf.expected_costs(X), expected, atol=1e-12)
    assert (clf.predict(X) == LABELS[np.argmin(expected, axis=1)]).all()
    assert (clf.predict(X) != clf.estimator_.predict(X)).any()
    np.testing.assert_array_equal(clf.predict_proba(X), p)
    codes = np.searchsorted(LABELS, y)

    def paid(answers):
        return COSTS[codes, np.searchsorted(LABELS, answers)].mean()

    assert paid(clf.predict(X)) < paid(clf.estimator_.predict(X))


def test_costs__equal_ones_give_the_most_probable_class(committee, data):
    X, y = data
    clf = CostSensitiveClassifier(committee()).fit(X, y)
    assert (clf.predict(X) == clf.estimator_.predict(X)).all()
    assert clf.predict_proba_members(X).shape == (3, 300, 3)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (COSTS[:2], r"shape \(3, 3\)"),
        (np.full((3, 3), np.nan), "not all finite"),
        ({"ant": {"bee": 1}}, "no cost of"),
        ({"ant": {"dog": 1}}, "unknown labels"),
        (pd.DataFrame(COSTS, index=LABELS, columns=["ant", "bee", "dog"]), "columns of cost_matrix"),
        (pd.DataFrame(COSTS, columns=LABELS), "rows of cost_matrix"),
    ],
)  # fmt: skip
def test_costs__that_are_none(data, costs, message):
    with pytest.raises(ValueError, match=message):
        CostSensitiveClassifier(LogisticRegression(), costs).fit(*data)

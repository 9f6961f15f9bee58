"""Prediction sets: their definition, coverage, MAPIE and crepes by value, and all kinds of X."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from sksve import CalibrationWarning
from sksve.calibration import ConformalClassifier
from tests.calibration.problems import draw_labels, overconfident

METHODS = ["lac", "aps", "raps"]


class Given(ClassifierMixin, BaseEstimator):
    """X are the probabilities."""

    def fit(self, X, y):
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return self.classes_[np.argmax(X, axis=1)]


def given(c):
    return FrozenEstimator(Given().fit(np.empty((0, c)), []))


def slow_set(method, p_cal, y_cal, p, alpha, penalty=0.1, free=1):
    """One row's set: straight from the definition, one class at a time."""

    def score(row, k):
        if method == "lac":
            return 1 - row[k]
        before = [j for j in range(len(row)) if row[j] > row[k] or j == k]
        return sum(row[j] for j in before) + (
            penalty * max(len(before) - free, 0) if method == "raps" else 0
        )

    held = sorted(score(row, k) for row, k in zip(p_cal, y_cal))
    rank = int(np.ceil((len(held) + 1) * (1 - alpha) - 1e-9))
    limit = held[rank - 1] if rank <= len(held) else np.inf
    chosen = [score(p, k) <= limit + 1e-11 for k in range(len(p))]
    if method != "lac":
        chosen[int(np.argmax(p))] = True
    return chosen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_set__is_that_of_the_definition(rng, method, level):
    p, y = overconfident(rng, 59, 4)
    new, _ = overconfident(rng, 50, 4)
    clf = ConformalClassifier(given(4), confidence_level=level, method=method).fit(p, y)
    expected = [slow_set(method, p, y, row, 1 - level) for row in new]
    np.testing.assert_array_equal(clf.predict_set(new), expected)
    # A row's set is the same alone and among others.
    np.testing.assert_array_equal(clf.predict_set(new[7:8])[0], expected[7])


@pytest.mark.parametrize("method", METHODS)
def test_class_conditional__is_each_class_alone(rng, method):
    p, y = overconfident(rng, 300, 3)
    new, _ = overconfident(rng, 100, 3)
    clf = ConformalClassifier(given(3), method=method, conditional="class").fit(p, y)
    sets = clf.predict_set(new)
    for k in range(3):
        alone = ConformalClassifier(given(3), method=method).fit(p[y == k], y[y == k])
        top = new.argmax(axis=1) == k  # of the others, "aps" adds the most probable class
        np.testing.assert_array_equal(sets[~top, k], alone.predict_set(new)[~top, k])


def test_weights__two_equals_twice_and_zero_equals_absent(rng):
    p, y = overconfident(rng, 80, 3)
    new, _ = overconfident(rng, 200, 3)
    weight = rng.integers(0, 4, 80)
    for conditional in (None, "class"):
        weighted = ConformalClassifier(given(3), conditional=conditional).fit(p, y, weight)
        repeated = ConformalClassifier(given(3), conditional=conditional)
        repeated.fit(np.repeat(p, weight, axis=0), np.repeat(y, weight))
        np.testing.assert_array_equal(weighted.predict_set(new), repeated.predict_set(new))


@pytest.mark.parametrize("method", METHODS)
def test_cross_conformal__counts_the_rows_of_every_fold(rng, method, data):
    X, y = data
    cv = StratifiedKFold(4)
    clf = ConformalClassifier(LogisticRegression(), method=method, cv=cv).fit(X[:200], y[:200])
    new, classes = X[200:], clf.classes_
    count, pooled = np.zeros((100, 3)), 0
    for train, test in cv.split(X[:200], y[:200]):
        model = LogisticRegression().fit(X[train], y[train])
        score = clf._score(model.predict_proba(new))
        held = clf._score(model.predict_proba(X[test]))
        held = held[np.arange(len(test)), np.searchsorted(classes, y[test])]
        count += (held[:, None, None] >= score).sum(axis=0)
        pooled = pooled + model.predict_proba(new)
    expected = (1 + count) / 201 > 0.1 + 1e-12
    if method != "lac":
        expected[np.arange(100), pooled.argmax(axis=1)] = True
    np.testing.assert_array_equal(clf.predict_set(new), expected)
    assert len(clf.estimators_) == 4
    np.testing.assert_array_equal(
        clf.predict_proba(new), LogisticRegression().fit(X[:200], y[:200]).predict_proba(new)
    )


def coverage(method, n, repetitions, seed=0):
    rng = np.random.default_rng(seed)
    covered = []
    for _ in range(repetitions):
        p = rng.dirichlet(np.full(5, 0.4), size=n + 2000)
        y = draw_labels(rng, p)
        skewed = p**1.7 / (p**1.7).sum(axis=1, keepdims=True)
        clf = ConformalClassifier(given(5), method=method).fit(skewed[:n], y[:n])
        sets = clf.predict_set(skewed[n:])
        covered.append(sets[np.arange(2000), y[n:]].mean())
    return np.mean(covered)


def test_lac__covers_what_it_says():
    assert 0.895 <= coverage("lac", 200, 200) <= 0.905 + 1 / 201


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [50, 500])
def test_coverage__is_at_least_the_level(method, n):
    mean = coverage(method, n, 200, seed=1)
    assert mean >= 0.895
    assert method != "lac" or mean <= 0.905 + 1 / (n + 1)


# Classes in the sets of 1,297 rows, by level: MAPIE 1.6.0,
# SplitConformalClassifier(model, conformity_score="lac", prefit=True), and crepes 0.9.1,
# WrapClassifier(model).predict_set(..., smoothing=False), gave the same sets; class_cond=True those of the
# last column (crepes alone).
MAPIE_AND_CREPES = {0.9: (3771, 4109), 0.95: (5449, 7215)}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sksve.CalibrationWarning")
@pytest.mark.parametrize("level", MAPIE_AND_CREPES)
def test_lac__equals_mapie_and_crepes(level):
    X, y = load_digits(return_X_y=True)
    X = X[:, :40:3]
    model = FrozenEstimator(LogisticRegression(max_iter=50).fit(X[:300], y[:300]))
    sizes = []
    for conditional in (None, "class"):
        clf = ConformalClassifier(model, confidence_level=level, conditional=conditional)
        sizes.append(clf.fit(X[300:500], y[300:500]).predict_set(X[500:]).sum())
    assert tuple(sizes) == MAPIE_AND_CREPES[level]
    mapie = pytest.importorskip("mapie.classification", reason="compared where MAPIE is installed")
    theirs = mapie.SplitConformalClassifier(
        model, confidence_level=level, conformity_score="lac", prefit=True
    ).conformalize(X[300:500], y[300:500])
    ours = ConformalClassifier(model, confidence_level=level).fit(X[300:500], y[300:500])
    np.testing.assert_array_equal(
        ours.predict_set(X[500:]), theirs.predict_set(X[500:])[1][:, :, 0]
    )


def test_too_few_rows__give_all_classes_and_say_so(rng):
    p, y = overconfident(rng, 8, 3)
    with pytest.warns(CalibrationWarning, match="needs at least 9 held-out rows.*got 8") as caught:
        clf = ConformalClassifier(given(3)).fit(p, y)
    assert caught[0].filename == __file__
    assert clf.predict_set(p).all()
    assert clf.set_params(confidence_level=0.5).predict_set(p).mean() < 1  # without another fit
    p, y = overconfident(rng, 200, 3)
    y[y == 2] = 0
    y[:5] = 2
    with pytest.warns(CalibrationWarning, match=r"of each class.*in every set: 2\."):
        clf = ConformalClassifier(given(3), conditional="class").fit(p, y)
    assert clf.predict_set(p)[:, 2].all()
    assert not clf.predict_set(p)[:, 0].all()


def test_report__counts_by_hand(rng):
    p, y = overconfident(rng, 150, 3)
    clf = ConformalClassifier(given(3)).fit(p[:100], y[:100])
    report = clf.coverage_report(p[100:], y[100:])
    sets = clf.predict_set(p[100:])
    hit = sets[np.arange(50), y[100:]]
    assert report.overall.coverage == hit.mean()
    assert report.overall.mean_size == sets.sum(axis=1).mean()
    assert report.overall.low < hit.mean() < report.overall.high
    assert report.sizes.tolist() == [np.sum(sets.sum(axis=1) == k) for k in range(4)]
    assert report.by_class[1].coverage == hit[y[100:] == 1].mean()
    frame = report.to_frame()
    assert frame.index.tolist() == ["all", 0, 1, 2]
    assert frame.loc["all", "n_samples"] == 50
    with pytest.raises(ValueError, match="one label a row: 50 rows"):
        clf.coverage_report(p[100:], y)


def test_members_and_texts__go_through(sve, reviews, tmp_path):
    y = np.arange(60) % 2
    inner = sve(2)
    clf = ConformalClassifier(FrozenEstimator(inner), method="aps").fit(reviews[:40], y[:40])
    assert clf.predict_set(reviews[40:]).shape == (20, 2)
    np.testing.assert_array_equal(clf.predict_proba(reviews), inner.predict_proba(reviews))
    np.testing.assert_array_equal(
        clf.predict_proba_members(reviews), inner.predict_proba_members(reviews)
    )
    assert (clf.predict_uncertainty(reviews).epistemic >= 0).all()
    pieces = list(clf.predict_proba_iter(iter(reviews), chunk_size=50))
    np.testing.assert_allclose(np.concatenate(pieces), clf.predict_proba(reviews), atol=1e-9)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"confidence_level": 1.0}, "confidence_level"),
        ({"method": "naive"}, "method"),
        ({"conditional": "group"}, "conditional"),
        ({"penalty": -1}, "penalty"),
        ({"cv": 1.5}, "cv"),
    ],
)
def test_parameters__are_refused_by_name(data, params, message):
    with pytest.raises(ValueError, match=f"The '{message}' parameter of ConformalClassifier"):
        ConformalClassifier(LogisticRegression(), **params).fit(*data)

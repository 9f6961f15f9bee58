"""SelectiveClassifier: what is held out, what is answered, what is said of it."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, entropy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.utils import check_random_state

from sksve import CalibrationWarning
from sksve.calibration import CalibratedClassifier, SelectiveClassifier


@pytest.fixture(scope="module")
def split(data):
    """A fitted classifier and 200 rows it has not seen."""
    X, y = data
    return GaussianNB().fit(X[:100], y[:100]), X[100:], y[100:]


def test__frozen__by_coverage(split):
    inner, X, y = split
    clf = SelectiveClassifier(FrozenEstimator(inner), coverage=0.7).fit(X, y)
    sure = inner.predict_proba(X).max(axis=1)
    wrong = inner.predict(X) != y
    assert clf.n_held_out_ == 200
    assert clf.threshold_ == np.sort(sure)[::-1][141 - 1]  # ceil(0.7 * 201)
    answered = sure >= clf.threshold_
    np.testing.assert_array_equal(clf.accepts(X), answered)
    np.testing.assert_array_equal(clf.confidence_score(X), sure)
    assert clf.coverage_ == answered.mean() == 141 / 200
    assert clf.risk_ == pytest.approx(wrong[answered].mean())
    exact = binomtest(int(wrong[answered].sum()), 141).proportion_ci(0.95, method="exact")
    assert clf.risk_interval_ == pytest.approx(tuple(exact))
    assert clf.risk_ < wrong.mean()


def test__answers(split):
    inner, X, y = split
    clf = SelectiveClassifier(FrozenEstimator(inner), coverage=0.5).fit(X, y)
    np.testing.assert_array_equal(clf.predict(X), inner.predict(X))
    np.testing.assert_array_equal(clf.predict_proba(X), inner.predict_proba(X))
    np.testing.assert_array_equal(clf.predict_log_proba(X), inner.predict_log_proba(X))
    masked = clf.predict_selective(X)
    np.testing.assert_array_equal(masked.mask, ~clf.accepts(X))
    np.testing.assert_array_equal(masked.compressed(), inner.predict(X)[clf.accepts(X)])
    clf.set_params(reject_label="unsure").fit(X, y)
    assert set(clf.predict(X)) == {"ant", "bee", "cow", "unsure"}
    expected = np.where(clf.accepts(X), inner.predict(X), "unsure")
    np.testing.assert_array_equal(clf.predict(X), expected)


@pytest.mark.parametrize("measure", ["confidence", "margin", "entropy"])
def test__measures_of_probabilities(measure, split):
    inner, X, y = split
    clf = SelectiveClassifier(FrozenEstimator(inner), coverage=0.6, measure=measure).fit(X, y)
    p = inner.predict_proba(X)
    ordered = np.sort(p, axis=1)
    expected = {
        "confidence": p.max(axis=1),
        "margin": ordered[:, -1] - ordered[:, -2],
        "entropy": -entropy(p, axis=1),
    }[measure]
    np.testing.assert_allclose(clf.confidence_score(X), expected, rtol=0, atol=1e-12)
    assert clf.coverage_ == pytest.approx(0.605)


def test__epistemic_measure(committee, data):
    X, y = data
    clf = SelectiveClassifier(committee(), coverage=0.6, measure="epistemic", random_state=0)
    clf.fit(X, y)
    expected = -clf.estimator_.predict_uncertainty(X).epistemic
    np.testing.assert_array_equal(clf.confidence_score(X), expected)
    np.testing.assert_array_equal(clf.predict_uncertainty(X).epistemic, -expected)
    np.testing.assert_array_equal(
        clf.predict_proba_members(X), clf.estimator_.predict_proba_members(X)
    )


def test__a_callable_measure_needs_no_probabilities(data):
    X, y = data
    y = np.where(y == "cow", "bee", y)

    def distance(fitted, X):
        return np.abs(fitted.decision_function(X))

    clf = SelectiveClassifier(LinearSVC(), coverage=0.6, measure=distance, random_state=0).fit(X, y)
    assert not hasattr(clf, "predict_proba")
    np.testing.assert_array_equal(
        clf.accepts(X), np.abs(clf.decision_function(X)) >= clf.threshold_
    )


class Witness(LogisticRegression):
    """Remembers the first column of what it was fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.seen_ = set(X[:, 0])
        return super().fit(X, y, sample_weight)


def test__a_share_is_held_out_and_never_trained_on(data):
    X, y = data
    judged = []

    def sure(fitted, X):
        judged.append(X[:, 0])
        return fitted.predict_proba(X).max(axis=1)

    clf = SelectiveClassifier(Witness(), coverage=0.7, measure=sure, cv=0.3, random_state=1)
    clf.fit(X, y)
    assert clf.n_held_out_ == 90
    assert len(clf.estimator_.seen_) == 210
    assert clf.estimator_.seen_.isdisjoint(judged[0])
    again = SelectiveClassifier(Witness(), coverage=0.7, cv=0.3, random_state=1).fit(X, y)
    assert again.threshold_ == clf.threshold_
    other = SelectiveClassifier(Witness(), coverage=0.7, cv=0.3, random_state=2).fit(X, y)
    assert other.threshold_ != clf.threshold_


def test__no_seed_leaves_the_global_generator_alone(data):
    before = check_random_state(None).get_state()[1].copy()
    SelectiveClassifier(GaussianNB(), coverage=0.7).fit(*data)
    np.testing.assert_array_equal(check_random_state(None).get_state()[1], before)


def test__folds_judge_every_row_and_the_estimator_sees_all(data):
    X, y = data
    clf = SelectiveClassifier(Witness(), coverage=0.7, cv=4).fit(X, y)
    unseen = cross_val_predict(
        LogisticRegression(), X, y, cv=StratifiedKFold(4), method="predict_proba"
    )
    sure = unseen.max(axis=1)
    wrong = np.unique(y)[unseen.argmax(axis=1)] != y
    assert clf.n_held_out_ == len(clf.estimator_.seen_) == 300
    assert clf.threshold_ == pytest.approx(np.sort(sure)[::-1][int(np.ceil(0.7 * 301)) - 1])
    assert clf.risk_ == pytest.approx(wrong[sure >= clf.threshold_ - 1e-12].mean())


# -- risk ----------------------------------------------------------------------------------------


def test__max_risk__is_the_upper_end_of_the_interval(split):
    inner, X, y = split
    loose = SelectiveClassifier(FrozenEstimator(inner), max_risk=0.4).fit(X, y)
    tight = SelectiveClassifier(FrozenEstimator(inner), max_risk=0.3).fit(X, y)
    assert 0 < tight.coverage_ < loose.coverage_ <= 1
    assert tight.risk_ < tight.risk_interval_[1] <= 0.3
    assert loose.risk_ < loose.risk_interval_[1] <= 0.4
    np.testing.assert_array_equal(tight.accepts(X) & loose.accepts(X), tight.accepts(X))


def test__max_risk__out_of_reach_abstains_on_everything(split):
    inner, X, y = split
    clf = SelectiveClassifier(FrozenEstimator(inner), max_risk=0.01, reject_label="unsure")
    with pytest.warns(CalibrationWarning, match="At least 299 are needed"):
        clf.fit(X, y)
    assert not clf.accepts(X).any()
    assert clf.predict_selective(X).mask.all()
    assert set(clf.predict(X)) == {"unsure"}
    assert clf.coverage_ == 0
    assert np.isnan(clf.risk_)
    wrong = np.roll(inner.predict(X), 7)
    with pytest.warns(CalibrationWarning, match="Too many of the most confident rows are wrong"):
        SelectiveClassifier(FrozenEstimator(inner), max_risk=0.1).fit(X, wrong)


def test__weights_of_zero_are_no_rows(split):
    inner, X, y = split
    weight = np.arange(200) % 2
    clf = SelectiveClassifier(FrozenEstimator(inner), coverage=0.7)
    clf.fit(X, y, sample_weight=weight)
    half = SelectiveClassifier(FrozenEstimator(inner), coverage=0.7).fit(X[1::2], y[1::2])
    assert clf.n_held_out_ == 100
    assert (clf.threshold_, clf.risk_) == (half.threshold_, half.risk_)


# -- composition and refusals ----------------------------------------------------------------------


def test__around_a_calibrated_ensemble(committee, data):
    X, y = data
    inner = CalibratedClassifier(committee(), cv=3)
    clf = SelectiveClassifier(inner, coverage=0.8, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), clf.estimator_.predict_proba(X))
    frame = pd.DataFrame(X, index=range(7, 307))
    found = clf.predict_uncertainty(frame)
    np.testing.assert_array_equal(found.confidence, clf.predict_proba(X).max(axis=1))
    np.testing.assert_array_equal(found.confidence, clf.confidence_score(X))
    assert found.to_frame().index[0] == 7


def test__texts(sve, reviews):
    y = ["neg", "pos"] * 30
    clf = SelectiveClassifier(sve(2), coverage=0.5, random_state=0).fit(reviews, y)
    assert 0 < clf.predict_selective(reviews).mask.sum() < 60
    assert not hasattr(clf, "n_features_in_")


def test__inside_scikit_learns_calibration(data):
    X, y = data
    clf = CalibratedClassifierCV(SelectiveClassifier(GaussianNB(), coverage=0.9, random_state=0))
    assert (clf.fit(X, y).predict(X) == y).mean() > 0.5


NB = GaussianNB()


@pytest.mark.parametrize(
    ("clf", "words"),
    [
        (SelectiveClassifier(NB), "one of 'coverage', 'max_risk' and 'target"),
        (SelectiveClassifier(NB, coverage=0.5, max_risk=0.1), "needs one of"),
        (SelectiveClassifier(NB, coverage=0.0), "'coverage' parameter"),
        (SelectiveClassifier(NB, max_risk=1.0), "'max_risk' parameter"),
        (SelectiveClassifier(NB, coverage=0.5, measure="luck"), "'measure' parameter"),
        (SelectiveClassifier(NB, coverage=0.5, measure="epistemic"), "GaussianNB has no members"),
        (SelectiveClassifier(LinearSVC(), coverage=0.5), "needs predict_proba, which LinearSVC"),
        (SelectiveClassifier(NB, coverage=0.5, cv=1.5), "'cv' parameter"),
        (SelectiveClassifier(NB, coverage=0.5, confidence_level=1), "'confidence_level'"),
        (SelectiveClassifier(NB, coverage=0.5, reject_label=-1), "of the labels' kind"),
        (SelectiveClassifier(NB, coverage=0.5, reject_label="bee"), "none of them"),
        (SelectiveClassifier(NB, coverage=0.5, measure=lambda c, X: X), "one number a row"),
        (SelectiveClassifier(GaussianNB, coverage=0.5), "classifier instance"),
    ],
    ids=["neither", "both", "coverage", "risk", "measure", "members", "proba", "cv", "level",
         "kind", "taken", "shape", "class"],
)  # fmt: skip
def test__bad_parameters(clf, words, data):
    with pytest.raises(ValueError, match=words):
        clf.fit(*data)
    assert not hasattr(clf, "estimator_")


def test__unfitted(data):
    clf = SelectiveClassifier(FrozenEstimator(GaussianNB().fit(*data)), coverage=0.5)
    for method in ("predict", "accepts", "confidence_score", "predict_selective", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(clf, method)(data[0])


# -- an estimated target, and rows of another kind -------------------------------------------------


def slow_threshold(score, correct, target):
    """Try every score by scipy's exact interval."""
    best = np.inf
    for edge in score[~np.isnan(score)]:
        answered = score >= edge
        wrong = scipy.stats.binomtest(int((~correct[answered]).sum()), int(answered.sum()))
        if wrong.proportion_ci(0.6, "exact").high <= 1 - target + 1e-12:
            best = min(best, edge)
    return best


@given(st.integers(0, 2**16), st.sampled_from([0.5, 0.8, 0.9]), st.integers(1, 80))
def test_target_accuracy__equals_trying_every_threshold(seed, target, n):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 30, n).astype(float)  # ties
    y = (rng.random(n) < 0.05 + X / 32).astype(int)
    X[:2], y[:2] = 30, 1

    class Fixed(ClassifierMixin, BaseEstimator):
        def __init__(self):
            self.classes_ = np.array([0, 1])

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return np.column_stack([1 - X[:, 0] / 31, X[:, 0] / 31])

        def predict(self, X):
            return np.ones(len(X), dtype=int)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        clf = SelectiveClassifier(
            FrozenEstimator(Fixed()),
            target_accuracy=target,
            measure=lambda clf, X: clf.predict_proba(X)[:, 1],
        ).fit(X[:, None], y)
    expected = slow_threshold(X / 31, y == 1, target)
    assert clf.threshold_ == pytest.approx(expected)
    assert clf.coverage_ == (X / 31 >= expected).mean()


def test_target_accuracy__is_reached_on_average():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        X = rng.normal(size=(1200, 1))
        y = (rng.random(1200) < 1 / (1 + np.exp(-2.5 * X[:, 0]))).astype(int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            clf = SelectiveClassifier(LogisticRegression(), target_accuracy=0.93)
            clf.fit(X[:200], y[:200])
        answered = clf.accepts(X[200:])
        if answered.any():
            found.append((clf.predict(X[200:]) == y[200:])[answered].mean())
    assert len(found) > 50
    assert 0.93 < np.mean(found) < 0.96


def test_target_accuracy__unreached_abstains():
    X = np.random.default_rng(0).normal(size=(80, 2))
    y = np.arange(80) % 2
    with pytest.warns(CalibrationWarning, match=r"target_accuracy=0.99 is not reached"):
        clf = SelectiveClassifier(NB, target_accuracy=0.99).fit(X, y)
    assert not clf.accepts(X).any()


def test_refusal__says_what_could_be_promised():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1))
    y = (rng.random(400) < 1 / (1 + np.exp(-4 * X[:, 0]))).astype(int)
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.warns(CalibrationWarning) as caught:
        SelectiveClassifier(frozen, max_risk=0.02).fit(X, y)
    words = str(caught[0].message)
    least = float(re.search(r"max_risk=([\d.]+) can\.", words).group(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SelectiveClassifier(frozen, max_risk=least).fit(X, y)
    with pytest.warns(CalibrationWarning):
        SelectiveClassifier(frozen, max_risk=least * 0.85).fit(X, y)
    assert int(float(re.search(r"about ([\de+.]+) would", words).group(1))) > 400


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    from sksve.baselines import LinearProbeClassifier
    from tests.making import temporary_tiny

    rows = [f"the {a} film was {b} {c}" for a in ("best", "worst", "fun", "dull")
            for b in ("good", "bad") for c in ("and", "to", "it", "of", "very")]  # fmt: skip
    labels = ["good" in row for row in rows]
    return LinearProbeClassifier(temporary_tiny(), Cs=[10.0]).fit(rows, labels), rows, labels


def test_max_novelty__declines_before_anything_else(reader, tmp_path):
    clf, rows, labels = reader
    frozen = FrozenEstimator(clf)
    foreign = ["404", "x y z q", "never loved hated than"]
    novelty = clf.predict_uncertainty(rows + foreign).novelty
    careful = SelectiveClassifier(frozen, coverage=1.0, max_novelty=0.9).fit(rows, labels)
    np.testing.assert_array_equal(careful.accepts(rows + foreign), novelty <= 0.9)
    assert careful.coverage_ == (novelty[:40] <= 0.9).mean()  # all rows count
    assert careful.threshold_ == -np.inf
    half = SelectiveClassifier(frozen, coverage=0.5, max_novelty=0.9).fit(rows, labels)
    both = (half.confidence_score(rows) >= half.threshold_) & (novelty[:40] <= 0.9)
    np.testing.assert_array_equal(half.accepts(rows), both)
    assert both.mean() >= 0.5
    again = SelectiveClassifier.from_pretrained(half.save_pretrained(tmp_path / "model"))
    np.testing.assert_array_equal(again.accepts(rows + foreign), half.accepts(rows + foreign))
    with pytest.raises(ValueError, match="max_novelty needs a classifier that knows"):
        SelectiveClassifier(NB, coverage=0.5, max_novelty=0.9).fit(np.eye(4), [0, 1, 0, 1])

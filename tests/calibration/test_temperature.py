"""Temperature scaling: a fine grid and scikit-learn as oracles, ends of the range, ties."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from sksve import CalibrationWarning
from sksve.calibration import TemperatureScaling
from tests.calibration.problems import overconfident


class Fixed(ClassifierMixin, BaseEstimator):
    """A classifier whose rows are its probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]


def mean_loss(log_t, z, y, w):
    return -(w @ log_softmax(z / np.exp(log_t), axis=1)[np.arange(len(y)), y]) / w.sum()


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature__is_the_lowest_of_a_fine_grid(rng, n_classes, temperature):
    p, y = overconfident(rng, 400, n_classes, temperature)
    w = rng.uniform(0.1, 3, 400)
    found = TemperatureScaling().fit(p, y, w).temperature_
    z = np.log(p)
    grid = np.linspace(-3, 3, 601)
    losses = [mean_loss(t, z, y, w) for t in grid]
    best = grid[int(np.argmin(losses))]
    assert abs(np.log(found) - best) <= 0.0101
    refined = minimize_scalar(
        mean_loss, bounds=(best - 0.02, best + 0.02), args=(z, y, w), options={"xatol": 1e-10}
    )
    assert np.log(found) == pytest.approx(refined.x, abs=1e-6)
    assert mean_loss(np.log(found), z, y, w) <= refined.fun + 1e-15


@pytest.mark.parametrize("n_classes", [2, 5])
def test_temperature__equals_scikit_learn(rng, n_classes):
    p, y = overconfident(rng, 500, n_classes, 3.0)
    names = np.array(["ant", "bee", "cat", "dog", "eel"])[:n_classes]
    w = rng.uniform(0.1, 3, 500)
    classifier = FrozenEstimator(Fixed().fit(p, names[y]))
    theirs = CalibratedClassifierCV(classifier, method="temperature")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # FrozenEstimator has no use for weights
        theirs.fit(p, names[y], sample_weight=w)
    ours = TemperatureScaling().fit(p, names[y], w)
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert ours.temperature_ == pytest.approx(1 / beta, rel=1e-6)
    np.testing.assert_allclose(ours.predict_proba(p), theirs.predict_proba(p), atol=1e-7)
    assert ours.classes_.tolist() == theirs.classes_.tolist()


@pytest.mark.parametrize("misleading", ["mixed", "separable", "foreign"])
def test_temperature__the_first_guess_from_some_rows_does_not_matter(rng, misleading):
    p, y = overconfident(rng, 6000, 3, 2.5)
    guessed_from = np.arange(0, 6000, 6)
    if misleading == "separable":
        y[guessed_from] = p[guessed_from].argmax(axis=1)
    elif misleading == "foreign":
        p[guessed_from] = 1 / 3 + 1e-3 * (p[guessed_from] - 1 / 3)
    found = TemperatureScaling().fit(p, y).temperature_
    z, w = np.log(p), np.ones(6000)
    low, middle, high = (mean_loss(np.log(found) + d, z, y, w) for d in (-1e-4, 0, 1e-4))
    assert middle < min(low, high)
    order = rng.permutation(6000)
    assert TemperatureScaling().fit(p[order], y[order]).temperature_ == pytest.approx(found, 1e-9)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 0.1, 1.0, 30.0, 1e3]),
    st.integers(2, 5),
)
def test_temperature__undoes_any_scale_of_the_logits(seed, scale, n_classes):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(60, n_classes))
    y = rng.integers(0, n_classes, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        plain = TemperatureScaling(input="logits").fit(z, y)
        scaled = TemperatureScaling(input="logits").fit(z * scale, y)
    if max(abs(np.log(plain.temperature_)), abs(np.log(scaled.temperature_))) < 9.99:
        assert scaled.temperature_ == pytest.approx(scale * plain.temperature_, rel=1e-8)


@pytest.mark.parametrize("temperature", [np.exp(-10), 1e-2, 0.7, 1.0, 3.0, np.exp(10)])
def test_temperature__keeps_the_argmax_of_nearly_equal_probabilities(rng, temperature):
    scaling = TemperatureScaling().fit(*overconfident(rng, 50, 3))
    scaling.temperature_ = float(temperature)
    low = rng.uniform(0.34, 0.49, size=3000)
    high = low
    for _ in range(3):
        high = np.nextafter(high, 1)
    rows = np.column_stack([low, high, 1 - low - high])
    rows[::2] = rows[::2, [1, 0, 2]]
    calibrated = scaling.predict_proba(rows)
    # The test can fail: plain arithmetic makes ties, and a tie goes to the first class.
    plain = softmax(np.log(rows) / temperature, axis=1)
    if temperature >= 3:
        assert (plain.argmax(axis=1) != rows.argmax(axis=1)).any()
    np.testing.assert_array_equal(calibrated.argmax(axis=1), rows.argmax(axis=1))
    np.testing.assert_allclose(calibrated, plain, atol=1e-9)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1, atol=1e-14)


def test_temperature__at_either_end_warns_the_caller_and_stays_finite():
    p = [[0.6, 0.4], [0.3, 0.7]]
    with pytest.warns(CalibrationWarning, match="lowest allowed value") as caught:
        scaling = TemperatureScaling().fit(p, [0, 1])
    assert scaling.temperature_ == pytest.approx(np.exp(-10))
    np.testing.assert_array_equal(scaling.predict_proba(p), [[1, 0], [0, 1]])
    assert caught[0].filename == __file__  # where the caller is
    with pytest.warns(CalibrationWarning, match="highest allowed value"):
        scaling = TemperatureScaling().fit([[0.9, 0.1], [0.1, 0.9]], [1, 0])
    np.testing.assert_allclose(scaling.predict_proba([[0.9, 0.1]]), 0.5, atol=1e-4)


def test_temperature__one_row():
    with pytest.warns(CalibrationWarning):
        right = TemperatureScaling().fit([[0.6, 0.3, 0.1]], [0], labels=[0, 1, 2])
    with pytest.warns(CalibrationWarning):
        wrong = TemperatureScaling().fit([[0.6, 0.3, 0.1]], [2], labels=[0, 1, 2])
    assert right.temperature_ < 1 < wrong.temperature_
    assert TemperatureScaling().fit([[0.5, 0.5]], [0], labels=[0, 1]).temperature_ == 1.0


def test_temperature__extreme_logits_stay_finite():
    z = np.array([[1e300, -1e300], [-1e308, 1e308], [1e4, 0.0], [0.0, 1e-300]])
    with pytest.warns(CalibrationWarning, match="highest"):
        found = TemperatureScaling(input="logits").fit(z, [0, 1, 1, 0]).predict_proba(z)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(axis=1), z.argmax(axis=1))


def test_temperature__known_value():
    # Three of four right at odds 99: the best odds are 3, so T = log 99 / log 3.
    p = [[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.99, 0.01]]
    found = TemperatureScaling().fit(p, ["cat", "cat", "dog", "dog"]).temperature_
    assert found == pytest.approx(np.log(99) / np.log(3), rel=1e-12)


def test_temperature__binary_log_odds(rng):
    odds = rng.normal(scale=4, size=300)
    y = (rng.random(300) < expit(odds / 2.5)).astype(int)
    from_odds = TemperatureScaling(input="logits").fit(odds, y)
    from_proba = TemperatureScaling().fit(expit(odds), y)
    assert from_odds.temperature_ == pytest.approx(from_proba.temperature_, rel=1e-8)
    expected = expit(odds / from_odds.temperature_)
    np.testing.assert_allclose(from_odds.predict_proba(odds)[:, 1], expected, atol=1e-14)

"""compare_calibration: every number is what the metrics, calibrators and resamples say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB

from sksve import compare_calibration, metrics
from sksve.calibration import TemperatureScaling, make_calibrator
from sksve.comparison._compare import choose
from tests.comparison.made import compare, make_models

NLL = "negative_log_likelihood"


def test_to_frame__holds_the_metrics_of_each_variant(found):
    pairs, y_cal, y_test = make_models()
    frame = found.to_frame()
    assert list(frame.index.names) == ["model", "method", "metric"]
    assert len(frame) == 3 * 3 * 11
    for model, (cal, test) in pairs.items():
        for method in ("temperature", "isotonic"):
            proba = make_calibrator(method).fit(cal, y_cal).predict_proba(test)
            np.testing.assert_allclose(found.probabilities[model, method], proba, atol=1e-12)
            for name in (NLL, "expected_calibration_error", "aurc", "smooth_calibration_error"):
                value = getattr(metrics, name)(y_test, proba)
                assert frame.loc[(model, method, name), "value"] == pytest.approx(value)
        np.testing.assert_array_equal(found.probabilities[model, "none"], test)
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["high"]).all()


def test_to_frame__intervals_are_those_of_bootstrap_interval(found):
    """Other draws of the same law: ends agree to a fraction of the width."""
    _, _, y_test = make_models()
    proba = found.probabilities["too sure", "none"]
    for name in (NLL, "brier_score", "expected_calibration_error", "aurc"):
        low, high = metrics.bootstrap_interval(
            getattr(metrics, name), y_test, proba, n_resamples=2000, random_state=1
        )
        estimate = found.metrics["too sure", "none"][name]
        assert abs(estimate.low - low) < 0.2 * (high - low)
        assert abs(estimate.high - high) < 0.2 * (high - low)


def test_to_frame__differences_and_best(found):
    frame = found.to_frame()
    nll = frame.xs(NLL, level="metric")
    best = nll["value"].idxmin()
    assert best[0] == "right"
    assert found.best(NLL) == best
    np.testing.assert_allclose(nll["difference"], nll["value"] - nll["value"].min(), atol=1e-15)
    assert nll.loc[best, "p_value"] == 1
    assert nll.loc[("too sure", "none"), "p_value"] < 0.05
    assert nll.loc[("noisy", "temperature"), "p_value"] < 0.05
    accuracy = frame.xs("accuracy", level="metric")
    assert (accuracy["difference"] <= 0).all(), "larger is better: nothing is above the best"
    assert accuracy.loc[found.best("accuracy"), "p_value"] == 1


def test_pick__temperature_mends_overconfidence():
    found = compare(["too sure"], n_resamples=50)
    assert found.pick == ("too sure", "temperature")
    assert found.variants == [("too sure", "none"), ("too sure", "temperature")]


def test_pick__does_not_look_at_the_test_labels():
    first = compare(methods=["temperature", "isotonic"])
    other = compare(
        methods=["temperature", "isotonic"], change=np.random.default_rng(1).permutation
    )
    assert first.pick == other.pick
    assert first.choice == other.choice
    assert first.metrics[first.pick] != other.metrics[first.pick]


def test_choice__is_cross_fitted():
    """A calibrator that memorises its rows looks perfect in sample, and is not picked."""
    pairs, y_cal, _ = make_models(200)
    found = compare(["right"], n=200, methods={"memory": Memory()})
    in_sample = Memory().fit(pairs["right"][0], np.searchsorted(found.labels, y_cal))
    memorised = metrics.negative_log_likelihood(
        y_cal, in_sample.predict_proba(pairs["right"][0]), labels=found.labels
    )
    assert memorised < found.choice["right", "none"] < found.choice["right", "memory"]
    assert found.pick == ("right", "none")


class Memory(BaseEstimator):
    """Sure of the label of every row it has seen; of the first class elsewhere."""

    def fit(self, y_proba, y, sample_weight=None):
        self.seen_ = {row.tobytes(): k for row, k in zip(y_proba, y)}
        return self

    def predict_proba(self, y_proba):
        column = [self.seen_.get(row.tobytes(), 0) for row in y_proba]
        return 0.97 * np.eye(3)[column] + 0.01


def test_choose__one_standard_error_prefers_the_earlier_method():
    base = np.tile([0.5, 1.5], 50)
    noise = np.tile([0.01, 0.01, -0.03, 0.0], 25)
    losses = {("m", "none"): base + 1, ("m", "simple"): base, ("m", "rich"): base + noise}
    assert losses["m", "rich"].mean() < losses["m", "simple"].mean()
    assert choose(losses) == ("m", "rich"), "behind by more than one standard error"
    wider = np.tile([0.11, 0.11, -0.23, 0.0], 25)
    assert choose(losses | {("m", "rich"): base + wider}) == ("m", "simple")
    assert choose({("other", "none"): base + 1e-9, **losses, ("m", "rich"): base - 1e-6}) == (
        "m",
        "rich",
    ), "the rule is for calibrators of one model"


def test_models__estimators_and_pairs_agree():
    X, y = load_digits(return_X_y=True)
    names = np.array([f"digit {k}" for k in y])
    model = GaussianNB().fit(X[:500], names[:500])
    rows = {"X_cal": X[500:900], "y_cal": names[500:900], "X_test": X[900:], "y_test": names[900:]}
    pair = (model.predict_proba(X[500:900]), model.predict_proba(X[900:]))
    run = {"methods": [TemperatureScaling()], "n_resamples": 20, "random_state": 0}
    found = compare_calibration({"model": model, "pair": pair}, **rows, **run)
    assert found.methods == ["none", "TemperatureScaling"]
    for method in found.methods:
        np.testing.assert_array_equal(
            found.probabilities["model", method], found.probabilities["pair", method]
        )
        assert found.choice["model", method] == found.choice["pair", method]
    twins = found.differences(reference=("model", "none")).loc[("pair", "none")]
    assert twins.tolist() == [0, 0, 0, 1, 1]


def test_labels__columns_in_any_order():
    pairs, y_cal, y_test = make_models(200)
    run = {"methods": ["temperature"], "n_resamples": 20, "random_state": 0}
    plain = compare_calibration({"m": pairs["noisy"]}, None, y_cal, None, y_test, **run)
    turned = compare_calibration(
        {"m": tuple(p[:, [2, 0, 1]] for p in pairs["noisy"])}, None, y_cal, None, y_test,
        labels=["cat", "ant", "bee"], **run,
    )  # fmt: skip
    for metric in (NLL, "classwise_calibration_error", "accuracy"):
        np.testing.assert_allclose(plain.values(metric), turned.values(metric), rtol=1e-6)


def test_binary__the_positive_class_is_enough():
    rng = np.random.default_rng(0)
    p = rng.random(600)
    y = (rng.random(600) < p).astype(int)
    found = compare_calibration(
        {"one": (p[:300], p[300:])}, None, y[:300], None, y[300:], n_resamples=20, random_state=0
    )
    assert found.methods == ["none", "temperature", "vector", "dirichlet", "beta", "isotonic"]
    assert found.probabilities["one", "none"].shape == (300, 2)


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers the rows it was fitted on; its probabilities say whether it has seen a row."""

    def fit(self, X, y):
        self.seen_ = set(np.ravel(X).tolist())
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        seen = np.array([x in self.seen_ for x in np.ravel(X)])
        return np.where(seen[:, None], [[0.99, 0.01]], [[0.6, 0.4]])


def test_cv__no_row_is_judged_by_a_model_that_has_seen_it():
    X, y = np.arange(90.0)[:, None], np.tile([0, 1, 0], 30)
    found = compare_calibration(
        {"r": Recorder()}, X, y, cv=KFold(3), methods=["temperature"], n_resamples=20
    )
    np.testing.assert_array_equal(found.probabilities["r", "none"], np.tile([0.6, 0.4], (90, 1)))
    assert found.n_folds == 3
    assert found.n_calibration == 90


def test_cv__equals_a_split_per_fold():
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    model = GaussianNB()
    cv = StratifiedKFold(4)
    found = compare_calibration(
        {"m": model}, X, y, cv=cv, methods=["temperature"], n_resamples=20, random_state=0
    )
    folds = [test for _, test in cv.split(X, y)]
    test, cal = folds[3], folds[0]
    fit = np.concatenate(folds[1:3])
    fitted = clone(model).fit(X[fit], y[fit])
    scaling = TemperatureScaling().fit(fitted.predict_proba(X[cal]), y[cal])
    by_hand = scaling.predict_proba(fitted.predict_proba(X[test]))
    np.testing.assert_allclose(found.probabilities["m", "temperature"][test], by_hand, atol=1e-9)
    assert not hasattr(model, "theta_"), "what was given is not fitted"
    assert "slightly flattering" in found.advice()


def test_random_state__same_answer_and_no_global_state():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    runs = [compare(n=150, methods=["beta"], random_state=5).to_frame() for _ in range(2)]
    pd.testing.assert_frame_equal(*runs, check_exact=True)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def fitted():
    return GaussianNB().fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])


P = np.full((4, 3), 1 / 3)
Y = ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"models": {}}, "at least one entry"),
        ({"models": [P, P]}, "mapping of names"),
        ({"models": {"": (P, P)}}, "not empty"),
        ({"models": {"m": 3}}, r"'m' must be a classifier with predict_proba or a pair"),
        ({"models": {"m": (P, P[:2])}}, r"'m', test rows: .*same number of rows"),
        ({"models": {"m": (P + 1, P)}}, r"'m', calibration rows: Rows of y_proba must sum to 1"),
        ({"models": {"m": fitted()}}, "X_cal is None, but 'm' has to predict"),
        ({"models": {"m": fitted()}, "X_cal": [[0]], "X_test": [[0]]}, "Got 1 and 4"),
        (
            {"models": {"m": fitted()}, "X_cal": P, "X_test": P, "labels": ["a", "b", "d"]},
            "All models must know the same classes",
        ),
        ({"y_test": None}, "Neither test rows nor cv"),
        ({"cv": 3}, "Got both test rows and cv"),
        ({"X_test": P, "y_test": None}, "Got X_test without y_test"),
        ({"y_test": None, "cv": 3}, "cannot be fitted per fold"),
        ({"methods": "temperature"}, "methods must be a list"),
        ({"methods": ["warmth"]}, "must be one of 'temperature'"),
        ({"methods": ["beta", "beta"]}, "Two methods are called 'beta'"),
        ({"methods": [TemperatureScaling(input="logits")]}, "expects logits"),
        ({"choose_by": "accuracy"}, "'choose_by' parameter"),
        ({"n_resamples": 1}, "'n_resamples' parameter"),
        ({"confidence_level": 1.0}, "'confidence_level' parameter"),
    ],
)
def test_bad_input__is_named(change, match):
    arguments = {"models": {"m": (P, P)}, "X_cal": None, "y_cal": Y, "X_test": None, "y_test": Y}
    with pytest.raises(ValueError, match=match):
        compare_calibration(**(arguments | change))


def test_bad_input__unfitted_model_and_odd_folds():
    with pytest.raises(NotFittedError, match=r"'m' \(GaussianNB\) is not fitted.*cv="):
        compare_calibration({"m": GaussianNB()}, P, Y, P, Y)
    for cv in (2, TimeSeriesSplit(3)):
        with pytest.raises(ValueError, match="at least 3 folds that hold each row once"):
            compare_calibration({"m": GaussianNB()}, np.arange(20)[:, None], [0, 1] * 10, cv=cv)


def test_reference__must_be_a_variant(found):
    with pytest.raises(ValueError, match="reference must be one of"):
        found.differences(reference=("right", "magic"))


@pytest.mark.parametrize(
    "metric", ["f1", ["accuracy"], {}, np.array(["accuracy"]), None], ids=range(5)
)
def test_metric__of_another_kind(metric, found):
    for question in (found.values, found.differences):
        with pytest.raises(ValueError, match="metric must be one of"):
            question(metric)


@pytest.mark.parametrize(
    ("y_cal", "y_test", "words"),
    [
        ([0, 1, 0, 1], ["a", "b", "a", "b"], "one kind|not in labels|name every column"),
        ([0, None, 1, 1], [0, 1, 0, 1], "one kind"),
        ([[0], [1], [0], [1]], [0, 1, 0, 1], "one a row"),
        ([[0], [1, 2], [0], [1]], [0, 1, 0, 1], "differ in length"),
        (3, [0, 1, 0, 1], "one a row"),
    ],
    ids=["kinds", "None", "column", "ragged", "scalar"],
)
def test_labels__of_another_kind(y_cal, y_test, words):
    p = np.full((4, 2), 0.5)
    with pytest.raises(ValueError, match=words):
        compare_calibration({"a": (p, p)}, None, y_cal, None, y_test)


def test_to_frame__takes_any_str_for_a_name():
    """pandas' own strings, backed by pyarrow, hold no lone surrogate."""
    pairs, y_cal, y_test = make_models()
    models = {"\ud800": next(iter(pairs.values()))}
    options = {"n_resamples": 20, "methods": ("temperature",), "random_state": 0}
    frame = compare_calibration(models, None, y_cal, None, y_test, **options).to_frame()
    assert set(frame.index.get_level_values("model")) == {"\ud800"}
    named = compare_calibration({"a": models["\ud800"]}, None, y_cal, None, y_test, **options)
    np.testing.assert_array_equal(frame.to_numpy(), named.to_frame().to_numpy())

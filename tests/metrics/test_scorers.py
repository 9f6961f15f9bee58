"""Scorers in cross-validation and search, with string labels, pipelines and calibrated wrappers."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksve import metrics
from sksve.metrics import scorers

OTHER_NAMES = {
    "neg_multiclass_brier_score": metrics.brier_score,
    "log_likelihood": metrics.negative_log_likelihood,
}


def pipeline():
    return make_pipeline(StandardScaler(), LogisticRegression())


@pytest.fixture(params=["three classes", "two classes"])
def data(request):
    load = load_iris if request.param == "three classes" else load_breast_cancer
    X, y = load(return_X_y=True)
    return X, np.array(["zebra", "ant", "cat"])[y]


def test_scorers__equal_the_functions(data):
    X, y = data
    model = pipeline().fit(X, y)
    proba = model.predict_proba(X)
    assert len(scorers()) == 10
    for name, scorer in scorers().items():
        function = OTHER_NAMES.get(name) or getattr(metrics, name.removeprefix("neg_"))
        sign = 1 if name == "selective_accuracy" else -1
        expected = sign * function(y, proba, labels=model.classes_)
        assert scorer(model, X, y) == pytest.approx(expected, abs=1e-12)


def test_scorers__brier_is_twice_scikit_learns_for_two_classes():
    X, y = load_breast_cancer(return_X_y=True)
    model = pipeline().fit(X, y)
    ours = scorers()["neg_multiclass_brier_score"](model, X, y)
    assert ours == pytest.approx(2 * get_scorer("neg_brier_score")(model, X, y), abs=1e-12)
    ours = scorers()["log_likelihood"](model, X, y)
    assert ours == pytest.approx(get_scorer("neg_log_loss")(model, X, y), abs=1e-12)


def test_scorers__in_cross_validate_and_search(data):
    X, y = data
    found = cross_validate(pipeline(), X, y, cv=3, scoring=scorers(), error_score="raise")
    assert {f"test_{name}" for name in scorers()} <= set(found)
    assert np.isfinite(found["test_neg_smooth_calibration_error"]).all()
    one = scorers()["neg_expected_calibration_error"]
    search = GridSearchCV(
        pipeline(), {"logisticregression__C": [1e-3, 1.0]}, scoring=one, cv=3, error_score="raise"
    ).fit(X, y)
    assert search.best_params_ == {"logisticregression__C": 1.0}
    assert one(search, X, y) == one(search.best_estimator_, X, y)
    several = GridSearchCV(
        pipeline(),
        {"logisticregression__C": [1e-3, 1.0]},
        scoring=scorers(),
        refit="neg_multiclass_brier_score",
        error_score="raise",
    )
    assert several.fit(X, y).best_score_ < 0


def test_scorers__with_calibrated_and_frozen_estimators(data):
    X, y = data
    calibrated = CalibratedClassifierCV(FrozenEstimator(pipeline().fit(X, y)), method="sigmoid")
    found = cross_validate(calibrated, X, y, cv=3, scoring=scorers(), error_score="raise")
    assert np.isfinite(found["test_neg_expected_calibration_error"]).all()


def test_scorers__a_fold_may_miss_a_class(data):
    X, y = data
    model = pipeline().fit(X, y)
    few = y == "ant"
    for scorer in scorers().values():
        assert np.isfinite(scorer(model, X[few], y[few]))


class Counting(DummyClassifier):
    calls = 0

    def predict_proba(self, X):
        Counting.calls += 1
        return super().predict_proba(X)


def test_scorers__predict_once_for_all_in_cross_validate(data):
    Counting.calls = 0
    cross_validate(Counting(strategy="prior"), *data, cv=2, scoring=scorers())
    assert Counting.calls == 2


def test_scorers__sample_weight_by_metadata_routing(data):
    X, y = data
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    model = pipeline().fit(X, y)
    plain = scorers()["neg_multiclass_brier_score"]
    twice = plain(model, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert plain(model, X, y, sample_weight=weight) == pytest.approx(twice, abs=1e-12)
    with sklearn.config_context(enable_metadata_routing=True):
        found = {}
        for request in ({}, {"sample_weight": True}):
            scorer = scorers()["neg_multiclass_brier_score"].set_score_request(**request)
            found[len(request)] = cross_validate(
                LogisticRegression(max_iter=10_000).set_fit_request(sample_weight=False),
                X,
                y,
                cv=2,
                scoring=scorer,
                params={"sample_weight": weight} if request else None,
                error_score="raise",
            )["test_score"]
    assert (found[0] != found[1]).all()


def test_scorers__options_repr_and_pickle(data):
    X, y = data
    model = pipeline().fit(X, y)
    scorer = scorers(neg_expected_calibration_error={"n_bins": 3})["neg_expected_calibration_error"]
    expected = metrics.expected_calibration_error(
        y, model.predict_proba(X), labels=model.classes_, n_bins=3
    )
    assert scorer(model, X, y) == pytest.approx(-expected, abs=1e-12)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == scorer(model, X, y)
    assert repr(scorer) == "ProbaScorer('neg_expected_calibration_error')"
    with pytest.raises(ValueError, match=r"no scorer named \['ece'\]. It has \['log_likelihood'"):
        scorers(ece={"n_bins": 3})

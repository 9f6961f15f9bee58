"""Inside scikit-learn's wrappers, and predict_uncertainty through each of them."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksve import predict_uncertainty
from sksve.metrics import Uncertainty


def lower(X):
    return [text.lower() for text in X]


def same(a, b):
    for name in ("total", "aleatoric", "epistemic", "disagreement", "variance", "confidence"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-12)


def test__pipeline__passes_everything_on(make, fitted, texts, labels):
    pipe = make_pipeline(FunctionTransformer(lower), make()).fit(texts, labels)
    loud = [text.upper() for text in texts]
    np.testing.assert_array_equal(pipe.predict_proba(loud), fitted.predict_proba(texts))
    assert pipe.classes_.tolist() == ["neg", "pos"]
    same(predict_uncertainty(pipe, loud), fitted.predict_uncertainty(texts))
    nested = Pipeline([("outer", "passthrough"), ("inner", pipe)])
    same(predict_uncertainty(nested, loud), fitted.predict_uncertainty(texts))


def test__pipeline__of_a_column(make, fitted, texts, labels):
    from sklearn.compose import ColumnTransformer

    frame = pd.DataFrame({"text": texts, "other": range(12)})
    pick = ColumnTransformer([("text", "passthrough", ["text"])])
    pipe = make_pipeline(pick, make()).fit(frame, labels)
    np.testing.assert_array_equal(pipe.predict_proba(frame), fitted.predict_proba(texts))


def test__weights_and_validation_data__are_handed_on_by_prefix_and_by_routing(make, texts, labels):
    weight = np.linspace(0.1, 3, 12)
    direct = make(max_epochs=1).fit(texts, labels, weight, X_val=texts, y_val=labels)
    pipe = make_pipeline(FunctionTransformer(), make(max_epochs=1))
    pipe.fit(texts, labels, sveclassifier__sample_weight=weight)
    np.testing.assert_array_equal(pipe.predict_proba(texts), direct.predict_proba(texts))
    with sklearn.config_context(enable_metadata_routing=True):
        clf = make(max_epochs=1).set_fit_request(sample_weight=True, X_val=True, y_val=True)
        pipe = make_pipeline(FunctionTransformer(), clf)
        pipe.fit(texts, labels, sample_weight=weight, X_val=texts, y_val=labels)
    np.testing.assert_array_equal(pipe.predict_proba(texts), direct.predict_proba(texts))
    np.testing.assert_array_equal(
        pipe[-1].history_[0]["valid_loss"], direct.history_[0]["valid_loss"]
    )


@pytest.mark.parametrize("container", [list, np.array, pd.Series])
def test__cross_validate__takes_texts(container, make, texts, labels):
    X, y = container(texts), container(labels)
    found = cross_validate(
        make(n_members=1, max_epochs=1), X, y, cv=2, error_score="raise",
        scoring=["accuracy", "neg_log_loss", "roc_auc"], return_estimator=True,
    )  # fmt: skip
    assert np.isfinite(found["test_neg_log_loss"]).all()
    assert len(found["estimator"]) == 2
    proba = cross_val_predict(make(n_members=1, max_epochs=1), X, y, cv=2, method="predict_proba")
    assert proba.shape == (12, 2)


def test__randomized_search__inside_a_pipeline(make, texts, labels):
    pipe = make_pipeline("passthrough", make(n_members=1, max_epochs=1))
    space = {"sveclassifier__training__init_scale": [0.0, 0.3]}
    search = RandomizedSearchCV(pipe, space, n_iter=2, cv=2, random_state=0, error_score="raise")
    search.fit(texts, labels)
    same(predict_uncertainty(search, texts), search.best_estimator_[-1].predict_uncertainty(texts))


@pytest.mark.parametrize("method", ["temperature", "sigmoid", "isotonic"])
def test__calibrated__after_training(method, fitted, fitted32, texts, labels):
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method=method)
    calibrated.fit(texts, labels)
    proba = calibrated.predict_proba(texts)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert calibrated.classes_.tolist() == ["neg", "pos"]
    if method == "temperature":  # keeps every answer
        np.testing.assert_array_equal(calibrated.predict(texts), fitted.predict(texts))
        three = CalibratedClassifierCV(FrozenEstimator(fitted32), method=method, cv=2)
        three.fit(texts, [0, 1, 2] * 4)
        np.testing.assert_array_equal(three.predict(texts), fitted32.predict(texts))
    same(predict_uncertainty(calibrated, texts), fitted.predict_uncertainty(texts))


@pytest.mark.parametrize("ensemble", [True, False])
def test__calibrated__by_cross_validation(ensemble, make, texts, labels):
    calibrated = CalibratedClassifierCV(
        make(n_members=2, max_epochs=1), method="temperature", cv=2, ensemble=ensemble
    )
    calibrated.fit(texts, labels)
    inner = [c.estimator for c in calibrated.calibrated_classifiers_]
    members = np.concatenate([clf.predict_proba_members(texts) for clf in inner])
    assert len(members) == (4 if ensemble else 2)
    same(predict_uncertainty(calibrated, texts), Uncertainty.from_members(members))


def test__frozen__and_threshold__keep_the_uncertainty(fitted, texts, labels):
    same(predict_uncertainty(FrozenEstimator(fitted), texts), fitted.predict_uncertainty(texts))
    threshold = FixedThresholdClassifier(FrozenEstimator(fitted), threshold=0.3, pos_label="pos")
    threshold.fit(texts, labels)
    same(predict_uncertainty(threshold, texts), fitted.predict_uncertainty(texts))


def test__predict_uncertainty__refuses_what_has_no_members(texts, labels):
    plain = LogisticRegression().fit(np.eye(12), labels)
    with pytest.raises(TypeError, match="LogisticRegression holds no classifier with members"):
        predict_uncertainty(plain, np.eye(12))


def test__predict_uncertainty__wants_the_wrapper_fitted_too(fitted, texts):
    wrappers = [
        GridSearchCV(fitted, {"rank": [1]}),
        CalibratedClassifierCV(fitted),
        FixedThresholdClassifier(fitted),
    ]
    for wrapper in wrappers:
        with pytest.raises(NotFittedError):
            predict_uncertainty(wrapper, texts)

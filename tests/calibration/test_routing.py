"""Metadata routing of both wrappers: weights to the estimator, groups to the splitter."""

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksve.calibration import CalibratedClassifier, SelectiveClassifier, TemperatureScaling


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(params=[True, False], ids=["routing", "no-routing"])
def either(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


@pytest.fixture
def groups(data):
    return np.arange(len(data[1])) // 30


@pytest.fixture
def weight(data):
    return np.linspace(0.1, 3, len(data[1]))


def unseen_by_group(data, groups, weight):
    X, y = data
    proba = np.empty((len(y), 3))
    for train, test in GroupKFold(3).split(X, y, groups):
        fitted = LogisticRegression().fit(X[train], y[train], weight[train])
        proba[test] = fitted.predict_proba(X[test])
    return proba


def test__calibrated__hands_on_weights_and_groups(data, groups, weight, either):
    inner = LogisticRegression()
    if either:
        inner.set_fit_request(sample_weight=True)
    clf = CalibratedClassifier(inner, cv=GroupKFold(3))
    clf.fit(*data, sample_weight=weight, groups=groups)
    expected = TemperatureScaling().fit(unseen_by_group(data, groups, weight), data[1], weight)
    assert clf.calibrators_[0].temperature_ == pytest.approx(expected.temperature_, rel=1e-9)
    np.testing.assert_array_equal(
        clf.estimator_.coef_, LogisticRegression().fit(*data, weight).coef_
    )


def test__calibrated__weights_that_are_not_requested(data, weight, routing):
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        CalibratedClassifier(LogisticRegression()).fit(*data, sample_weight=weight)
    inner = LogisticRegression().set_fit_request(sample_weight=False)
    clf = CalibratedClassifier(inner, cv=3).fit(*data, sample_weight=weight)
    unseen = cross_val_predict(LogisticRegression(), *data, cv=3, method="predict_proba")
    expected = TemperatureScaling().fit(unseen, data[1], weight)
    assert clf.calibrators_[0].temperature_ == pytest.approx(expected.temperature_, rel=1e-9)


@pytest.mark.parametrize("wrapper", [CalibratedClassifier, SelectiveClassifier])
def test__weights_find_their_way_through_a_search_and_a_pipeline(wrapper, data, weight, routing):
    settings = {"coverage": 0.8, "random_state": 0} if wrapper is SelectiveClassifier else {}
    inner = make_pipeline(
        StandardScaler().set_fit_request(sample_weight=True),
        LogisticRegression().set_fit_request(sample_weight=True),
    )
    clf = wrapper(inner, cv=3, **settings).set_fit_request(sample_weight=True)
    grid = {"estimator__logisticregression__C": [0.5]}
    search = GridSearchCV(clf.set_score_request(sample_weight=False), grid, cv=2)
    search.fit(*data, sample_weight=weight)
    inner.set_params(logisticregression__C=0.5).fit(*data, sample_weight=weight)
    np.testing.assert_allclose(
        search.best_estimator_.estimator_[-1].coef_, inner[-1].coef_, atol=1e-9
    )


def test__selective__routes_groups(data, groups, routing):
    X, y = data
    clf = SelectiveClassifier(LogisticRegression(), coverage=0.7, cv=GroupKFold(3))
    clf.fit(X, y, groups=groups)
    sure = unseen_by_group(data, groups, np.ones(len(y))).max(axis=1)
    assert clf.threshold_ == pytest.approx(np.sort(sure)[::-1][int(np.ceil(0.7 * 301)) - 1])


def test__selective__groups_and_a_share_do_not_go_together(data, groups):
    with pytest.raises(ValueError, match="groups need a splitter"):
        SelectiveClassifier(LogisticRegression(), coverage=0.7).fit(*data, groups=groups)

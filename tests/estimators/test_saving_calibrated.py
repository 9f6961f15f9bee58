"""A calibrated ensemble: what people deploy is what is saved."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.naive_bayes import GaussianNB

import sksve
from sksve import PersistenceError, SVEClassifier
from sksve.baselines import LinearProbeClassifier
from sksve.calibration import (
    CALIBRATORS,
    CalibratedClassifier,
    ConformalClassifier,
    CostSensitiveClassifier,
    PriorCorrection,
    SelectiveClassifier,
    TemperatureScaling,
)
from tests.persistence.manifest import put, reseal

METHODS = sorted(CALIBRATORS)
ORDERS = ("pool-then-calibrate", "calibrate-then-pool")


@pytest.mark.parametrize(
    ("method", "order"),
    [(method, ORDERS[i % 2]) for i, method in enumerate(METHODS)] + [("temperature", ORDERS[1])],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test__round_trip(method, order, fitted, tiny, texts, labels, tmp_path):
    clf = CalibratedClassifier(FrozenEstimator(fitted), method, order=order).fit(texts, labels)
    saved = clf.save_pretrained(tmp_path, metrics={"accuracy": 0.5})
    again = CalibratedClassifier.from_pretrained(saved, backbone=tiny)
    np.testing.assert_array_equal(again.predict_proba(texts), clf.predict_proba(texts))
    np.testing.assert_array_equal(
        again.predict_proba_members(texts), clf.predict_proba_members(texts)
    )
    np.testing.assert_array_equal(again.predict(texts), clf.predict(texts))
    assert (again.method, again.order, again.cv) == (method, order, 5)
    with pytest.raises(PersistenceError, match=r"CalibratedClassifier\.from_pretrained"):
        SVEClassifier.from_pretrained(saved, backbone=tiny)
    assert "were calibrated" in (saved / "README.md").read_text()


def test__round_trip__of_one_that_is_not_frozen(tiny, texts, labels, tmp_path):
    probe = LinearProbeClassifier(tiny, n_members=2, random_state=0)
    clf = CalibratedClassifier(probe, TemperatureScaling(input="logits"), cv=2).fit(texts, labels)
    again = CalibratedClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    np.testing.assert_array_equal(again.predict_proba(texts), clf.predict_proba(texts))
    assert again.method.input == "logits"
    assert again.cv == 2
    assert again.estimator.backbone is tiny
    refitted = clone(again).fit(texts, labels)
    np.testing.assert_allclose(refitted.predict_proba(texts), clf.predict_proba(texts), atol=1e-6)


WRAPPERS = [
    SelectiveClassifier(None, coverage=0.8),
    SelectiveClassifier(None, max_risk=0.3, measure="epistemic", reject_label="none"),
    ConformalClassifier(None, method="raps", conditional="class", confidence_level=0.6),
    PriorCorrection(None, source_priors=[0.5, 0.5]),
    CostSensitiveClassifier(None, {"neg": {"pos": 1.0}, "pos": {"neg": 5.0}}),
]


@pytest.mark.filterwarnings("ignore::sksve.CalibrationWarning")
@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: type(w).__name__)
def test__every_wrapper__around_a_calibrated_one(wrapper, fitted, tiny, texts, labels, tmp_path):
    inner = CalibratedClassifier(FrozenEstimator(fitted)).fit(texts, labels)
    clf = clone(wrapper).set_params(estimator=FrozenEstimator(inner)).fit(texts, labels)
    if isinstance(clf, PriorCorrection):
        clf.adapt(priors=[0.8, 0.2])
    again = sksve.load(clf.save_pretrained(tmp_path), backbone=tiny)
    assert type(again) is type(clf)
    assert vars(again).keys() == vars(clf).keys()
    for method in ("predict", "predict_proba", "predict_set", "accepts", "expected_costs"):
        if hasattr(clf, method):
            np.testing.assert_array_equal(
                getattr(again, method)(texts), getattr(clf, method)(texts)
            )
    np.testing.assert_array_equal(
        again.predict_uncertainty(texts).epistemic, clf.predict_uncertainty(texts).epistemic
    )
    pieces = list(again.predict_proba_iter(iter(texts), chunk_size=5))
    assert [len(piece) for piece in pieces[:-1]] == [5] * (len(pieces) - 1)
    np.testing.assert_allclose(np.concatenate(pieces), clf.predict_proba(texts), atol=1e-5)


def test__stream__where_each_member_is_calibrated(fitted, texts, labels):
    calibrated = CalibratedClassifier(FrozenEstimator(fitted), order="calibrate-then-pool")
    calibrated.fit(texts, labels)
    clf = SelectiveClassifier(FrozenEstimator(calibrated), coverage=0.8).fit(texts, labels)
    pieces = np.concatenate(list(clf.predict_proba_iter(iter(texts), chunk_size=5)))
    np.testing.assert_allclose(pieces, clf.predict_proba(texts), atol=1e-5)
    with pytest.raises(ValueError, match="'chunk_size' must be an int"):
        clf.predict_proba_iter(texts, chunk_size=0)


def test_load__prints_nothing(tiny, texts, labels, tmp_path, capfd):
    """Not when it is loaded, and not when it predicts, however loud the fit was."""
    clf = LinearProbeClassifier(tiny, n_members=2, random_state=0, verbose=1).fit(texts, labels)
    clf.save_pretrained(tmp_path)
    capfd.readouterr()
    again = sksve.load(tmp_path, backbone=tiny)
    assert again.verbose == 0
    again.predict(texts)
    assert capfd.readouterr() == ("", "")
    assert f"# {type(clf).__name__} on" in (tmp_path / "README.md").read_text()


@pytest.mark.filterwarnings("ignore::sksve.CalibrationWarning")
def test__models_of_folds__are_saved_too(tiny, texts, labels, tmp_path):
    probe = LinearProbeClassifier(tiny, n_members=2, random_state=0)
    clf = ConformalClassifier(probe, cv=2, confidence_level=0.6).fit(texts, labels)
    again = ConformalClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert len(again.estimators_) == 2
    np.testing.assert_array_equal(again.predict_set(texts), clf.predict_set(texts))
    np.testing.assert_array_equal(again.predict_proba(texts), clf.predict_proba(texts))


class Mine(BaseEstimator):
    def fit(self, y_proba, y, sample_weight=None):
        self.fitted_ = True
        return self

    def predict_proba(self, y_proba):
        return y_proba


@pytest.mark.filterwarnings("ignore::UserWarning")
def test__save__refuses_before_anything_is_written(fitted, texts, labels, tmp_path):
    X, y = np.arange(20.0)[:, None], [0, 1] * 10
    with pytest.raises(PersistenceError, match="GaussianNB has no save_pretrained"):
        CalibratedClassifier(GaussianNB()).fit(X, y).save_pretrained(tmp_path / "model")
    clf = CalibratedClassifier(FrozenEstimator(fitted), Mine()).fit(texts, labels)
    with pytest.raises(PersistenceError, match=r"of class .*Mine"):
        clf.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


MODEL, CALIBRATOR = ("estimator", "$model"), ("fitted", "calibrators_", 0, "$object")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*MODEL, 0), "os.system"),
        ((*MODEL, 0), "CalibratedClassifier"),
        ((*MODEL, 1), 3),
        ((*MODEL, 2, "heads.bias"), "absent"),
        ((*CALIBRATOR, 0), "SVEClassifier"),
        ((*CALIBRATOR, 0), "TabularToText"),
        ((*CALIBRATOR, 1, "more"), 1),
        ((*CALIBRATOR, 2, "predict_proba"), 1),
        (("fitted", "calibrators_"), []),
        (("fitted", "calibrators_"), [3]),
        (("parameters", "method"), {"$object": ["Popen", {}, {}]}),
        (("parameters", "method"), {"$object": ["TabularToText", {}, {}]}),
        (("parameters", "estimator"), 1),
        (("estimator",), 3),
    ],
    ids=[
        "foreign class", "nested", "no content", "absent tensor", "foreign calibrator", "no calibrator",
        "unknown parameter", "method hidden", "none", "number", "foreign method", "no method",
        "estimator", "no model",
    ],
)  # fmt: skip
def test__content_that_is_not_ours(place, value, fitted, tiny, texts, labels, tmp_path):
    clf = CalibratedClassifier(FrozenEstimator(fitted)).fit(texts, labels)
    clf.save_pretrained(tmp_path)
    reseal(tmp_path, put(("content", *place), value))
    with pytest.raises(PersistenceError):
        CalibratedClassifier.from_pretrained(tmp_path, backbone=tiny)

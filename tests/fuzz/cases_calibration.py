"""Calibrators, and the wrappers that use them."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from sksve import calibration
from tests.fuzz.harness import Source, attempt, fuzz
from tests.fuzz.values import junk, labels, proba, weights
from tests.fuzz.values_rows import tables

CALIBRATORS = (
    "TemperatureScaling", "VectorScaling", "MatrixScaling", "DirichletCalibration", "BetaCalibration",
    "IsotonicCalibration", "HistogramBinning", "EnsembleTemperatureScaling", "StructuredMatrixScaling",
    "VennAbers", "BBQ", "ENIR",
)  # fmt: skip
SLOW = {"BBQ", "ENIR"}


def check_proba(found: Any, n: int | None, c: int | None = None, rtol: float = 1e-9) -> None:
    """Probabilities as they leave sksve: float64, finite, rows that sum to 1."""
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    assert found.ndim == 2
    assert n is None or len(found) == n
    assert c is None or found.shape[1] == c
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1 + rtol)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=rtol)


def calibrator(source: Source, world: Any) -> None:
    n, c = source.int(1, 12), source.int(2, 4)
    made = getattr(calibration, world.name)()
    if source.seldom(5):
        made.set_params(**{source.one_of(made.get_params()): junk(source)})
    if source.seldom(8):
        attempt(made.predict_proba, proba(source, n, c))  # not fitted
        return
    stack = world.name == "EnsembleTemperatureScaling" and source.seldom(2)
    p = np.moveaxis(source.rng.dirichlet(np.ones(c), size=(n, 2)), 0, 1) if stack else None
    p = proba(source, n, c, 5) if p is None else p
    y = labels(source, n, c, 5)
    told: dict[str, Any] = {"sample_weight": weights(source, n, 5)}
    if source.seldom():
        told["labels"] = labels(source, c, c)
    before = dict(vars(made))
    done, fitted = attempt(made.fit, p, y, **told)
    if not done:
        assert vars(made) == before, "a failed fit left something behind"
        return
    assert fitted is made
    k = source.int(1, 5)
    q = proba(source, k, c)
    done, found = attempt(made.predict_proba, q, watch=(made,))
    if done:
        check_proba(found, None, len(made.classes_) if hasattr(made, "classes_") else None)


fuzz(*(f"calibration.{n}" for n in CALIBRATORS if n not in SLOW), share=0.6)(calibrator)
fuzz(*(f"calibration.{n}" for n in SLOW), share=0.15)(calibrator)


@fuzz("calibration.make_calibrator", share=0.5)
def make(source: Source, world: Any) -> None:
    method = junk(source) if source.seldom(2) else source.one_of(calibration.CALIBRATORS)
    told = {source.one_of(["n_bins", "input", "x"]): junk(source)} if source.seldom() else {}
    done, made = attempt(calibration.make_calibrator, method, **told)
    if done:
        clone(made)


def _wrapped(source: Source, world: Any) -> tuple[Any, Any, Any]:
    n, c = source.int(6, 24), source.int(2, 3)
    X = tables(source, n) if source.seldom() else source.rng.normal(size=(n, 2))
    return LogisticRegression(max_iter=20), X, labels(source, n, c, 4)


@fuzz("calibration.CalibratedClassifier", share=0.4)
def calibrated(source: Source, world: Any) -> None:
    inner, X, y = _wrapped(source, world)
    made = calibration.CalibratedClassifier(inner, cv=2)
    if source.seldom():
        made.set_params(**{source.one_of(["estimator", "method", "cv", "order"]): junk(source)})
    _fit_and_ask(source, made, X, y)


@fuzz("calibration.SelectiveClassifier", share=0.4)
def selective(source: Source, world: Any) -> None:
    inner, X, y = _wrapped(source, world)
    made = calibration.SelectiveClassifier(inner, coverage=0.7, random_state=0)
    if source.seldom():
        names = "estimator coverage max_risk measure cv confidence_level reject_label"
        made.set_params(**{source.one_of(names.split()): junk(source)})
    _fit_and_ask(source, made, X, y)


@fuzz("calibration.ConformalClassifier", share=0.3)
def conformal(source: Source, world: Any) -> None:
    inner, X, y = _wrapped(source, world)
    made = calibration.ConformalClassifier(inner, cv=2, confidence_level=0.6)
    if source.seldom():
        made.set_params(**{source.one_of(made.get_params(deep=False)): junk(source)})
    _fit_and_ask(source, made, X, y)


@fuzz("calibration.PriorCorrection", share=0.3)
def prior(source: Source, world: Any) -> None:
    inner, X, y = _wrapped(source, world)
    made = calibration.PriorCorrection(inner)
    if source.seldom():
        made.set_params(**{source.one_of(made.get_params(deep=False)): junk(source)})
    _fit_and_ask(source, made, X, y)


@fuzz("calibration.CostSensitiveClassifier", share=0.3)
def costs(source: Source, world: Any) -> None:
    inner, X, y = _wrapped(source, world)
    c = source.int(2, 3)
    cost = junk(source) if source.seldom() else 1.0 - np.eye(c)
    _fit_and_ask(source, calibration.CostSensitiveClassifier(inner, cost), X, y)


def _length(X: Any) -> int:
    shape = getattr(X, "shape", None)
    return shape[0] if shape else len(X) if hasattr(X, "__len__") else 5


def _fit_and_ask(source: Source, made: Any, X: Any, y: Any) -> None:
    n = source.int(1, 4)
    before = dict(vars(made))
    with warnings.catch_warnings():
        # The estimator inside is scikit-learn's; what it says in errors is its own.
        # Its warnings come through, too.
        w = weights(source, _length(X))
        done, _ = attempt(made.fit, X, y, w, strict=False, theirs=True)
    if not done:
        assert vars(made).keys() == before.keys(), "a failed fit left something behind"
        return
    asked = (
        tables(source, n) if source.seldom(2) else source.rng.normal(size=(n, made.n_features_in_))
    )
    for method in ("predict_proba", "predict"):
        done, found = attempt(getattr(made, method), asked, strict=False, watch=(made,))
        if done and method == "predict_proba":
            check_proba(found, None, len(made.classes_))
        elif done:
            assert found.ndim == 1

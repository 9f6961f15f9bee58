"""Metrics, displays and the comparison, given what people give them."""

import inspect
import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

from sksve import metrics
from tests.fuzz.harness import Source, attempt, fuzz
from tests.fuzz.values import good_labels, good_proba, junk, labels, members, proba, scores, weights

#: The largest value of each; all start at 0.
HIGHEST = dict.fromkeys(
    "expected_calibration_error maximum_calibration_error classwise_calibration_error aurc eaurc "
    "debiased_calibration_error smooth_calibration_error selective_accuracy".split(),
    1.0,
) | {"brier_score": 2.0, "negative_log_likelihood": math.inf}
COMMON = {"metric", "y_true", "y_proba", "labels", "sample_weight"}
SLOW = {"n_resamples": 20}


def problem(source: Source) -> tuple[Any, Any, dict[str, Any], int, int]:
    """Labels, probabilities, and the keywords that all metrics have."""
    n, c = source.int(1, 12), source.int(2, 4)
    y, p = labels(source, n, c, 4), proba(source, n, c, 4)
    if p is not None and source.seldom(6) and c == 2:
        p = scores(source, n)
    told: dict[str, Any] = {"sample_weight": weights(source, n)}
    if source.seldom():
        told["labels"] = junk(source) if source.seldom() else labels(source, c, c)
    return y, p, told, n, c


def options(source: Source, name: str) -> dict[str, Any]:
    names = [k for k in inspect.signature(getattr(metrics, name)).parameters if k not in COMMON]
    told = {key: SLOW[key] for key in names if key in SLOW}
    if names and source.seldom():
        key = source.one_of(names)
        value = junk(source)
        if not (key == "n_resamples" and isinstance(value, int) and value > 1000):
            told[key] = value
    return told


def is_number(value: Any, low: float, high: float) -> None:
    assert type(value) is float, type(value)
    assert low <= value <= high, value


@fuzz(*(f"metrics.{name}" for name in HIGHEST))
def metric(source: Source, world: Any) -> None:
    y, p, told, _, _ = problem(source)
    name = world.name
    done, value = attempt(getattr(metrics, name), y, p, **told, **options(source, name))
    if done:
        is_number(value, -1e-12, HIGHEST[name] + 1e-9)


@fuzz("metrics.brier_decomposition")
def decomposition(source: Source, world: Any) -> None:
    y, p, told, _, _ = problem(source)
    done, value = attempt(metrics.brier_decomposition, y, p, **told)
    if done:
        for part in value:
            is_number(part, -1e-12, 2 + 1e-9)
        score = metrics.brier_score(y, p, **told)
        whole = value.reliability - value.resolution + value.uncertainty
        np.testing.assert_allclose(whole, score, atol=1e-9)


@fuzz("metrics.calibration_curve")
def curve(source: Source, world: Any) -> None:
    y, p, told, _n, _ = problem(source)
    told |= options(source, "calibration_curve")
    done, found = attempt(metrics.calibration_curve, y, p, **told)
    if done:
        k = len(found.counts)
        assert found.bin_edges.shape == (k + 1,)
        assert (np.diff(found.bin_edges) > 0).all()
        assert found.mean_confidence.shape == found.accuracy.shape == (k,)
        filled = found.counts > 0
        assert filled.any()
        for part in (found.mean_confidence, found.accuracy):
            assert ((part[filled] >= 0) & (part[filled] <= 1 + 1e-9)).all()


@fuzz("metrics.calibration_test", share=0.5)
def significance(source: Source, world: Any) -> None:
    y, p, told, _, _ = problem(source)
    told |= {"test": source.one_of(["resampling", "z", "spiegelhalter", "skce"])}
    told |= options(source, "calibration_test")
    done, found = attempt(metrics.calibration_test, y, p, **told)
    if done:
        is_number(found.pvalue, 0, 1)
        infinite = found.test == "spiegelhalter" and found.pvalue == 0.0  # 0 or 1, and wrong
        assert math.isfinite(found.statistic) or infinite


@fuzz("metrics.bootstrap_interval", share=0.5)
def interval(source: Source, world: Any) -> None:
    y, p, told, _, _ = problem(source)
    name = source.one_of(HIGHEST)
    measure = junk(source) if source.seldom(8) else getattr(metrics, name)
    if source.seldom(8):
        measure = partial(metrics.expected_calibration_error, n_bins=junk(source))
    told |= options(source, "bootstrap_interval")
    done, found = attempt(metrics.bootstrap_interval, measure, y, p, **told)
    if done:
        low, high = found
        is_number(low, -1e-12, 1e308)
        is_number(high, low, math.inf)


@fuzz("metrics.calibration_report", share=0.3)
def report(source: Source, world: Any) -> None:
    y, p, told, _n, _c = problem(source)
    done, found = attempt(
        metrics.calibration_report, y, p, **told, **options(source, "calibration_report")
    )
    if done:
        frame = found.to_frame()
        assert np.isfinite(frame.select_dtypes("number").to_numpy()).all()
        assert repr(found)


@fuzz("metrics.risk_coverage_curve")
def risk_coverage(source: Source, world: Any) -> None:
    y, p, told, _n, _ = problem(source)
    done, found = attempt(metrics.risk_coverage_curve, y, p, **told)
    if done:
        assert found.coverage.shape == found.risk.shape
        for part in (found.coverage, found.risk):
            assert ((part >= -1e-12) & (part <= 1 + 1e-9)).all()
        steps = np.diff(found.coverage)  # 0 where a weight is too small to be seen in the sum
        assert (steps >= 0).all()
        weight = told["sample_weight"]
        assert (steps > 0).all() or np.ptp(np.log(weight[weight > 0])) > 30


OF_MEMBERS = "predictive_entropy expected_entropy mutual_information member_disagreement".split()


@fuzz(*(f"metrics.{name}" for name in OF_MEMBERS))
def of_members(source: Source, world: Any) -> None:
    m, n, c = source.int(1, 4), source.int(1, 6), source.int(2, 4)
    done, found = attempt(getattr(metrics, world.name), members(source, m, n, c))
    if done:
        assert found.dtype == np.float64
        assert found.ndim == 1
        assert ((found >= 0) & (found <= math.log(10) + 1)).all()


@fuzz("metrics.member_diversity")
def diversity(source: Source, world: Any) -> None:
    m, n, c = source.int(1, 4), source.int(1, 6), source.int(2, 4)
    attempt(metrics.member_diversity, members(source, m, n, c), sample_weight=weights(source, n))


@fuzz("metrics.Uncertainty")
def uncertainty(source: Source, world: Any) -> None:
    m, n, c = source.int(1, 4), source.int(1, 6), source.int(2, 4)
    p = members(source, m, n, c, 4)
    index = junk(source) if source.seldom() else None
    if source.seldom():
        parts = [scores(source, n) for _ in range(6)]
        attempt(metrics.Uncertainty, *parts, index=index)
        return
    done, found = attempt(metrics.Uncertainty.from_members, p, index=index)
    if done:
        check_uncertainty(found, len(found))
        assert repr(found)


def check_uncertainty(found: Any, n: int) -> None:
    frame = found.to_frame().to_numpy()
    assert frame.shape == (n, 6 if found.novelty is None else 7)
    assert frame.dtype == np.float64
    assert np.isfinite(frame).all()
    assert (frame >= 0).all()


@fuzz("metrics.ood_auroc", "metrics.ood_aupr", "metrics.fpr_at_tpr")
def ood(source: Source, world: Any) -> None:
    n, k = source.int(1, 8), source.int(1, 8)
    told = {"sample_weight_in": weights(source, n), "sample_weight_out": weights(source, k)}
    if world.name == "fpr_at_tpr" and source.seldom():
        told["tpr"] = junk(source)
    inside, outside = scores(source, n), scores(source, k)
    done, value = attempt(getattr(metrics, world.name), inside, outside, **told)
    if done:
        is_number(value, 0, 1 + 1e-12)


class Told(ClassifierMixin, BaseEstimator):
    """A classifier that answers with given probabilities."""

    def __init__(self, p: Any, classes: Any) -> None:
        self.p, self.classes_ = p, classes

    def fit(self, X: Any, y: Any) -> Any:
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.asarray(self.p)


@fuzz("metrics.scorers")
def scorer(source: Source, world: Any) -> None:
    if source.seldom():
        attempt(metrics.scorers, **{source.one_of(["n_bins", "coverage", "x"]): junk(source)})
        return
    n, c = source.int(1, 8), source.int(2, 4)
    p, y = proba(source, n, c), good_labels(source, n, c)
    if isinstance(p, list) and len({np.shape(row) for row in p}) > 1:
        return  # ragged: this classifier's own fault
    if np.ndim(p) < 2:
        return  # no table: scikit-learn's, which hands it on, to complain of
    known = metrics.scorers()
    told = Told(p, np.unique(np.asarray(y)) if n >= c else np.arange(c))
    done, value = attempt(known[source.one_of(known)], told, np.zeros((n, 1)), y)
    if done:
        assert isinstance(value, float)
        assert not math.isnan(value)


# -- displays ------------------------------------------------------------------------------------


def drawn(source: Source, make: Any, *args: Any, **told: Any) -> None:
    from matplotlib.figure import Figure

    ax = junk(source) if source.seldom(8) else Figure().subplots()

    def draw(*args: Any, **told: Any) -> Any:
        return make(*args, ax=ax, **told)  # the axes are there to be drawn on

    done, display = attempt(draw, *args, **told)
    if done and display.ax_ is not None:
        assert display.ax_.has_data()


@fuzz("plotting.ReliabilityDisplay", "plotting.RiskCoverageDisplay", share=0.3)
def display(source: Source, world: Any) -> None:
    from sksve import plotting

    kind = getattr(plotting, world.name)
    y, p, told, _, _ = problem(source)
    extra = {"ReliabilityDisplay": ("n_bins", "strategy", "class_label", "confidence_level")}
    names = (*extra.get(world.name, ("confidence_level",)), "name")
    if world.name == "ReliabilityDisplay":
        told["n_resamples"] = 10
    if source.seldom():
        told[source.one_of(names)] = junk(source)
    drawn(source, kind.from_predictions, y, p, **told)


@fuzz("plotting.UncertaintyDisplay", share=0.3)
def uncertainty_display(source: Source, world: Any) -> None:
    from sksve.plotting import UncertaintyDisplay

    n = source.int(1, 6)
    found: Any = metrics.Uncertainty.from_members(source.rng.dirichlet(np.ones(3), size=(2, n)))
    if source.seldom(6):
        found = junk(source)
    told: dict[str, Any] = {}
    if source.seldom(2):
        told |= {"y_true": labels(source, n, 3), "y_pred": labels(source, n, 3)}
    if source.seldom():
        told[source.one_of(["kind", "measure", "n_bins", "name"])] = junk(source)
    drawn(source, UncertaintyDisplay.from_predictions, found, **told)


# -- comparison ----------------------------------------------------------------------------------


@fuzz("comparison.compare_calibration", "compare_calibration", share=0.3)
def compare(source: Source, world: Any) -> None:
    from sksve import compare_calibration

    n, c = source.int(4, 14), source.int(2, 3)
    y_cal, y_test = labels(source, n, c, 8), labels(source, n, c, 8)
    name = source.one_of(["a", "", "<b>", "\ud800", "a\0", 3, None])
    p_cal, p_test = proba(source, n, c, 8), proba(source, n, c, 8)
    models: Any = {
        name: (p_cal, p_test),
        "other": (good_proba(source, n, c), good_proba(source, n, c)),
    }
    if source.seldom(10):
        models = junk(source)
    told: dict[str, Any] = {"n_resamples": 20, "methods": ("temperature",)}
    if source.seldom():
        keys = "methods cv groups labels choose_by confidence_level random_state"
        told[source.one_of(keys.split())] = junk(source)
    done, found = attempt(compare_calibration, models, None, y_cal, None, y_test, **told)
    if done:
        frame = found.to_frame()
        assert isinstance(frame, pd.DataFrame)
        numbers = frame.select_dtypes("number").to_numpy()
        assert not np.isnan(numbers).any()
        assert found.advice()


@fuzz("comparison.CalibrationComparison", "CalibrationComparison", share=0.2)
def page(source: Source, world: Any) -> None:
    found = world.comparison()
    method = source.one_of("values paired best_p_values best differences to_html rows".split())
    if method == "to_html":
        also = (OSError,)
        target = junk(source)
        if isinstance(target, (str, bytes)) or hasattr(target, "__fspath__"):
            return  # a name: written where the tests run
        attempt(found.to_html, target, also=also)
    elif method == "rows":
        attempt(found.review_rows, junk(source))
    else:
        attempt(getattr(found, method), junk(source))

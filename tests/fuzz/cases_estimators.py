"""Every classifier: fitted with nonsense, asked nonsense."""

import itertools
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import InvalidParameterError

import sksve
from sksve import baselines, diagnostics, plotting
from sksve.backbones import load_backbone
from tests.fuzz.cases_calibration import check_proba
from tests.fuzz.cases_inputs import any_input, images
from tests.fuzz.cases_metrics import check_uncertainty, drawn
from tests.fuzz.harness import Source, attempt, fuzz
from tests.fuzz.values import good_proba, junk, labels, proba, weights
from tests.fuzz.values_rows import pick_texts, tables

METHODS = (
    "predict", "predict_proba", "predict_log_proba", "decision_function", "predict_proba_members",
    "predict_uncertainty", "predict_proba_iter", "score", "first_members", "to_torch", "sksve",
)  # fmt: skip
CLASSES = ("SVEClassifier", *baselines.__all__)
#: Huge in one of these asks for memory or time, not for an error.
COSTLY = set("n_members max_epochs n_samples rank batch_size n_jobs".split())


def _names(kind: str) -> tuple[str, ...]:
    home = {"SVEClassifier": ("SVEClassifier", "estimators.SVEClassifier")}
    return home.get(kind, (f"baselines.{kind}",))


def case(source: Source, world: Any) -> None:
    name = world.name or "SVEClassifier"
    how = source.int(0, 9)
    if how <= 5:
        ask(source, world, name)
    elif how <= 7:
        train(source, world, name)
    else:
        parameters(source, world, name)


def ask(source: Source, world: Any, name: str) -> None:
    """One fitted object, thousands of questions: it answers or says why not, and stays as it is."""
    kind = source.one_of(["text", "table"])
    clf = world.fitted(name, kind)
    n = source.int(1, 3)
    good = False
    if kind == "table" and not source.seldom():
        X = tables(source, n)
    elif source.seldom():
        X, _ = any_input(source, n)
    else:
        X, good = pick_texts(source, n)
        good = good and kind == "text" and getattr(X, "ndim", 1) == 1
        good = good and getattr(X, "shape", (1,))[1:] == ()  # a column is another kind of X
    method = source.one_of(METHODS)
    if method in {"first_members", "to_torch"}:
        if hasattr(clf, method):  # of one member, or of none, there is nothing to take
            attempt(getattr(clf, method), junk(source), watch=(clf,))
        return
    if method == "score":
        y, w = labels(source, n, 2), weights(source, n)
        attempt(clf.score, X, y, w, watch=(clf,), strict=False, theirs=True)
        return
    if method == "predict_proba_iter":
        size = junk(source) if source.seldom() else 2

        def pieces(X: Any) -> Any:
            found = list(itertools.islice(clf.predict_proba_iter(X, chunk_size=size), 8))
            return np.concatenate(found) if found else np.empty((0, 2))

        done, found = attempt(pieces, X, watch=(clf,))
        if done and len(found):
            check_proba(found, None, 2)
        return
    if method == "sksve":
        done, found = attempt(sksve.predict_uncertainty, clf, X, watch=(clf,))
        method = "predict_uncertainty"
    else:
        done, found = attempt(getattr(clf, method), X, watch=(clf,))
    assert done or not good or isinstance(X, str), f"{method} refused texts that it must take"
    if done:
        check_answer(method, found, len(X), clf)


def check_answer(method: str, found: Any, n: int, clf: Any) -> None:
    c = len(clf.classes_)
    if method == "predict":
        assert found.shape == (n,)
        assert set(found.tolist()) <= set(clf.classes_.tolist())
    elif method == "predict_proba":
        check_proba(found, n, c)
    elif method == "predict_proba_members":
        assert found.ndim == 3
        for member in found:
            check_proba(member, n, c)
    elif method == "predict_uncertainty":
        check_uncertainty(found, n)
    else:
        shape = (n,) if method == "decision_function" and c == 2 else (n, c)
        assert found.shape == shape
        assert found.dtype == np.float64
        assert np.isfinite(found).all()


def _data(source: Source) -> tuple[Any, int]:
    n = source.int(4, 6)
    if source.seldom():
        return any_input(source, n)[0], n
    if source.seldom(2):
        return tables(source, n), n
    return pick_texts(source, n, one_in=8)[0], n


def train(source: Source, world: Any, name: str) -> None:
    """fit and partial_fit: a failure leaves the estimator as it was."""
    X, n = _data(source)
    c = source.int(2, 3)
    y = labels(source, n, c)
    if source.seldom(10):
        y = pd.DataFrame(good_proba(source, n, c)) if source.seldom(2) else proba(source, n, c)
    told: dict[str, Any] = {"sample_weight": weights(source, n)}
    if source.seldom(6):
        told |= {"X_val": _data(source)[0], "y_val": labels(source, n, c)}
    clf = world.make(name, early_stopping=source.seldom(6), class_weight=_class_weight(source))
    call = clf.fit
    if source.seldom(6) and hasattr(clf, "partial_fit"):
        call = clf.partial_fit
        told.pop("X_val", None)
        told.pop("y_val", None)
        told["classes"] = junk(source) if source.seldom() else labels(source, c, c)
        clf.set_params(early_stopping=False)
    before = dict(vars(clf))
    done, fitted = attempt(call, X, y, also=(sksve.NonFiniteLossError,), **told)
    if not done:
        assert vars(clf) == before, "a failed fit left something behind"
        return
    assert fitted is clf
    for key in clf.get_params(deep=False):
        assert getattr(clf, key) is before[key], f"fit changed the parameter {key}"
    for method in ("predict_proba", "predict"):
        done, found = attempt(getattr(clf, method), X, watch=(clf,))
        assert done, "it refuses to predict what it was fitted on"
        check_answer(method, found, len(X), clf)


def _class_weight(source: Source) -> Any:
    if source.seldom(2):
        return None
    options = [{0: 1.0, 1: 2.0}, {0: float("nan")}, {0: "a"}, {"a": -1}, {}, {None: 1}]
    odd = [{0: 10**400, 1: 1}, {0: 0.0, 1: 0.0}, {0: None}]
    return source.one_of(["balanced", "odd", *options, *odd])


def parameters(source: Source, world: Any, name: str) -> None:
    """Wrong parameters: all of them named in one message, before the backbone is loaded."""
    clf = world.make(name)
    own = sorted(clf.get_params(deep=False).keys() - {"training"})
    nested = sorted(f"training__{key}" for key in sksve.Training().get_params())
    known = nested if world.name == "Training" or source.seldom(3) else own
    known = [key for key in known if key != "training__callbacks"]
    wrong: dict[str, Any] = {}
    for _ in range(source.int(1, 3)):
        key, value = source.one_of(known), junk(source)
        integral = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not (key in COSTLY and integral and abs(int(value)) > 9):
            wrong[key] = value
    wrong = {"training": junk(source)} if source.seldom(10) else wrong
    clf.set_params(**wrong)
    before = dict(vars(clf))
    load = "sksve.estimators._base.load_backbone"
    with mock.patch(load, wraps=load_backbone) as loaded:
        done, error = attempt(
            clf.fit, ["good", "bad", "fun", "dull"], [0, 1, 0, 1], also=(sksve.NonFiniteLossError,)
        )
    if not done:
        assert {k: id(v) for k, v in vars(clf).items()} == {k: id(v) for k, v in before.items()}
        assert not loaded.called or isinstance(error, FloatingPointError), error
        if isinstance(error, InvalidParameterError):
            named = [key for key in wrong if f"'{key.split('__')[-1]}' parameter" in str(error)]
            assert named, error
    else:
        done, found = attempt(clf.predict_proba, ["good", "bad"])
        assert done or isinstance(found, FloatingPointError), found
        if done:
            check_answer("predict_proba", found, 2, clf)


@fuzz("Training", "estimators.Training")
def training(source: Source, world: Any) -> None:
    parameters(source, world, "SVEClassifier")


for _name in CLASSES:
    fuzz(*_names(_name), share=3.0 if _name == "SVEClassifier" else 1.5)(case)


@fuzz("MemberSearchCV", "estimators.MemberSearchCV", share=0.1)
def search(source: Source, world: Any) -> None:
    X, n = _data(source)
    y = labels(source, n, 2)
    grid: Any = {"n_members": [1, 2]}
    if source.seldom():
        sizes = [{"n_members": odd} for odd in ([], [0], 2, ["a"])]
        others = [{}, [], None, 3, "n_members", {"lr": [1]}, {"n_members": [1], "x": [1]}]
        grid = source.one_of(sizes + others)
    told: dict[str, Any] = {"cv": 2, "scoring": "neg_log_loss", "error_score": "raise"}
    if source.seldom():
        told[source.one_of(["cv", "scoring", "refit", "n_jobs"])] = source.one_of(
            [None, "no such", 0, -3, 1.5, [], {}, object()]
        )
        if "n_jobs" in told and told["n_jobs"] not in (None, "no such", 1.5):
            told["n_jobs"] = 1
    made = sksve.MemberSearchCV(world.make("SVEClassifier"), grid, **told)
    # What the search itself says is scikit-learn's.
    also = (sksve.NonFiniteLossError,)
    done, _ = attempt(made.fit, X, y, strict=False, theirs=True, also=also)
    if done and hasattr(made, "best_estimator_"):
        done, found = attempt(made.predict_proba, X)
        assert done
        check_answer("predict_proba", found, len(X), made)


@fuzz("predict_uncertainty", "estimators.predict_uncertainty")
def uncertainty(source: Source, world: Any) -> None:
    clf = junk(source) if source.seldom() else world.fitted("SVEClassifier", "text")
    X, _good = pick_texts(source, 2)
    done, found = attempt(sksve.predict_uncertainty, clf, X)
    if done:
        check_uncertainty(found, len(X))


@fuzz("diagnostics.spectrum_shift", "diagnostics.SpectrumShift", share=0.4)
def shift(source: Source, world: Any) -> None:
    clf = junk(source) if source.seldom() else world.fitted(source.one_of(CLASSES), "text")
    told = {source.one_of(["top", "threshold"]): junk(source)} if source.seldom(2) else {}
    done, found = attempt(diagnostics.spectrum_shift, clf, **told)
    if done:
        assert np.isfinite(found.change).all()
        assert found.intruders.shape == found.change.shape
        assert len(found.to_frame()) == found.change.size


@fuzz("diagnostics.layer_diversity", "diagnostics.LayerDiversity", share=0.4)
def layers(source: Source, world: Any) -> None:
    clf = junk(source) if source.seldom(6) else world.fitted(source.one_of(CLASSES), "text")
    X, _ = pick_texts(source, 2)
    done, found = attempt(diagnostics.layer_diversity, clf, X)
    if done:
        assert len(found.to_frame()) == len(found.layers)
        assert np.isfinite(found.to_frame().select_dtypes("number").to_numpy()).all()


@fuzz("plotting.SpectrumDisplay", "plotting.LayerDiversityDisplay", share=0.1)
def display(source: Source, world: Any) -> None:
    clf = junk(source) if source.seldom() else world.fitted("SVEClassifier", "text")
    kind = getattr(plotting, world.name)
    args = (clf,) if world.name == "SpectrumDisplay" else (clf, ["good", "bad film"])
    told = {}
    if source.seldom():
        told = {"kind" if world.name == "SpectrumDisplay" else "name": junk(source)}
    drawn(source, kind.from_estimator, *args, **told)


@fuzz("persistence.Savable", share=0.3)
def save(source: Source, world: Any) -> None:
    """A folder that somebody has changed, in every file, anywhere: refused, never half read."""
    clf = world.fitted(source.one_of(["SVEClassifier", "LinearProbeClassifier"]), "text")
    with tempfile.TemporaryDirectory() as scratch:
        told = {"metrics": junk(source)} if source.seldom() else {}
        done, folder = attempt(clf.save_pretrained, Path(scratch, "m"), watch=(clf,), **told)
        if not done:
            return
        wrong = {}
        if source.seldom(2):
            wrong = {source.one_of(["backbone", "device"]): junk(source)}
        wrong.setdefault("backbone", world.tiny())
        done, again = attempt(type(clf).from_pretrained, folder, strict=False, **wrong)
        if done:
            texts = ["good film", "bad"]
            np.testing.assert_array_equal(again.predict_proba(texts), clf.predict_proba(texts))


@fuzz("inputs.ImageRows", share=0.4)
def pictures(source: Source, world: Any) -> None:
    clf = world.fitted("SVEClassifier", "image")
    n = source.int(1, 2)
    X = images(source, n) if not source.seldom() else any_input(source, n)[0]
    done, found = attempt(clf.predict_proba, X, watch=(clf,))
    if done:
        check_proba(found, len(X), 2)

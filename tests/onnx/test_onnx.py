"""Exported graphs say what the classifiers say, whatever the rows and tokens."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

import sksve.onnx
from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from sksve.baselines import DeepEnsembleClassifier, LinearProbeClassifier, LoRAEnsembleClassifier
from sksve.calibration import CalibratedClassifier, ConformalClassifier, SelectiveClassifier
from tests.making import LABELS, TEXTS, new

pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

THREE = ["a", "b", "c"] * 4
NEW = [*TEXTS, "good", "", " ".join(TEXTS * 3), "the the story", "404 not found"]


def ensemble(family="bert", n_blocks=2, **settings):
    settings = {
        "n_members": 3,
        "max_epochs": 3,
        "lr": 0.02,
        "head_lr": 0.05,
        "random_state": 0,
    } | settings
    return new(SVEClassifier, make_tiny_backbone(family, n_blocks=n_blocks), **settings).fit(
        TEXTS, THREE
    )


def held_out(clf, cls, **settings):
    return cls(FrozenEstimator(clf), **settings).fit(TEXTS * 3, [*(THREE * 3)[:33], "b", "c", "a"])


KINDS = {
    "plain": ensemble,
    "calibrated": lambda: held_out(ensemble(), CalibratedClassifier),
    "members first": lambda: held_out(ensemble(), CalibratedClassifier, order="calibrate-then-pool"),
    "selective": lambda: held_out(
        held_out(ensemble(n_blocks=1), CalibratedClassifier), SelectiveClassifier,
        coverage=0.6, max_novelty=0.9,
    ),
    "conformal": lambda: held_out(ensemble(), ConformalClassifier, confidence_level=0.7),
    "one member": lambda: ensemble(n_members=1),
    "eight members, own directions": lambda: ensemble(
        n_members=8, rank=3, core="full", direction_pool=6, optimizer="muon"
    ),
    "last block, roberta": lambda: ensemble("roberta", adapt_blocks=1),
    "gpt2": lambda: ensemble("gpt2"),
    "probe": lambda: LinearProbeClassifier(make_tiny_backbone(), n_members=2, random_state=0).fit(
        TEXTS, THREE
    ),
    "lora": lambda: new(
        LoRAEnsembleClassifier, make_tiny_backbone(), n_members=2, max_epochs=2, random_state=0
    ).fit(TEXTS, THREE),
}  # fmt: skip
for _method in (
    "ensemble-temperature",
    "vector",
    "matrix",
    "structured-matrix",
    "dirichlet",
    "beta",
):
    KINDS[_method] = lambda m=_method: held_out(ensemble(), CalibratedClassifier, method=m)
for _method in ("aps", "raps"):
    KINDS[_method] = lambda m=_method: held_out(ensemble(), ConformalClassifier, method=m)
for _measure in ("margin", "entropy", "epistemic"):
    KINDS[_measure] = lambda m=_measure: held_out(
        ensemble(), SelectiveClassifier, coverage=0.5, measure=m
    )
DEFAULT = {"selective"}  # an export takes many seconds


@pytest.mark.parametrize(
    "kind", [k if k in DEFAULT else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
)
@pytest.mark.filterwarnings("ignore::sksve.TruncationWarning", "ignore::sksve.CalibrationWarning")
def test_export__predicts_as_the_classifier(kind, tmp_path):
    clf = KINDS[kind]()
    loaded = sksve.onnx.load(clf.export_onnx(tmp_path / "model.onnx"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    for X in (NEW, NEW[:1], NEW[12:13], NEW * 4):
        np.testing.assert_allclose(loaded.predict_proba(X), clf.predict_proba(X), rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            loaded.predict_proba_members(X), clf.predict_proba_members(X), rtol=0, atol=1e-5
        )
        ours, theirs = clf.predict_uncertainty(X), loaded.predict_uncertainty(X)
        for part in sksve.onnx._runtime.PARTS:
            np.testing.assert_allclose(
                getattr(theirs, part), getattr(ours, part), rtol=0, atol=1e-4, err_msg=part
            )
    np.testing.assert_allclose(loaded.predict_proba(NEW).sum(axis=1), 1, rtol=0, atol=1e-15)
    assert loaded.classes_.tolist() == clf.classes_.tolist()
    assert (
        loaded.predict(NEW).tolist() == clf.classes_[clf.predict_proba(NEW).argmax(axis=1)].tolist()
    )
    if hasattr(clf, "accepts"):
        np.testing.assert_array_equal(loaded.accepts(NEW), clf.accepts(NEW))
        assert 0 < clf.accepts(NEW).mean() < 1
    if hasattr(clf, "predict_set"):
        np.testing.assert_array_equal(loaded.predict_set(NEW), clf.predict_set(NEW))
    else:
        with pytest.raises(AttributeError, match="no 'set'"):
            loaded.predict_set(NEW)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vit", "dinov2"])
def test_export__images(family, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(12, 28, 28, 3), dtype=np.uint8)
    pair = make_tiny_backbone(family)
    clf = new(SVEClassifier, pair, n_members=2, max_epochs=1, random_state=0).fit(images, LABELS)
    loaded = sksve.onnx.load(clf.export_onnx(tmp_path / "model.onnx"))
    pixels = np.stack(clf._reader.processor(list(images), return_tensors="np")["pixel_values"])
    for n in (1, 12):
        np.testing.assert_allclose(
            loaded.predict_proba(pixels[:n]), clf.predict_proba(images[:n]), rtol=0, atol=1e-4
        )
    with pytest.raises(ValueError, match="pixel values of shape"):
        loaded.predict_proba(images[0])


@pytest.mark.slow
def test_export__tables(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"text": [f"{t} and so on" for t in TEXTS], "age": rng.normal(size=12)})
    clf = new(SVEClassifier, make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    clf.fit(frame, LABELS)
    loaded = sksve.onnx.load(clf.export_onnx(tmp_path / "model.onnx"))
    texts = clf._reader.write(clf._reader.read(frame, estimator=clf)).rows
    side = np.asarray(clf.side_features_.transform(frame))
    np.testing.assert_allclose(
        loaded.predict_proba(texts, side), clf.predict_proba(frame), rtol=0, atol=1e-4
    )
    with pytest.raises(ValueError, match=r"side_features must have shape \(12, "):
        loaded.predict_proba(texts)


def test_export__what_has_no_graph_is_named(tiny, tmp_path):
    clf = ensemble(max_epochs=1)
    path = tmp_path / "x.onnx"
    with pytest.raises(
        ValueError, match="cannot export a IsotonicCalibration: calibrate by one of"
    ):
        held_out(clf, CalibratedClassifier, method="isotonic").export_onnx(path)
    own = held_out(
        clf, SelectiveClassifier, coverage=0.5, measure=lambda c, X: c.predict_proba(X)[:, 0]
    )
    with pytest.raises(ValueError, match="a measure that is a function"):
        own.export_onnx(path)
    pairs = new(SVEClassifier, tiny, n_members=1, max_epochs=1, serializer="pair")
    with pytest.raises(ValueError, match="pairs of texts"):
        pairs.fit([[t, t] for t in TEXTS], LABELS).export_onnx(path)
    deep = new(DeepEnsembleClassifier, tiny, n_members=2, max_epochs=1, random_state=0)
    with pytest.raises(ValueError, match="whole models"):
        deep.fit(TEXTS, LABELS).export_onnx(path)
    long = new(SVEClassifier, tiny, n_members=1, max_epochs=1, long_texts="windows")
    with pytest.raises(ValueError, match="windows of long texts"):
        long.fit(TEXTS, LABELS).export_onnx(path)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        clf.export_onnx(tmp_path / "a" / "x.onnx")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="is no file"):
        sksve.onnx.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="was not written by sksve"):
        sksve.onnx.load(path)


@pytest.mark.slow
def test_load__needs_neither_torch_nor_scikit_learn(tmp_path):
    clf = ensemble()
    path = clf.export_onnx(tmp_path / "model.onnx")
    code = (
        "import sys, sksve.onnx as o; clf = o.load(sys.argv[1]); p = clf.predict_proba(['good film', 'bad']);"
        "u = clf.predict_uncertainty(['good']); print(*p.ravel().tolist(), u.novelty[0]);"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    numbers, modules = done.stdout.splitlines()
    found = [float(x) for x in numbers.split()]
    np.testing.assert_allclose(
        found[:6], clf.predict_proba(["good film", "bad"]).ravel(), atol=1e-4
    )
    assert modules == "[]"

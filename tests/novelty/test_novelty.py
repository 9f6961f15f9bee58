"""Novelty, against a slow reference and by invariants."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from sksve import NoveltyDetector, SVEClassifier, predict_uncertainty
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LinearProbeClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
from sksve.calibration import CalibratedClassifier, SelectiveClassifier
from sksve.novelty import NoveltyReference
from sksve.plotting import UncertaintyDisplay
from sksve.preprocessing import BackboneFeatures
from tests.making import name_of, new, temporary_tiny

HOME = [f"the {a} {b} was {c}" for a in ("best", "worst", "fun") for b in ("film", "plot", "story")
        for c in ("good", "bad", "dull")]  # fmt: skip
FOREIGN = ["404", "x y z q", "never to and of it", "loved hated loved hated"]
LABELS = [0, 1, 1] * 9


# -- the slow reference ----------------------------------------------------------------------------------


def slow_scores(rows, train, *, cosine, k):
    """Scores of rows and, sorted, of distinct training rows; loops in float64 over halves."""

    def prepared(layer):
        layer = np.asarray(layer, dtype=np.float64)
        if cosine:
            layer = np.array([v / np.linalg.norm(v) if v.any() else v for v in layer])
        return layer.astype(np.float16).astype(np.float64)

    def distance(u, v):
        return ((u - v) ** 2).sum() / 2 if cosine else np.sqrt(((u - v) ** 2).sum())

    def same(i, j, left, right):
        return all(
            ((a[i] - b[j]) ** 2).sum() <= 2e-6 * max((a[i] ** 2).sum(), (b[j] ** 2).sum())
            for a, b in zip(left, right)
        )

    rows, train = [prepared(r) for r in rows], [prepared(t) for t in train]
    n = len(train[0])
    kept = [j for j in range(n) if not any(same(j, i, train, train) for i in range(j))]
    train = [t[kept] for t in train]
    n = len(kept)
    k = min(k, max(n - 1, 1))

    def mean_distances(left):
        found = np.zeros((len(left[0]), len(train)))
        for i in range(len(left[0])):
            others = [j for j in range(n) if not same(i, j, left, train)]
            for number, (a, b) in enumerate(zip(left, train)):
                near = sorted(distance(a[i], b[j]) for j in others)[:k]
                found[i, number] = np.mean(near) if near else 0.0
        return found

    own = mean_distances(train)
    spread = own.std(axis=0)
    spread = np.where(spread > 1e-6 * own.mean(axis=0), spread, own.mean(axis=0))
    spread = np.where(spread > 0, spread, 1.0)
    return (mean_distances(rows) / spread).sum(axis=1), np.sort((own / spread).sum(axis=1))


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 40])
def test_reference__equals_brute_force(n, cosine):
    rng = np.random.default_rng(n)
    train = [rng.normal(size=(n, 6)) for _ in range(2)]
    train = [np.concatenate([t, t[: n // 2]]) for t in train]  # copies
    rows = [np.concatenate([rng.normal(size=(9, 6)) * 2, t[:1]]) for t in train]
    found = NoveltyReference.learn(train, cosine=cosine, n_neighbors=3, max_rows=100, seed=0)
    expected, own = slow_scores(rows, train, cosine=cosine, k=3)
    np.testing.assert_allclose(found.score(rows), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.scores, own, rtol=1e-9, atol=1e-12)
    share = [(own < s * (1 - 1e-4)).mean() for s in expected]
    np.testing.assert_array_equal(found.novelty(rows), share)
    assert len(found.scores) == n


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, (7, 3), elements=st.sampled_from([-2.0, 0.0, 0.5, 1.0, 3.0])),
    st.integers(0, 6),
)
def test_reference__copies_ties_and_order_change_nothing(vectors, place):
    make = {"cosine": False, "n_neighbors": 3, "max_rows": 50, "seed": 1}
    rows = [np.array([[9.0, 1.0, 0.0], [0.1, 0.2, 0.3]])]
    once = NoveltyReference.learn([vectors], **make)
    again = NoveltyReference.learn([np.r_[vectors[::-1], vectors[[place]]]], **make)
    np.testing.assert_allclose(once.scores, again.scores, rtol=1e-12)
    np.testing.assert_allclose(once.score(rows), again.score(rows), rtol=1e-12)
    # A training row is as novel as it was in training, and at least one of them not at all.
    shares = once.novelty([vectors])
    assert ((shares >= 0) & (shares < 1)).all()
    assert shares.min() == 0


def test_reference__rows_come_in_pieces():
    vectors = np.random.default_rng(0).normal(size=(60, 5))
    make = {"cosine": True, "n_neighbors": 3, "max_rows": 25, "seed": 3}
    whole = NoveltyReference.learn([vectors], **make)
    pieces = NoveltyReference.learn([vectors[40:]], **make).extended([vectors[:30]])
    pieces = pieces.extended([vectors[30:]])
    assert len(whole.scores) == 25
    np.testing.assert_allclose(whole.scores, pieces.scores, rtol=1e-12)
    other = NoveltyReference.learn([vectors], **make | {"seed": 4})
    assert not np.array_equal(np.sort(whole.layers[0], axis=0), np.sort(other.layers[0], axis=0))


# -- the detector ----------------------------------------------------------------------------------------

FOLDER = temporary_tiny(n_blocks=2, max_positions=512)
DETECTOR = NoveltyDetector(FOLDER)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [pytest.param(e, c, id=name_of(c)) for e, c in estimator_checks_generator(DETECTOR)],
)
def test_detector__scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def detector():
    return NoveltyDetector(FOLDER, contamination=0.2).fit(HOME)


def test_detector__its_numbers_agree(detector):
    scores, novelty = detector.score_samples(HOME + FOREIGN), detector.novelty_score(HOME + FOREIGN)
    np.testing.assert_allclose(detector.decision_function(HOME), scores[:27] - detector.offset_)
    assert (detector.predict(HOME) == -1).mean() == pytest.approx(0.2, abs=0.04)
    assert (detector.predict(FOREIGN) == -1).all()
    assert (novelty[27:] == 1).all()
    # Over the training rows: every share once.
    np.testing.assert_allclose(np.sort(novelty[:27]), np.arange(27) / 27, atol=1.01 / 27)
    order = np.argsort(scores[:27])
    assert (np.diff(novelty[:27][order]) <= 0).all()


def test_detector__vectors_are_those_of_the_backbone(detector):
    last = BackboneFeatures(FOLDER).fit_transform(HOME)
    again = detector._vectors(detector._reader.read(HOME))[1]
    np.testing.assert_allclose(last, again, atol=1e-5)


def test_detector__drift(detector):
    novel = -detector.score_samples(FOREIGN)
    own = -detector.score_samples(HOME)
    expected = ks_2samp(novel, own, alternative="less")
    np.testing.assert_allclose(detector.drift_test(FOREIGN), [expected.statistic, expected.pvalue])
    assert detector.drift_test(FOREIGN)[1] < 0.01
    assert detector.drift_test(HOME)[1] > 0.9
    assert detector.drift_test(HOME[:2] * 20)[1] > 0.001  # one-sided: too near is no novelty


def test_detector__images_and_tables():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 80, (30, 32, 32), dtype=np.uint8)
    vision = temporary_tiny(family="vit")
    seen = NoveltyDetector(vision).fit(images)
    assert seen.novelty_score(255 - images[:4]).min() > 0.9
    table = pd.DataFrame({"a": rng.normal(size=50) * 1000, "b": rng.choice(["x", "y"], 50)})
    columns = NoveltyDetector(FOLDER).fit(table)
    assert columns.novelty_score(pd.DataFrame({"a": [9e3], "b": ["x"]}))[0] == 1
    assert columns.input_kind_ == "table"


# -- classifiers -----------------------------------------------------------------------------------------

CLASSIFIERS = [
    (SVEClassifier, {"n_members": 2, "adapt_blocks": 1}),
    (SVEClassifier, {"n_members": 2}),  # every block
    (SVEClassifier, {"n_members": 2, "rank": 2, "core": "full", "adapt_blocks": 1}),
    (LoRAEnsembleClassifier, {"n_members": 2, "adapt_blocks": 1}),
    (BatchEnsembleClassifier, {"n_members": 2, "adapt_blocks": 1}),
    (DeepEnsembleClassifier, {"n_members": 2, "adapt_blocks": 1}),
    (FineTunedClassifier, {}),
    (MCDropoutClassifier, {"n_samples": 2, "adapt_blocks": 1}),
    (LinearProbeClassifier, {"Cs": [1.0]}),
]


@pytest.mark.parametrize(("cls", "how"), CLASSIFIERS)
def test_classifiers__novelty_is_the_frozen_backbones(cls, how, tmp_path):
    trained = {} if cls is LinearProbeClassifier else {"max_epochs": 2, "lr": 0.05}
    clf = new(cls, FOLDER, random_state=0, precision="float64", **trained, **how).fit(HOME, LABELS)
    X = FOREIGN + HOME[:5]
    novelty = clf.predict_uncertainty(X).novelty
    layers, rows = [], []
    if how.get("adapt_blocks") == 1:
        detector = NoveltyDetector(FOLDER, precision="float64").fit(HOME)
        expected = detector.novelty_score(X)
    else:  # no cut: the last layer alone
        features = BackboneFeatures(FOLDER, precision="float64").fit(HOME)
        layers, rows = [features.transform(HOME)], [features.transform(X)]
        score, own = slow_scores(rows, layers, cosine=True, k=3)
        expected = [(own < s * (1 - 1e-4)).mean() for s in score]
    np.testing.assert_allclose(novelty, expected)
    assert (novelty[:4] == 1).all()
    assert (novelty[4:] < 1).all()
    np.testing.assert_allclose(clf.predict_uncertainty(X[::-1]).novelty, novelty[::-1])
    again = cls.from_pretrained(clf.save_pretrained(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_uncertainty(X).novelty, novelty)


@pytest.fixture(scope="module")
def fitted():
    return new(SVEClassifier, FOLDER, n_members=2, max_epochs=1, random_state=0).fit(HOME, LABELS)


def test_wrappers__hand_novelty_on(fitted):
    from sklearn.frozen import FrozenEstimator

    novelty = fitted.predict_uncertainty(FOREIGN + HOME).novelty
    frozen = FrozenEstimator(fitted)
    calibrated = CalibratedClassifier(frozen).fit(HOME, LABELS)
    careful = SelectiveClassifier(FrozenEstimator(calibrated), coverage=0.9).fit(HOME, LABELS)
    pipe = make_pipeline("passthrough", fitted)
    for estimator in (frozen, calibrated, careful, pipe):
        found = predict_uncertainty(estimator, FOREIGN + HOME)
        np.testing.assert_array_equal(found.novelty, novelty)
    frame = found.to_frame()
    assert list(frame.columns)[-1] == "novelty"
    assert "novelty" in repr(found)


def test_rows_of_weight_zero_are_never_seen(fitted):
    weight = np.r_[np.ones(27), np.zeros(4)]
    clf = new(SVEClassifier, FOLDER, n_members=2, max_epochs=1, random_state=0)
    clf.fit(HOME + FOREIGN, [*LABELS, 0, 1, 0, 1], sample_weight=weight)
    np.testing.assert_array_equal(
        clf.predict_uncertainty(FOREIGN + HOME).novelty,
        fitted.predict_uncertainty(FOREIGN + HOME).novelty,
    )


def test_partial_fit_and_warm_start_add_rows(fitted):
    clf = new(SVEClassifier, FOLDER, n_members=2, random_state=0)
    clf.partial_fit(HOME[:13], LABELS[:13], classes=[0, 1]).partial_fit(HOME[13:], LABELS[13:])
    want = fitted.predict_uncertainty(FOREIGN + HOME).novelty
    np.testing.assert_allclose(clf.predict_uncertainty(FOREIGN + HOME).novelty, want)
    warm = new(SVEClassifier, FOLDER, n_members=1, max_epochs=1, warm_start=True, random_state=0)
    warm.fit(HOME, LABELS).set_params(n_members=2).fit(HOME, LABELS)
    np.testing.assert_allclose(warm.predict_uncertainty(FOREIGN + HOME).novelty, want)
    assert warm.first_members(1).predict_uncertainty(FOREIGN).novelty.tolist() == [1.0] * 4


def test_display__draws_novelty(fitted):
    import matplotlib.pyplot as plt

    display = UncertaintyDisplay.from_estimator(
        fitted, HOME + FOREIGN, kind="hist", measure="novelty"
    )
    edges, shares = display.line_.get_xydata().T
    novelty = fitted.predict_uncertainty(HOME + FOREIGN).novelty
    np.testing.assert_allclose(shares[:-1], np.histogram(novelty, edges)[0] / len(novelty))
    plt.close(display.figure_)
    members = fitted.predict_proba_members(HOME)
    with pytest.raises(ValueError, match="has no novelty"):
        UncertaintyDisplay.from_predictions(members, kind="hist", measure="novelty")

"""partial_fit: the same members, trained further on new rows."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sksve import NonFiniteLossError, SVEClassifier
from sksve.backbones import make_tiny_backbone


def parameters(clf):
    return [p.detach().numpy().copy() for p in clf.net_.module_.member_parameters()]


def same(a, b, atol=0.0):
    for p, q in zip(parameters(a), parameters(b), strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "settings", [{}, {"adapt_blocks": 1}, {"shared_batches": True}], ids=["all", "last", "shared"]
)
def test__first_call__is_a_fit_of_one_epoch(settings, make, texts, labels):
    part = make(max_epochs=9, **settings).partial_fit(texts, labels, classes=["pos", "neg"])
    whole = make(max_epochs=1, **settings).fit(texts, labels)
    same(part, whole)
    assert part.classes_.tolist() == ["neg", "pos"]
    assert part.n_iter_ == 1
    assert part.get_params()["max_epochs"] == 9


@pytest.mark.parametrize(
    "settings", [{}, {"adapt_blocks": 1}, {"shared_batches": True}], ids=["all", "last", "shared"]
)
def test__calls__are_deterministic_and_go_on(settings, make, texts, labels):
    a = make(**settings).partial_fit(texts[:6], labels[:6], classes=["neg", "pos"])
    first = parameters(a)
    loss = a.history_[0]["train_loss"]
    a.partial_fit(texts[6:], labels[6:])
    b = make(**settings).partial_fit(texts[:6], labels[:6], classes=["neg", "pos"])
    b.partial_fit(texts[6:], labels[6:])
    same(a, b)
    assert any(np.abs(p - q).max() > 1e-3 for p, q in zip(parameters(a), first))
    assert a.n_iter_ == len(a.history_) == 2
    np.testing.assert_array_equal(a.history_[0]["train_loss"], loss)
    assert a.history_[1]["train_loss"].shape == (3,)


def test__calls__draw_their_own_order_of_rows(make, texts, labels):
    """With one start and one set of rows, only the order of the batches can make a difference."""
    base = make(lr=1e-300, head_lr=1e-300).partial_fit(texts, labels, classes=["neg", "pos"])
    streams = [base.net_.batch_streams_[0].bit_generator.seed_seq.spawn_key]
    for _ in range(2):
        base.partial_fit(texts, labels)
        streams.append(base.net_.batch_streams_[0].bit_generator.seed_seq.spawn_key)
    assert len(set(streams)) == 3


def test__after_fit__goes_on_from_there(make, fitted, texts, labels):
    clf = copy.deepcopy(fitted).partial_fit(texts[:4], labels[:4])
    assert clf.n_iter_ == 3
    # Without a step, nothing moves: it began where fit had ended.
    still = copy.deepcopy(fitted).set_params(lr=1e-300, training__head_lr=1e-300)
    still.partial_fit(texts[:4], labels[:4])
    for p, q in zip(parameters(still), parameters(fitted)):
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-12)
    # One batch: its loss is that of the members as fit had left them.
    proba = fitted.predict_proba_members(texts[:4])
    loss = -np.log([proba[:, i, int(y == "pos")] for i, y in enumerate(labels[:4])])
    np.testing.assert_allclose(clf.history_[-1]["train_loss"], loss.mean(axis=0), rtol=1e-9)
    assert len(fitted.history_) == fitted.n_iter_ == 2


def test__members__are_independent(make, texts, labels):
    many = make(n_members=3).partial_fit(texts[:6], labels[:6], classes=["neg", "pos"])
    one = make(n_members=1).partial_fit(texts[:6], labels[:6], classes=["neg", "pos"])
    for _ in range(2):
        many.partial_fit(texts[4:], labels[4:])
        one.partial_fit(texts[4:], labels[4:])
    for p, q in zip(parameters(many), parameters(one)):
        np.testing.assert_allclose(p[:1], q, rtol=0, atol=1e-9)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test__copies__go_on_alike(copied, make, texts, labels):
    clf = make().partial_fit(texts[:6], labels[:6], classes=["neg", "pos"])
    again = copied(clf).partial_fit(texts[6:], labels[6:])
    assert clf.n_iter_ == 1
    same(again, clf.partial_fit(texts[6:], labels[6:]))
    assert not hasattr(clone(clf), "net_")


def test__generator__is_drawn_from_once(make, texts, labels):
    def run(state):
        clf = make(random_state=state).partial_fit(texts, labels, classes=["neg", "pos"])
        return clf.partial_fit(texts, labels)

    state = np.random.RandomState(3)
    a, b = run(state), run(np.random.RandomState(3))
    same(a, b)
    fresh = np.random.RandomState(3)
    fresh.randint(2**31 - 1)
    assert state.randint(2**31) == fresh.randint(2**31)


def test__weights__drop_rows_and_scale(make, texts, labels):
    a, b = (make().partial_fit(texts, labels, classes=["neg", "pos"]) for _ in range(2))
    weight = np.array([2.0] * 5 + [0.0] * 7)
    same(a.partial_fit(texts, labels, sample_weight=weight), b.partial_fit(texts[:5], labels[:5]))
    c, d = copy.deepcopy(a), copy.deepcopy(a)
    c.set_params(class_weight={"pos": 3.0}).partial_fit(texts, labels)
    factor = np.where(np.array(labels) == "pos", 3.0, 1.0)
    same(c, d.partial_fit(texts, labels, sample_weight=factor), atol=1e-12)


def test__rows_of_one_class__are_enough(make, texts):
    clf = make(lr=0.05, head_lr=0.05).partial_fit(texts, [7] * 12, classes=[7, 3, 5])
    assert clf.classes_.tolist() == [3, 5, 7]
    assert set(clf.predict(texts)) == {7}
    for _ in range(10):
        clf.partial_fit(texts[:5], [3] * 5)
    assert set(clf.predict(texts[:5])) == {3}


def test__soft_labels__name_the_classes(make, texts):
    y = pd.DataFrame(np.tile([0.5, 0.25, 0.25], (12, 1)), columns=["a", "b", "c"])
    clf = make().partial_fit(texts, y).partial_fit(texts[:3], ["c", "a", "b"])
    assert clf.classes_.tolist() == ["a", "b", "c"]
    assert clf.n_iter_ == 2
    clf.partial_fit(texts, y[["c", "a", "b"]], classes=["c", "b", "a"])


def test__failure__changes_nothing(make, texts, labels):
    clf = make().fit(texts, labels)
    before, state = parameters(clf), vars(clf).copy()
    clf.set_params(training__head_lr=1e300, training__max_grad_norm=None, weight_decay=1e10)
    with pytest.raises(NonFiniteLossError):
        clf.partial_fit(texts, labels)
    for p, q in zip(parameters(clf), before):
        np.testing.assert_array_equal(p, q)
    assert not clf.net_.module_.training
    for name in ("net_", "history_", "n_iter_", "classes_", "_notes"):
        assert getattr(clf, name) is state[name]


@pytest.fixture(scope="module")
def begun(make, texts, labels):
    return make(n_members=1).partial_fit(texts, labels, classes=["neg", "pos"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 1}, "rank cannot change"),
        (
            {"training__init_scale": 0.7, "random_state": 5},
            "so init_scale, random_state cannot change",
        ),
        ({"training__head_init_scale": 0.7}, "head_init_scale cannot change"),
        ({"n_members": 2}, "n_members cannot change"),
        ({"precision": "float32", "max_length": 64}, "max_length, precision cannot change"),
        ({"early_stopping": True}, "does not support early_stopping"),
        ({"class_weight": "balanced"}, "not supported for partial_fit"),
        ({"lr": -1.0}, "'lr' parameter"),
    ],
    ids=["rank", "start", "heads", "members", "two", "stopping", "balanced", "bad"],
)
def test__parameters__that_cannot_change(changes, words, begun, texts, labels):
    clf = copy.deepcopy(begun).set_params(**changes)
    with pytest.raises(ValueError, match=words):
        clf.partial_fit(texts, labels)


def test__parameters__that_may_change(make, begun, texts, labels):
    """A call learns with the values it is given; ``settings_`` tells those of the first."""
    changes = {
        "lr": 0.1,
        "batch_size": 2,
        "training__warmup": 0.0,
        "max_epochs": 7,
        "random_state": None,
    }
    clf = copy.deepcopy(begun).set_params(**changes).partial_fit(texts, labels)
    steps = clf.net_.history[-1]["batches"]
    assert len(steps) == 6
    np.testing.assert_allclose([b["lr"] for b in steps], 0.1 * (1 - np.arange(6) / 6), rtol=1e-12)
    assert clf.settings_ == begun.settings_
    assert (clf.settings_.max_epochs, clf.settings_.batch_size) == (1, make().batch_size)
    again = SVEClassifier(**clf.settings_.to_dict()).fit(texts, labels)
    same(again, begun)


@pytest.mark.parametrize(
    ("y", "classes", "words"),
    [
        (["pos"] * 12, [None, 1], "classes must be a list of labels of one kind"),
        (["pos", "new"] * 6, None, "not among the classes: .'new'."),
        (["pos", "neg"] * 6, ["pos", "neg", "new"], "not the same as on the first call"),
        (["pos"] * 5, None, "inconsistent numbers"),
        (None, None, "requires y"),
    ],
    ids=["kinds", "label", "classes", "length", "none"],
)
def test__data__that_cannot_be(y, classes, words, begun, texts, labels):
    with pytest.raises(ValueError, match="kind 'text'"):
        begun.partial_fit(np.zeros((12, 2)), labels)
    with pytest.raises(ValueError, match=words):
        begun.partial_fit(texts, y, classes=classes)
    assert begun.n_iter_ == 1


def test__first_call__needs_classes(make, texts, labels):
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make().partial_fit(texts, labels)
    with pytest.raises(ValueError, match="at least two classes"):
        make().partial_fit(texts, labels, classes=["pos"])
    with pytest.raises(ValueError, match="classes must be a list of labels of one kind"):
        make().partial_fit(texts, labels, classes=[None, 1])


def test__warm_start__adds_members_afterwards(make, texts, labels):
    clf = make(n_members=1, warm_start=True).fit(texts, labels).partial_fit(texts, labels)
    old = parameters(clf)
    clf.set_params(n_members=2).fit(texts, labels)
    for p, q in zip(parameters(clf), old):
        np.testing.assert_array_equal(p[:1], q)
    assert clf.predict_proba_members(texts).shape[0] == 2


def test__images__go_on_too():
    images = np.random.default_rng(0).integers(0, 256, size=(8, 14, 14, 3), dtype=np.uint8)
    labels = ["a", "b"] * 4

    def begin():
        clf = SVEClassifier(make_tiny_backbone("vit"), n_members=2, random_state=0)
        return clf.partial_fit(images, labels, classes=["a", "b"])

    clf = begin().partial_fit(images[:4], labels[:4])
    assert clf.n_iter_ == 2
    before, after = begin().predict_proba(images), clf.predict_proba(images)
    assert np.abs(before - after).max() > 1e-6
    np.testing.assert_array_equal(clf.first_members(2).predict_proba(images), after)

"""What a skorch user expects of training: callbacks, history, early stopping, errors that help."""

import re

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
)

from sksve import NonFiniteLossError, SVEClassifier
from sksve.backbones import make_tiny_backbone

FILM = ["good film", "great story", "loved it", "best movie"]
BAD = ["bad film", "poor story", "hated it", "worst movie"]


def test__learns_a_separable_task(rng):
    def draw(n):
        y = np.where(rng.random(n) < 0.5, "good", "bad")
        words = [FILM if label == "good" else BAD for label in y]
        return [f"the {rng.choice(w)} {rng.choice(w)}" for w in words], y

    X, y = draw(96)
    X_test, y_test = draw(200)
    backbone = make_tiny_backbone(hidden_size=64)
    clf = SVEClassifier(backbone, n_members=2, max_epochs=12, random_state=0).fit(X, y)
    assert clf.score(X_test, y_test) > 0.9


def test__history__padding_is_counted_and_is_the_members_own(make, tiny):
    # One batch of lengths 3, 3, 3, 6 (with the special tokens): 9 of 24 places are padding.
    texts, labels = ["a", "b", "c", "a b c d"], ["x", "y", "x", "y"]
    clf = make(max_epochs=1, batch_size=4).fit(texts, labels)
    lengths = [len(tiny[1](t)["input_ids"]) for t in texts]
    expected = 1 - sum(lengths) / (4 * max(lengths))
    np.testing.assert_allclose(clf.history_[0]["padding"], expected, rtol=1e-12)
    rng = np.random.default_rng(0)
    many = [" ".join("a" * rng.integers(1, 20)) for _ in range(40)]
    fits = [
        make(max_epochs=1, batch_size=4, n_members=m).fit(many, ["x", "y"] * 20) for m in (1, 3)
    ]
    alone, together = (clf.history_[0]["padding"] for clf in fits)
    assert alone[0] == together[0]


def test__history__has_one_value_per_member_and_X_val_only_watches(make, fitted, texts, labels):
    assert fitted.n_iter_ == len(fitted.history_) == 2
    for row in fitted.history_:
        assert row.keys() == {"train_loss", "padding"}
        assert row["train_loss"].shape == row["padding"].shape == (3,)
        assert np.isfinite(row["train_loss"]).all()
    X_val, y_val = texts[:5], np.array(labels)[[0, 1, 2, 3, 5]]
    clf = make().fit(texts, labels, X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))
    last = clf.history_[-1]
    assert last.keys() == {"train_loss", "valid_loss", "valid_accuracy", "padding"}
    members = clf.predict_proba_members(X_val)
    own = members[:, np.arange(5), np.searchsorted(clf.classes_, y_val)]
    np.testing.assert_allclose(last["valid_loss"], -np.log(own).mean(axis=1), rtol=1e-9)
    hits = clf.classes_[members.argmax(axis=2)] == y_val
    np.testing.assert_array_equal(last["valid_accuracy"], hits.mean(axis=1))


def test__weight_decay__bounds_how_far_values_move(make, texts, labels):
    """AdamW's steps are about its rate, so what it takes back balances them at about 1 / weight_decay."""
    settings = {"rank": 4, "core": "full", "init_scale": 0.0, "lr": 0.05, "warmup": 0.0}

    def moved(weight_decay):
        clf = make(n_members=1, max_epochs=30, weight_decay=weight_decay, **settings).fit(
            texts, labels
        )
        return max(p.abs().max().item() for p in clf.net_.module_.adapter_parameters())

    assert moved(10.0) < 0.15 < moved(0.0)


def test__train_loss__of_the_first_epoch_without_learning_is_the_start_s(make, texts, labels):
    clf = make(lr=1e-300, head_lr=1e-300, max_epochs=1, weight_decay=0.0).fit(texts, labels)
    own = clf.predict_proba_members(texts)[:, np.arange(12), np.searchsorted(clf.classes_, labels)]
    np.testing.assert_allclose(clf.history_[0]["train_loss"], -np.log(own).mean(axis=1), rtol=1e-9)


class Record(Callback):
    """Keep the members' parameters of every epoch."""

    kept = None

    def on_train_begin(self, net, **kwargs):
        type(self).kept = []

    def on_epoch_end(self, net, **kwargs):
        type(self).kept.append([p.detach().clone() for p in net.module_.member_parameters()])


def test__early_stopping__gives_each_member_its_best_epoch(make, texts, labels):
    # Labels to judge by that training contradicts: the validation loss soon rises.
    clf = make(
        early_stopping=True, patience=2, max_epochs=12, lr=0.05, callbacks=[Record()],
        batch_size=12,
    )  # fmt: skip
    clf.fit(texts, labels, X_val=texts[:7], y_val=np.array(labels)[[0, 1, 2, 3, 4, 4, 4]])
    losses = np.array([row["valid_loss"] for row in clf.history_])
    ran = np.isfinite(losses).sum(axis=0)
    assert clf.n_iter_ == ran.max() == len(losses)
    assert ran.min() < 12
    best = np.nanargmin(losses, axis=0)
    for k in range(3):
        for p, kept in zip(clf.net_.module_.member_parameters(), Record.kept[best[k]]):
            np.testing.assert_array_equal(p.detach()[k], kept[k])
        # It stops when two epochs in a row have brought nothing (1e-4 counts as nothing).
        improvements = (
            losses[: ran[k], k]
            < np.r_[np.inf, np.minimum.accumulate(losses[:, k])][: ran[k]] - 1e-4
        )
        if ran[k] < 12:
            assert not improvements[-2:].any()
    assert len(set(best.tolist())) > 1 or len(set(ran.tolist())) > 1  # each at its own time


def test__early_stopping__holds_out_a_stratified_share(make, texts):
    y = np.array([0] * 8 + [1] * 4)

    class Count(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            held = net.valid_dataset
            seen.append((len(X), np.bincount(held.y).tolist()))

    seen = []
    make(early_stopping=True, validation_fraction=0.25, max_epochs=1, callbacks=[Count()]).fit(
        texts, y
    )
    assert seen == [(9, [2, 1])]


@pytest.mark.parametrize("where", ["lr", "head_lr"])
def test__runaway_training__says_where_and_what_to_do(where, make, texts, labels):
    # Weight decay as well: a head of 1e30 alone still has a finite loss.
    clf = make(**{where: 1e30}, weight_decay=0.01, precision="float32")
    with pytest.raises(FloatingPointError) as info:
        clf.fit(texts, labels)
    assert isinstance(info.value, NonFiniteLossError)
    message = str(info.value)
    assert "member 0" in message
    assert re.search("epoch 1, batch [23]", message)
    assert "Lower lr" in message
    assert "head_lr" in message


def test__runaway_last_step__is_told_by_predict(make, texts, labels):
    # One step only: no loss comes after it.
    clf = make(lr=1e30, precision="float32", max_epochs=1, batch_size=12).fit(texts, labels)
    for method in ("predict", "predict_proba", "predict_uncertainty"):
        with pytest.raises(FloatingPointError, match=r"Member 0 .* row 0 of X.*lower lr"):
            getattr(clf, method)(texts)


def test__runaway_member__is_named_by_its_number(make, texts, labels):
    class Poison(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            if training and len(net.history) == 2:
                net.module_.heads.bias.data[1] = np.nan

    with pytest.raises(FloatingPointError, match=r"member 1 is nan in epoch 2, batch 1:"):
        make(callbacks=[Poison()]).fit(texts, labels)


@pytest.mark.parametrize("clip", [1.0, None])
def test__infinite_gradient__of_a_finite_loss_is_named(clip, make, texts, labels):
    class PoisonGradient(Callback):
        def on_train_begin(self, net, **kwargs):
            def hook(grad):
                grad = grad.clone()
                if len(net.history) == 2 and len(net.history[-1]["batches"]) == step:
                    grad[1] = np.nan
                return grad

            net.module_.heads.bias.register_hook(hook)

    for step in (2, 3):  # in the last step as well, which no loss follows
        clf = make(max_grad_norm=clip, callbacks=[PoisonGradient()])
        message = f"gradient norm of member 1 is nan in epoch 2, batch {step}"
        with pytest.raises(NonFiniteLossError, match=message):
            clf.fit(texts, labels)
        assert not hasattr(clf, "classes_")


def test__callbacks__are_copied_before_use(make, texts, labels):
    class Count(Callback):
        def __init__(self):
            self.n, self.box = 0, []

        def on_epoch_end(self, net, **kwargs):
            self.n += 1
            self.box.append(1)
            seen.append((self.n, len(self.box)))

    seen, callback = [], Count()
    clf = make(callbacks=[("count", callback)], max_epochs=2)
    clf.fit(texts, labels).fit(texts, labels)
    assert seen == [(1, 1), (2, 2)] * 2
    assert vars(callback) == {"n": 0, "box": []}


def test__callbacks__of_skorch_score_and_stop(make, texts, labels):
    def accuracy(net, X, y=None):
        return float((net.predict(X) == np.asarray(X.y)).mean())

    callbacks = [
        EpochScoring(accuracy, name="acc", lower_is_better=False, use_caching=False),
        EarlyStopping(monitor="acc", patience=1, lower_is_better=False, sink=lambda _: None),
    ]
    clf = make(callbacks=callbacks, max_epochs=9, lr=1e-9, head_lr=1e-9)
    clf.fit(texts, labels, X_val=texts, y_val=labels)
    assert clf.net_.history[-1, "acc"] == clf.score(texts, labels)
    assert clf.n_iter_ == 2  # no better at once


def test__callbacks__score_by_any_metric(make, texts, labels):
    y = (np.asarray(labels) == "pos").astype(int)
    callbacks = [
        EpochScoring("roc_auc", name="auc"),
        EpochScoring("accuracy", name="acc", lower_is_better=False),
        EpochScoring("roc_auc", name="plain", use_caching=False),
        EpochScoring("neg_log_loss", name="train", on_train=True),
        ("named", EpochScoring(None, name="default", on_train=True)),
    ]
    clf = make(callbacks=callbacks).fit(texts, labels, X_val=texts[:9], y_val=labels[:9])
    proba, row = clf.predict_proba(texts), clf.net_.history[-1]
    assert row["auc"] == row["plain"] == roc_auc_score(y[:9], proba[:9, 1])
    assert row["acc"] == clf.score(texts[:9], labels[:9])
    np.testing.assert_allclose(row["train"], -log_loss(y, proba), rtol=1e-9)
    assert row["default"] == clf.score(texts, labels)
    without = make(callbacks=callbacks[:1]).fit(texts, labels)  # nothing to judge it on
    assert "auc" not in without.net_.history[-1]


@pytest.mark.parametrize(
    ("callback", "cure"),
    [
        (BatchScoring("accuracy"), "BatchScoring.*: use EpochScoring"),
        (("frozen", Freezer("*")), "Freezer.*adapt_blocks and train_bias say what learns"),
        (GradientNormClipping(1.0), "GradientNormClipping.*set max_grad_norm"),
        (LRScheduler, "LRScheduler.*set warmup"),
    ],
)
def test__callbacks__that_cannot_work_are_refused_by_name(callback, cure, make, texts, labels):
    clf = make(callbacks=[callback])
    with pytest.raises(ValueError, match=f"'callbacks' of Training holds a {cure}"):
        clf.fit(texts, labels)
    assert not hasattr(clf, "classes_")


def test__callbacks__may_hold_an_open_file(make, texts, labels, tmp_path):
    class Write(Callback):
        def __init__(self, file):
            self.file, self.lines = file, []

        def on_epoch_end(self, net, **kwargs):
            self.lines.append(len(net.history))
            self.file.write(f"{net.history[-1]['train_loss']}\n")

    with open(tmp_path / "log", "w+") as file:
        callback = Write(file)
        clf = make(callbacks=[callback]).fit(texts, labels)
        file.seek(0)
        assert [float(line) for line in file] == clf.net_.history[:, "train_loss"]
    assert callback.lines == []  # what can be copied was


def test__verbose__prints_losses_and_is_silent_otherwise(make, texts, labels, capsys):
    make(max_epochs=1).fit(texts, labels)
    assert capsys.readouterr() == ("", "")
    make(max_epochs=1, verbose=1).fit(texts, labels)
    printed = capsys.readouterr().out
    assert "train_loss" in printed
    assert "member_train_loss" not in printed


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test__batch_size__may_be_anything(batch_size, make, texts, labels):
    clf = make(max_epochs=1, batch_size=batch_size).fit(texts, labels)
    assert len(clf.net_.history[0, "batches"]) == -(-12 // batch_size)
    assert np.isfinite(clf.predict_proba(texts)).all()


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test__warmup__at_its_ends(warmup, make, texts, labels):
    rates = [
        row["lr"]
        for epoch in make(warmup=warmup, lr=1.0, n_members=1).fit(texts, labels).net_.history
        for row in epoch["batches"]
    ]
    up = [(i + 1) / 6 for i in range(6)]
    np.testing.assert_allclose(rates, up if warmup else up[::-1])


def test__max_grad_norm__none_is_no_limit(make, texts, labels):
    free, wide, tight = (
        make(max_grad_norm=g).fit(texts, labels).predict_proba(texts) for g in (None, 1e9, 1e-6)
    )
    np.testing.assert_array_equal(free, wide)
    assert np.abs(free - tight).max() > 1e-4


def test__decay_to_start__ends_at_the_start_instead_of_at_zero(make, texts, labels):
    """Without gradients to speak of, strong decay forgets a start, or keeps it."""

    def heads(**changes):
        still = {"lr": 1e-300, "max_epochs": 1, "weight_decay": 0.0}
        clf = make(head_init_scale=0.5, **{**still, "head_lr": 1e-300, **changes})
        return clf.fit(texts, labels).net_.module_.heads.weight.detach().numpy()

    start = heads()
    pulled = {"head_lr": 1e-4, "weight_decay": 5e3, "max_epochs": 30}
    assert np.abs(heads(**pulled) / start).max() < 0.02
    np.testing.assert_allclose(heads(**pulled, decay_to="start"), start, rtol=0, atol=2e-3)

"""Ctrl-C ends fit with members that can be used, and says so; what cannot be used goes through."""

import os
import signal
import threading

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sksve.baselines import DeepEnsembleClassifier
from sksve.training import MemberNet
from tests.making import new


@pytest.fixture(autouse=True)
def _sigint_as_python_has_it():
    """A shell starts jobs in the background with SIGINT ignored: there is no Ctrl-C then."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class At(Callback):
    """Do something at the n-th call of one of its methods."""

    def __init__(self, event, n, action):
        self.event, self.n, self.action = event, n, action
        self.seen = 0

    def _called(self, event, training):
        if event == self.event and training:
            self.seen += 1
            if self.seen == self.n:
                self.action()

    def on_train_begin(self, net, **kwargs):
        self._called("on_train_begin", True)

    def on_epoch_begin(self, net, **kwargs):
        self._called("on_epoch_begin", True)

    def on_batch_begin(self, net, training=False, **kwargs):
        self._called("on_batch_begin", training)
        self._called("on_valid_begin", not training)

    def on_grad_computed(self, net, **kwargs):
        self._called("on_grad_computed", True)

    def on_batch_end(self, net, training=False, **kwargs):
        self._called("on_batch_end", training)

    def on_epoch_end(self, net, **kwargs):
        self._called("on_epoch_end", True)


def press():
    """What Ctrl-C does, and Python runs the handler before it goes on."""
    signal.raise_signal(signal.SIGINT)


def twice():
    press()
    press()


def ask():
    raise KeyboardInterrupt


INTERRUPT = "Training was interrupted in epoch {} of 3, after {} steps"


def check_usable(clf, texts, n_epochs):
    assert clf.n_iter_ == len(clf.history_) == len(clf.net_.history) == n_epochs
    for row in clf.history_:
        assert {"train_loss", "padding"} <= row.keys()
        assert np.isfinite(row["train_loss"]).all()
        assert all(value.shape == (3,) for value in row.values())
    assert clf.predict(texts).shape == (12,)
    np.testing.assert_allclose(clf.predict_proba(texts).sum(axis=1), 1.0)
    assert clf.predict_uncertainty(texts).total.shape == (12,)
    assert clf.first_members(2).n_iter_ == n_epochs


@pytest.mark.parametrize(
    ("event", "n", "epoch", "steps", "action"),
    [
        ("on_batch_end", 1, 1, 1, ask),
        ("on_batch_end", 5, 2, 5, press),
        ("on_epoch_end", 2, 2, 6, press),
        ("on_grad_computed", 5, 2, 5, ask),
        ("on_batch_begin", 6, 2, 6, press),
    ],
)
def test__interrupt__ends_fit_between_two_steps(
    action, event, n, epoch, steps, make, texts, labels
):
    if action is ask and event in ("on_grad_computed", "on_batch_begin"):
        steps -= 1  # raised inside the step, which is not made
    clf = make(max_epochs=3, callbacks=[At(event, n, action)])
    with pytest.warns(ConvergenceWarning, match=INTERRUPT.format(epoch, steps)) as caught:
        assert clf.fit(texts, labels) is clf
    assert len(caught) == 1
    check_usable(clf, texts, epoch)
    # Its members are those of a fit of so many steps: nothing was half done.
    seen = []

    class Watch(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            seen.append([p.detach().clone() for p in net.module_.member_parameters()])

    make(max_epochs=3, callbacks=[Watch()]).fit(texts, labels)
    for p, q in zip(clf.net_.module_.member_parameters(), seen[steps - 1], strict=True):
        np.testing.assert_array_equal(p.detach(), q)


def test__interrupt__in_an_epoch_with_validation(make, texts, labels):
    data = {"X_val": texts[:6], "y_val": labels[:6]}
    clf = make(max_epochs=3, callbacks=[At("on_batch_end", 4, press)])
    with pytest.warns(ConvergenceWarning, match=INTERRUPT.format(2, 4)):
        clf.fit(texts, labels, **data)
    check_usable(clf, texts, 2)
    assert np.isfinite(clf.history_[0]["valid_loss"]).all()
    assert np.isnan(clf.history_[1]["valid_loss"]).all()
    assert np.isnan(clf.history_[1]["valid_accuracy"]).all()
    # While validation runs, it is finished first.
    clf = make(max_epochs=3, callbacks=[At("on_valid_begin", 1, press)])
    with pytest.warns(ConvergenceWarning, match=INTERRUPT.format(1, 3)):
        clf.fit(texts, labels, **data)
    check_usable(clf, texts, 1)
    assert np.isfinite(clf.history_[0]["valid_loss"]).all()


@pytest.mark.parametrize("n", [1, 3])
def test__interrupt__with_early_stopping_keeps_the_best_weights_there_are(n, make, texts, labels):
    settings = {"early_stopping": True, "validation_fraction": 0.3, "max_epochs": 3}
    kept = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            kept.append([p.detach().clone() for p in net.module_.member_parameters()])

        def on_batch_end(self, net, training=False, **kwargs):
            last[:] = [p.detach().clone() for p in net.module_.member_parameters()]

    last = []
    clf = make(**settings, callbacks=[Watch(), At("on_batch_end", n, press)])
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        clf.fit(texts, labels)
    # In the first epoch nothing has been judged: the members stay as they are, not as they began.
    expected = kept[0] if n == 3 else last  # two steps an epoch
    for p, q in zip(clf.net_.module_.member_parameters(), expected, strict=True):
        np.testing.assert_array_equal(p.detach(), q)


@pytest.mark.parametrize(
    ("event", "n", "action"),
    [
        ("on_train_begin", 1, press),
        ("on_epoch_begin", 1, press),
        ("on_batch_begin", 1, ask),
        ("on_batch_begin", 4, twice),
    ],
)
def test__before_the_first_step_or_the_second_time__it_goes_through(
    event, n, action, make, texts, labels
):
    clf = make(callbacks=[At(event, n, action)])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(texts, labels)
    assert not hasattr(clf, "classes_")


def test__it_goes_through__and_leaves_a_fitted_estimator_as_it_was(make, texts, labels):
    clf = make().fit(texts, labels)
    before = clf.predict_proba(texts)
    clf.set_params(training__callbacks=[At("on_epoch_begin", 1, press)])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(texts, labels[::-1])
    np.testing.assert_array_equal(clf.predict_proba(texts), before)


def test__after_the_last_step__nothing_was_interrupted(make, fitted, texts, labels):
    clf = make(callbacks=[At("on_epoch_end", 2, press)]).fit(texts, labels)
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))


def test__handler__is_there_while_training_and_gone_after(make, texts, labels):
    handlers = []
    see = At("on_batch_end", 1, lambda: handlers.append(signal.getsignal(signal.SIGINT)))
    make(callbacks=[see]).fit(texts, labels)
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[At("on_epoch_begin", 1, press)]).fit(texts, labels)
    assert handlers[0] is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test__handler__of_somebody_else_is_left_alone(make, fitted, texts, labels):
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *args: pressed.append(1))
    try:
        clf = make(callbacks=[At("on_batch_end", 2, press)]).fit(texts, labels)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [1]
    np.testing.assert_array_equal(clf.predict_proba(texts), fitted.predict_proba(texts))


def test__another_thread__fits_without_a_handler(make, fitted, texts, labels):
    done = []
    thread = threading.Thread(target=lambda: done.append(make().fit(texts, labels)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(done[0].predict_proba(texts), fitted.predict_proba(texts))


def test__a_real_signal__from_outside(make, texts, labels):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    begun = At("on_batch_end", 1, lambda: timer.start())  # a method would be copied
    clf = make(max_epochs=3000, callbacks=[begun])
    with pytest.warns(ConvergenceWarning, match="interrupted in epoch [0-9]+ of 3000"):
        clf.fit(texts, labels)
    assert clf.n_iter_ < 3000
    assert np.isfinite(clf.predict_proba(texts)).all()


class PressOnce(Callback):
    """Ctrl-C while member 1 is trained: of several threads, only one may press."""

    def on_batch_end(self, net, training=False, **kwargs):
        if training and 1 in net.member_ids and len(net.history[-1]["batches"]) == 2:
            press()


@pytest.mark.parametrize("kind", ["parts", "jobs"])
def test__members_trained_in_parts__let_it_through(kind, make, tiny, texts, labels):
    callbacks = [PressOnce()]
    if kind == "parts":
        clf = new(
            DeepEnsembleClassifier,
            tiny,
            n_members=2,
            batch_size=4,
            max_epochs=1,
            callbacks=callbacks,
        )
    else:
        clf = make(n_jobs=2, max_epochs=1, callbacks=callbacks)
    with (
        parallel_config(backend="sequential" if kind == "parts" else "threading"),
        pytest.raises(KeyboardInterrupt),
    ):
        clf.fit(texts, labels)
    assert not hasattr(clf, "classes_")


def test__interrupt__keeps_the_checkpoint_and_the_same_call_goes_on(make, texts, labels, tmp_path):
    whole = make(max_epochs=3).fit(texts, labels)
    clf = make(max_epochs=3, checkpoint_dir=tmp_path, callbacks=[At("on_batch_end", 5, press)])
    with pytest.warns(
        ConvergenceWarning, match="after 5 steps.*same call continues after the last"
    ):
        clf.fit(texts, labels)
    assert len(list(tmp_path.iterdir())) == 1
    steps = []
    clf.set_params(training__callbacks=[At("on_batch_end", 1, lambda: steps.append(1))])
    clf.set_params(training__callbacks=[Count(steps)]).fit(texts, labels)
    assert len(steps) == 6  # epochs 2 and 3: the second was not whole
    np.testing.assert_array_equal(clf.predict_proba(texts), whole.predict_proba(texts))
    for row, other in zip(clf.history_, whole.history_, strict=True):
        np.testing.assert_array_equal(row["train_loss"], other["train_loss"])
    assert list(tmp_path.iterdir()) == []


class Count(Callback):
    def __init__(self, seen):
        self.seen = seen

    def __deepcopy__(self, memo):
        return self

    def on_batch_end(self, net, training=False, **kwargs):
        self.seen += [1] * training


def test__partial_fit__ends_or_is_undone(make, texts, labels):
    clf = make().fit(texts, labels)
    before = clf.predict_proba(texts)
    with pytest.raises(KeyboardInterrupt):
        clf.set_params(training__callbacks=[At("on_epoch_begin", 1, press)]).partial_fit(
            texts, labels
        )
    np.testing.assert_array_equal(clf.predict_proba(texts), before)
    with pytest.warns(ConvergenceWarning, match="after 1 steps"):
        clf.set_params(training__callbacks=[At("on_batch_end", 1, press)]).partial_fit(
            texts, labels
        )
    assert clf.n_iter_ == len(clf.history_) == 3
    assert np.abs(clf.predict_proba(texts) - before).max() > 0
    assert isinstance(clf.net_, MemberNet)

"""A member whose loss runs away alone: dropped or trained anew, the others to the bit as they were."""

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sksve import MemberSearchCV, NonFiniteLossError, SVEClassifier
from sksve.baselines import DeepEnsembleClassifier, FineTunedClassifier, LinearProbeClassifier

DROPPED = "Member 1 has diverged and is left out: The loss of member 1 is nan in epoch 2, batch 2"


class Poison(Callback):
    """Spoil some members at one step: their parameters, or their gradients only."""

    def __init__(self, *members, epoch=2, step=2, value=np.nan, attempts=(0,)):
        self.members, self.epoch, self.step, self.value = members, epoch, step, value
        self.attempts = attempts

    def _spoil(self, net, tensors):
        now = len(net.history) == self.epoch and len(net.history[-1]["batches"]) == self.step
        if now and round(np.log2(0.02 / net.head_lr)) in self.attempts:
            for k in self.members:
                if k in net.member_ids:
                    for t in tensors(net):
                        t[net.member_ids.index(k)] = self.value

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self._spoil(net, lambda net: [net.module_.heads.bias.data])


class PoisonGradient(Poison):
    """Infinite gradients while every loss is finite."""

    def on_batch_begin(self, net, **kwargs):
        pass

    def on_train_begin(self, net, **kwargs):
        def hook(grad):
            grad = grad.clone()
            self._spoil(net, lambda _: [grad])
            return grad

        self.handle_ = net.module_.heads.bias.register_hook(hook)

    def on_train_end(self, net, **kwargs):
        self.handle_.remove()
        del self.handle_


def rows_of(clf, members):
    return [
        {key: value[[clf.net_.member_ids.index(k) for k in members]] for key, value in row.items()}
        for row in clf.history_
    ]


def assert_untouched(clf, whole, members, texts, atol=0.0):
    """The members are those of the undisturbed fit."""
    at = [clf.net_.member_ids.index(k) for k in members]
    of = [whole.net_.member_ids.index(k) for k in members]
    for p, q in zip(clf.net_.module_.member_parameters(), whole.net_.module_.member_parameters()):
        np.testing.assert_allclose(p[at].detach(), q[of].detach(), rtol=0, atol=atol)
    for row, other in zip(rows_of(clf, members), rows_of(whole, members), strict=True):
        for key in row:
            np.testing.assert_allclose(row[key], other[key], rtol=0, atol=atol)
    np.testing.assert_allclose(
        clf.predict_proba_members(texts)[at], whole.predict_proba_members(texts)[of],
        rtol=0, atol=atol,
    )  # fmt: skip


def test__assert_untouched__can_fail(make, fitted, texts, labels):
    with pytest.raises(AssertionError):
        assert_untouched(make(random_state=1).fit(texts, labels), fitted, [0, 2], texts)


def check_dropped(clf, texts, left, dropped):
    assert clf.net_.member_ids == tuple(left)
    assert clf.diverged_members_ == list(dropped)
    members = clf.predict_proba_members(texts)
    assert members.shape == (len(left), 12, 2)
    np.testing.assert_allclose(clf.predict_proba(texts), members.mean(axis=0), atol=1e-12)
    for row in clf.history_:
        assert all(value.shape == (len(left),) for value in row.values())
    assert clf.adapter_report_.n_trainable == len(left) * clf.adapter_report_.n_trainable_per_member


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"member_batches": "shared"},
        {"adapt_blocks": 1, "rank": 3, "off_diagonals": 1},
        {"rank": 3, "off_diagonals": 1, "direction_pool": 6},
        {"early_stopping": True, "validation_fraction": 0.3, "batch_size": 3},
        {"max_grad_norm": None, "weight_decay": 0.1},
    ],
    ids=["default", "shared", "band", "own-directions", "early-stopping", "no-clip"],
)
def test__drop__leaves_the_others_untouched(settings, make, texts, labels):
    settings = {"max_epochs": 3, "batch_size": 4} | settings
    whole = make(**settings).fit(texts, labels)
    clf = make(**settings, diverged_members="drop", callbacks=[Poison(1)])
    with pytest.warns(ConvergenceWarning, match=DROPPED) as caught:
        clf.fit(texts, labels)
    assert len(caught) == 1
    check_dropped(clf, texts, [0, 2], [1])
    assert_untouched(clf, whole, [0, 2], texts, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test__drop__infinite_gradients_with_finite_losses(value, make, texts, labels):
    whole = make().fit(texts, labels)
    clf = make(diverged_members="drop", callbacks=[PoisonGradient(0, 2, value=value)])
    with pytest.warns(ConvergenceWarning, match="The gradient norm of member [02] is (nan|inf)"):
        clf.fit(texts, labels)
    check_dropped(clf, texts, [1], [0, 2])
    assert_untouched(clf, whole, [1], texts, atol=1e-12)


@pytest.mark.parametrize("clip", [1.0, None])
def test__raise__names_infinite_gradients(clip, make, texts, labels):
    # In the last step as well, which no loss follows.
    for step in (2, 3):
        clf = make(max_grad_norm=clip, callbacks=[PoisonGradient(1, step=step)])
        message = f"gradient norm of member 1 is nan in epoch 2, batch {step}"
        with pytest.raises(NonFiniteLossError, match=message):
            clf.fit(texts, labels)
        assert not hasattr(clf, "classes_")


def test__drop__in_the_same_step_nobody_else_feels_it(make, texts, labels):
    # One step in all: the others must have made it with their own gradients.
    settings = {"max_epochs": 1, "batch_size": 12}
    whole = make(**settings).fit(texts, labels)
    clf = make(**settings, diverged_members="drop", callbacks=[Poison(0, epoch=1, step=1)])
    with pytest.warns(ConvergenceWarning, match="Member 0"):
        clf.fit(texts, labels)
    assert_untouched(clf, whole, [1, 2], texts)


def test__drop__after_the_last_step(make, texts, labels):
    class Last(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                net.module_.heads.weight.data[2, 0, 0] = np.inf

    clf = make(diverged_members="drop", callbacks=[Last()])
    with pytest.warns(ConvergenceWarning, match="parameters of member 2 are not finite"):
        clf.fit(texts, labels)
    check_dropped(clf, texts, [0, 1], [2])


def test__drop__a_loss_of_validation(make, texts, labels):
    class Judge(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            if not training and len(net.history) == 1:
                net.module_.heads.bias.data[1] = np.nan

    clf = make(diverged_members="drop", callbacks=[Judge()])
    with pytest.warns(ConvergenceWarning, match="loss of member 1 is nan in epoch 1, batch 4"):
        clf.fit(texts, labels, X_val=texts, y_val=labels)
    check_dropped(clf, texts, [0, 2], [1])
    assert np.isfinite([row["valid_loss"] for row in clf.history_]).all()


def test__drop__everyone_is_an_error(make, texts, labels):
    for callbacks in ([Poison(0, 1, 2)], [Poison(0, 2), Poison(1, step=3)]):
        clf = make(diverged_members="drop", callbacks=callbacks)
        with pytest.raises(NonFiniteLossError, match=r"Every member has diverged\. The loss of"):
            clf.fit(texts, labels)
        assert not hasattr(clf, "classes_")


def test__drop__a_real_runaway(make, texts, labels):
    clf = make(lr=1e30, precision="float32", weight_decay=0.01, diverged_members="drop")
    with pytest.raises(NonFiniteLossError, match="Every member has diverged"):
        clf.fit(texts, labels)


def test__drop__with_jobs(make, texts, labels):
    for lost, left in [([1], [0, 2]), ([2], [0, 1]), ([0, 1], [2])]:
        clf = make(n_jobs=2, diverged_members="drop", callbacks=[Poison(*lost)])
        with parallel_config(backend="threading"), pytest.warns(ConvergenceWarning) as caught:
            clf.fit(texts, labels)
        assert [f"Member {k} has diverged" in str(w.message) for k, w in zip(lost, caught)]
        assert len(caught) == len(lost)
        check_dropped(clf, texts, left, lost)
        assert_untouched(clf, make().fit(texts, labels), left, texts, atol=1e-9)
    clf = make(n_jobs=2, diverged_members="drop", callbacks=[Poison(0, 1, 2)])
    with parallel_config(backend="threading"), pytest.raises(NonFiniteLossError):
        clf.fit(texts, labels)


@pytest.mark.parametrize("more", [{}, {"rank": 3, "off_diagonals": 2, "direction_pool": 6}])
def test__restart__gives_another_member_at_half_the_rates(more, make, texts, labels):
    whole = make(**more).fit(texts, labels)
    clf = make(diverged_members="restart", callbacks=[Poison(1)], **more)
    with pytest.warns(ConvergenceWarning, match=r"Member 1 .* trained anew, at 0\.5 of") as caught:
        clf.fit(texts, labels)
    assert len(caught) == 1
    assert clf.diverged_members_ == []
    assert clf.net_.member_ids == (0, 1, 2)
    assert_untouched(clf, whole, [0, 2], texts, atol=1e-12)
    new, old = (c.predict_proba_members(texts)[1] for c in (clf, whole))
    assert np.abs(new - old).max() > 1e-3
    assert np.isfinite([row["train_loss"] for row in clf.history_]).all()
    assert len(clf.history_) == 2
    # A function of the data, the parameters, the seed and k: not of who else is there.
    again = make(n_members=2, diverged_members="restart", callbacks=[Poison(1)], **more)
    with pytest.warns(ConvergenceWarning):
        again.fit(texts, labels)
    assert_untouched(again, clf, [0, 1], texts, atol=1e-9)
    split = make(n_jobs=3, diverged_members="restart", callbacks=[Poison(1)], **more)
    with parallel_config(backend="threading"), pytest.warns(ConvergenceWarning):
        split.fit(texts, labels)
    assert_untouched(split, clf, [0, 1, 2], texts, atol=1e-9)


def test__restart__has_its_own_start_rates_and_batches(make, texts, labels):
    class See(Callback):
        def on_train_begin(self, net, **kwargs):
            lrs.append((net.lr, net.head_lr, net.member_ids))
            starts.append(net.module_.heads.weight.detach()[-1].clone())

        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            if len(net.history) == 1:
                rows.append(batch[0].input_ids[-4:].clone())

    lrs, starts, rows = [], [], []
    clf = make(n_members=2, diverged_members="restart", callbacks=[See(), Poison(1)])
    with pytest.warns(ConvergenceWarning):
        clf.fit(texts, labels)
    assert lrs == [(0.02, 0.02, (0, 1)), (0.01, 0.01, (1,))]
    assert not torch.equal(starts[0], starts[1])
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(rows[:3], rows[3:]))


@pytest.mark.parametrize(
    ("attempts", "share"), [((0, 1), 0.25), ((0, 1, 2), 0.125), ((0, 1, 2, 3), None)]
)
def test__restart__is_tried_three_times(attempts, share, make, texts, labels):
    clf = make(diverged_members="restart", callbacks=[Poison(1, attempts=attempts)])
    message = "Member 1 has diverged and is left out" if share is None else f"at {share:g} of the"
    with pytest.warns(ConvergenceWarning, match=message):
        clf.fit(texts, labels)
    assert clf.net_.member_ids == ((0, 2) if share is None else (0, 1, 2))
    assert clf.diverged_members_ == ([1] if share is None else [])


def test__restart__of_every_member(make, texts, labels):
    clf = make(diverged_members="restart", callbacks=[Poison(0, 1, 2)])
    with pytest.warns(ConvergenceWarning) as caught:
        clf.fit(texts, labels)
    assert len(caught) == 3
    assert clf.predict_proba_members(texts).shape == (3, 12, 2)


def test__restart__of_one_model(tiny, texts, labels):
    settings = {"head_lr": 0.02, "batch_size": 4, "max_epochs": 2, "random_state": 0}
    clf = FineTunedClassifier(tiny, **settings, diverged_members="restart", callbacks=[Poison(0)])
    with pytest.warns(ConvergenceWarning, match="Member 0 .* trained anew"):
        clf.fit(texts, labels)
    assert np.isfinite(clf.predict_proba(texts)).all()
    deep = DeepEnsembleClassifier(
        tiny, n_members=2, **settings, diverged_members="drop", callbacks=[Poison(0)]
    )
    with pytest.warns(ConvergenceWarning, match="Member 0 .* left out"):
        deep.fit(texts, labels)
    assert deep.net_.member_ids == (1,)


def test__linear_probe__drops(tiny, texts, labels):
    probe = LinearProbeClassifier(
        tiny, n_members=2, batch_size=4, head_lr=0.02, diverged_members="drop",
        callbacks=[Poison(0)],
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="Member 0"):
        probe.fit(texts, labels)
    assert probe.predict_proba_members(texts).shape == (1, 12, 2)


@pytest.mark.parametrize("policy", ["drop", "restart"])
def test__checkpoint__remembers_who_has_diverged(policy, make, texts, labels, tmp_path):
    class Die(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            alone = net.member_ids == (1,)
            if len(net.history) == 3 and alone is (policy == "restart"):
                raise RuntimeError("dead")

    settings = {"diverged_members": policy, "max_epochs": 4}
    with pytest.warns(ConvergenceWarning, match="Member 1"):
        whole = make(**settings, callbacks=[Poison(1)]).fit(texts, labels)
    clf = make(
        **settings, callbacks=[Poison(1), Die()], checkpoint_dir=tmp_path, checkpoint_every=1
    )
    with pytest.raises(RuntimeError, match="dead"):
        clf.fit(texts, labels)
    if policy == "restart":
        assert any(p.name.startswith("member-1-attempt-1.") for p in tmp_path.iterdir())
    with pytest.warns(ConvergenceWarning, match="Member 1") as caught:
        clf.set_params(callbacks=None).fit(texts, labels)  # the poison has done its work
    assert len(caught) == 1
    assert clf.diverged_members_ == whole.diverged_members_
    assert_untouched(clf, whole, whole.net_.member_ids, texts)
    assert list(tmp_path.iterdir()) == []


def test__checkpoint__after_an_error_the_policy_may_change(make, texts, labels, tmp_path):
    # The night's fit stopped with an error; the morning's call lets go of the member and goes on.
    clf = make(checkpoint_dir=tmp_path, callbacks=[Poison(1)])
    with pytest.raises(NonFiniteLossError):
        clf.fit(texts, labels)
    with pytest.warns(ConvergenceWarning, match=DROPPED):
        clf.set_params(diverged_members="drop").fit(texts, labels)
    assert_untouched(clf, make().fit(texts, labels), [0, 2], texts, atol=1e-12)


@pytest.fixture
def dropped(make, texts, labels):
    clf = make(diverged_members="drop", callbacks=[Poison(1)])
    with pytest.warns(ConvergenceWarning):
        clf.fit(texts, labels)
    return clf.set_params(callbacks=None)


def test__dropped__warm_start_adds_others(dropped, make, texts, labels):
    dropped.set_params(warm_start=True, n_members=5).fit(texts, labels)
    check_dropped(dropped, texts, [0, 2, 3, 4], [1])
    five = make(n_members=5).fit(texts, labels)
    assert_untouched(dropped, five, [0, 2, 3, 4], texts, atol=1e-9)
    with pytest.warns(UserWarning, match="does not fit new members"):
        dropped.fit(texts, labels)


def test__dropped__goes_on_with_partial_fit_and_in_parts(dropped, texts, labels):
    dropped.partial_fit(texts, labels)
    check_dropped(dropped, texts, [0, 2], [1])
    first = dropped.first_members(1)
    check_dropped(first, texts, [0], [])
    with pytest.raises(ValueError, match=r"range \[1, 2\]"):
        dropped.first_members(3)
    with pytest.raises(NonFiniteLossError):
        dropped.set_params(callbacks=[Poison(0, epoch=4, step=1)]).partial_fit(texts, labels)


def test__dropped__is_saved_and_loaded(dropped, tiny, texts, labels, tmp_path):
    path = dropped.save_pretrained(tmp_path / "model")
    again = SVEClassifier.from_pretrained(path, backbone=tiny)
    assert again.get_params() == dropped.get_params()
    check_dropped(again, texts, [0, 2], [1])
    np.testing.assert_array_equal(again.predict_proba(texts), dropped.predict_proba(texts))
    again.set_params(warm_start=True, n_members=4).fit(texts, labels)
    check_dropped(again, texts, [0, 2, 3], [1])


def test__dropped__in_a_search(make, texts, labels):
    search = MemberSearchCV(make(diverged_members="drop"), {"n_members": [1, 2]}, cv=2)
    search.fit(texts, labels)
    assert search.best_estimator_.diverged_members_ == []


def test__policy__must_be_one_of_three(make, texts, labels):
    with pytest.raises(ValueError, match=r"'diverged_members' .*Got 'ignore'"):
        make(diverged_members="ignore").fit(texts, labels)

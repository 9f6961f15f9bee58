"""Member k is a function of the data, the parameters, the seed and k alone."""

import numpy as np
import pytest
from skorch.callbacks import Callback

SETTINGS = [
    {},
    {"shared_batches": True},
    {"adapt_blocks": 1, "rank": 3, "off_diagonals": 1},
    {"rank": 3, "off_diagonals": 2, "direction_pool": 6, "init_scale": 0.0},
    {"early_stopping": True, "patience": 1, "validation_fraction": 0.3, "max_epochs": 4},
]
NAMES = ["default", "shared-batches", "last-block-band", "own-directions", "early-stopping"]
parametrize_settings = pytest.mark.parametrize("settings", SETTINGS, ids=NAMES)


def assert_same_members(a, b, atol=1e-9):
    """The members that both have are the same, by their parameters and their history."""
    m = min(a.n_members, b.n_members)
    pairs = zip(a.net_.module_.member_tensors(), b.net_.module_.member_tensors(), strict=True)
    for p, q in pairs:
        np.testing.assert_allclose(p[:m].detach(), q[:m].detach(), rtol=0, atol=atol)
    for row, other in zip(a.history_, b.history_):
        for key in row:
            np.testing.assert_allclose(row[key][:m], other[key][:m], rtol=0, atol=atol)


def test__assert_same_members__can_fail(make, fitted, texts, labels):
    with pytest.raises(AssertionError):
        assert_same_members(fitted, make(random_state=1).fit(texts, labels))


@parametrize_settings
def test__member__is_the_same_whatever_their_number(settings, make, texts, labels):
    four = make(n_members=4, **settings).fit(texts, labels)
    p = four.predict_proba_members(texts)
    for m in (1, 2):
        fewer = make(n_members=m, **settings).fit(texts, labels)
        assert_same_members(four, fewer)
        first = four.first_members(m)
        for clf in (fewer, first):
            np.testing.assert_allclose(clf.predict_proba_members(texts), p[:m], rtol=0, atol=1e-9)
        assert_same_members(first, fewer)
        assert first.n_members == m
        assert first.get_params() == fewer.get_params()
        assert first.adapter_report_ == fewer.adapter_report_
        assert first.n_iter_ == fewer.n_iter_ == len(first.history_)
        auto = {"training__patience": "auto", "training__validation_fraction": "auto"}
        first.set_params(early_stopping=False, **auto).partial_fit(texts, labels)  # its own members
    np.testing.assert_array_equal(four.predict_proba_members(texts), p)
    assert four.n_members == 4
    # ... and no two members are the same
    assert min(np.abs(p[i] - p[j]).max() for i in range(4) for j in range(i)) > 1e-4


def test__member__is_the_same_in_float32(make, texts, labels):
    four, two = (
        make(n_members=m, precision="float32").fit(texts, labels).predict_proba_members(texts)
        for m in (4, 2)
    )
    np.testing.assert_allclose(four[:2], two, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shared_batches", [False, True])
def test__stopped_member__stays_as_it_was_and_the_others_do_not_feel_it(
    shared_batches, make, texts, labels
):
    class StopMember(Callback):
        """Freeze one member after one epoch: what early stopping does, at a chosen time."""

        def on_epoch_end(self, net, **kwargs):
            if 1 in net.active_:
                net.active_.remove(1)
            seen.append([p.detach()[1].clone() for p in net.module_.member_parameters()])

    seen = []
    settings = {"max_epochs": 3, "shared_batches": shared_batches}
    free = make(**settings).fit(texts, labels)
    stopped = make(callbacks=[StopMember()], **settings).fit(texts, labels)
    assert len(seen) == 3
    for p, q in zip(seen[0], seen[-1]):  # neither momentum nor decay has moved it
        np.testing.assert_array_equal(p, q)
    for p, q in zip(
        free.net_.module_.member_parameters(), stopped.net_.module_.member_parameters()
    ):
        np.testing.assert_allclose(p[[0, 2]].detach(), q[[0, 2]].detach(), rtol=0, atol=1e-9)
    losses = np.array([row["train_loss"] for row in stopped.history_])
    assert np.isfinite(losses[:, [0, 2]]).all()
    assert np.isfinite(losses[0, 1])
    assert np.isnan(losses[1:, 1]).all()


def test__batches__are_each_members_own(make, texts, labels):
    class Rows(Callback):
        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            if training:
                X = batch[0]
                ids = X.input_ids.reshape(net.module_.n_members, len(X), -1)
                seen.append([{tuple(t for t in row.tolist() if t) for row in part} for part in ids])

    for own in (True, False):
        seen = []
        make(callbacks=[Rows()], shared_batches=not own).fit(texts, labels)
        same = [part == step[0] for step in seen for part in step]
        assert all(same) != own
        # Every member sees every row once an epoch.
        steps = seen[:3]
        for k in range(3):
            assert sum(len(step[k]) for step in steps) == 12
            assert len(set.union(*(step[k] for step in steps))) == 12

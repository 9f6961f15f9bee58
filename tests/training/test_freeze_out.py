"""Blocks that stop learning before the others."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn.base import clone
from skorch.callbacks import Callback

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from tests.making import new
from tests.private import forecast, formulas

TEXTS = ["good film", "bad film", "good plot", "bad plot", "fine actors", "dull"] * 4
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg"] * 4


@pytest.fixture(scope="module")
def tiny_backbone():
    return make_tiny_backbone()


def make(backbone, **changes):
    settings = {"n_members": 2, "max_epochs": 3, "batch_size": 4, "lr": 0.05, "random_state": 0}
    return new(SVEClassifier, backbone, **(settings | changes))


def by_block(net):
    """Copies of what each block's members have learned, the first block's first."""
    blocks = net.module_.split.model.encoder.layer
    return [[p.detach().clone() for p in b.parameters() if p.requires_grad] for b in blocks]


class Watch(Callback):
    """Keeps, after each step, which blocks have moved and which have a gradient."""

    def __init__(self):
        self.moved, self.learn = [], []

    def on_batch_begin(self, net, training=False, **kwargs):
        self.before = by_block(net)

    def on_batch_end(self, net, training=False, **kwargs):
        after = by_block(net)
        self.moved.append(
            [any((a != b).any() for a, b in zip(*pair)) for pair in zip(self.before, after)]
        )
        blocks = net.module_.split.model.encoder.layer
        self.learn.append([any(p.grad is not None for p in b.parameters()) for b in blocks])


@given(st.integers(1, 30), st.floats(0.1, 1.0), st.integers(1, 500))
def test_stopping_steps__rise_from_the_share_to_the_end(n_blocks, freeze_out, n_steps):
    stops = formulas.stopping_steps(n_blocks, freeze_out, n_steps)
    assert len(stops) == n_blocks
    assert stops == sorted(stops)
    assert stops[-1] == n_steps
    if n_blocks > 1:
        assert abs(stops[0] - freeze_out * n_steps) < 1
    gaps = np.diff(stops[1:])
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


@given(st.floats(0.0, 1.0), st.integers(1, 500), st.floats(0.0, 1.0))
def test_stopping_steps__no_rate_grows_more_than_tenfold(freeze_out, n_steps, warmup):
    plain = [formulas.WarmupLinear(n_steps, warmup)(k) for k in range(n_steps)]
    for stop in formulas.stopping_steps(3, freeze_out, n_steps):
        rates = [formulas.WarmupLinear(n_steps, warmup, stop)(k) for k in range(n_steps)]
        assert max(rates) <= 10
        assert sum(rates) < sum(plain) + 10  # of the first step, where there are few
        if stop > 20 and warmup < 0.9:
            assert sum(rates) == pytest.approx(sum(plain), rel=0.1)


@pytest.mark.parametrize("share", [0.0, 0.05, 1.0, 1.5])
def test_fit__a_share_that_would_send_a_rate_up_or_do_nothing_is_refused(tiny_backbone, share):
    with pytest.raises(ValueError, match=r"'freeze_out'.*range \[0\.1, 1\.0\)"):
        make(tiny_backbone, freeze_out=share).fit(TEXTS, LABELS)


@pytest.mark.parametrize("own", [{}, {"optimizer": "muon", "rank": 4, "core": "full"}])
def test_fit__a_block_that_has_stopped_has_no_gradient_and_does_not_move(tiny_backbone, own):
    watch = Watch()
    with_watch = {"callbacks": [("watch", watch)], "weight_decay": 1.0}
    clf = make(tiny_backbone, freeze_out=0.5, **with_watch, **own).fit(TEXTS, LABELS)
    watch = dict(clf.net_.callbacks)["watch"]
    n_steps = 3 * 6
    n_blocks = len(clf.net_.module_.split.model.encoder.layer)
    stops = formulas.stopping_steps(n_blocks, 0.5, n_steps)
    assert stops[0] == 9
    expected = [[step < stop for stop in stops] for step in range(n_steps)]
    assert watch.moved == expected
    assert watch.learn == expected


def test_fit__the_rate_told_is_that_of_the_last_block(tiny_backbone):
    rates = [
        [row["lr"] for epoch in clf.net_.history for row in epoch["batches"] if "lr" in row]
        for clf in (make(tiny_backbone, freeze_out=x).fit(TEXTS, LABELS) for x in (None, 0.4))
    ]
    assert len(rates[0]) == 18
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-12)


def test_forecast__says_less_work_with_blocks_that_stop(tiny_backbone):
    class Tell(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            counted.append(forecast.forecast(net, X)["multiply_adds"])

    counted = []
    for share in (None, 0.5):
        make(tiny_backbone, freeze_out=share, callbacks=[Tell()]).fit(TEXTS, LABELS)
    n_blocks = len(tiny_backbone[0].encoder.layer)
    mean = np.mean(formulas.stopping_steps(n_blocks, 0.5, 18)) / 18  # all blocks are alike
    assert counted[1] == pytest.approx(counted[0] * (1 + mean) / 2, rel=1e-6)


def test_fit__members_are_the_same_alone_in_parts_and_with_more(tiny_backbone):
    clf = make(tiny_backbone, freeze_out=0.4, precision="float64").fit(TEXTS, LABELS)
    expected = clf.predict_proba_members(TEXTS)
    for changes in ({"n_jobs": 2}, {"n_members": 3}, {"n_members": 1}):
        with parallel_config(backend="threading"):
            found = clone(clf).set_params(**changes).fit(TEXTS, LABELS)
        found = found.predict_proba_members(TEXTS)
        m = min(len(found), len(expected))
        np.testing.assert_allclose(found[:m], expected[:m], rtol=0, atol=1e-12)


def test_fit__afterwards_all_blocks_give_gradients_again(tiny_backbone):
    clf = make(tiny_backbone, freeze_out=0.3).fit(TEXTS, LABELS)
    before = by_block(clf.net_)
    clf.partial_fit(TEXTS, LABELS)
    for old, now in zip(before, by_block(clf.net_)):
        assert any(bool((a != b).any()) for a, b in zip(old, now))


def test_fit__layers_in_one_block_only_need_no_others_groups(tiny_backbone):
    own = {"target_modules": r".*layer\.0\..*dense", "freeze_out": 0.5}
    muon = {"optimizer": "muon", "rank": 4, "core": "full"}
    for changes in (own, own | muon):
        clf = make(tiny_backbone, **changes).fit(TEXTS, LABELS)
        assert np.isfinite(clf.predict_proba(TEXTS)).all()
        first, *others = by_block(clf.net_)
        assert first
        assert not any(others)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.5, "early", True])
def test_fit__a_share_that_is_none_is_refused_before_anything_slow(value):
    with pytest.raises(ValueError, match="freeze_out"):
        new(SVEClassifier, "no-such-backbone", freeze_out=value).fit(TEXTS, LABELS)


def test_fit__the_random_state_of_torch_stays(tiny_backbone):
    before = torch.get_rng_state()
    make(tiny_backbone, freeze_out=0.4).fit(TEXTS, LABELS)
    assert bool((torch.get_rng_state() == before).all())

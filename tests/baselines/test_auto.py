"""What "auto" stands for in the rivals: rates and epochs by value, and toys that bare calls learn."""

import numpy as np
import pytest

from sksve.backbones import make_tiny_backbone
from tests.baselines.conftest import RIVALS
from tests.private import Facts, settings_of

CLEAR = {"n_classes": 20, "information": 1.0}


def chosen(name, *settings, **facts):
    known = settings_of(RIVALS[name][0]("x"), Facts(**{"n_blocks": 6} | facts))
    return [getattr(known, setting) for setting in settings]


@pytest.mark.parametrize(
    ("name", "noisy", "clear"),
    [
        ("fine_tuned", [3e-5, 3e-3, 0.01, 4], [1.2e-4, 1e-2, 0.01, 4]),
        ("deep_ensemble", [3e-5, 3e-3, 0.01, 4], [1.2e-4, 1e-2, 0.01, 4]),
        ("laplace", [3e-5, 3e-3, 0.01, 4], [1.2e-4, 1e-2, 0.01, 4]),
        ("mc_dropout", [3e-5, 3e-3, 0.01, 4], [1e-4, 1e-2, 0.01, 4]),
        ("lora_ensemble", [3e-4, 2e-3, 0.0, 4], [3e-4, 1e-2, 0.0, 4]),
        ("batch_ensemble", [5e-3, 2e-3, 10.0, 4], [1e-2, 1e-2, 0.0, 4]),
    ],
)
def test_rates__are_those_of_the_trials(name, noisy, clear):
    names = ("lr", "head_lr", "weight_decay", "max_epochs")
    assert chosen(name, *names) == noisy
    assert chosen(name, *names, **CLEAR) == clear
    assert chosen(name, *names, n_classes=3, information=0.0) == noisy
    assert chosen(name, *names, **CLEAR, images=True) == noisy


def test_epochs__fall_with_the_rows():
    for facts, expected in (({}, [9, 6, 4, 2, 2]), (CLEAR, [18, 9, 4, 2, 2])):
        found = [
            chosen("deep_ensemble", "max_epochs", n_rows=n, **facts)
            for n in (16, 50, 200, 1000, 5000)
        ]
        assert [epochs for (epochs,) in found] == expected


def test_rates__go_with_one_over_the_width():
    assert chosen("fine_tuned", "lr", "head_lr", width=768) == [1.5e-5, 1.5e-3]
    assert chosen("batch_ensemble", "lr", "weight_decay", width=768) == [5e-3, 20.0]


def test_bare_calls__learn_a_toy(rival):
    rng = np.random.default_rng(0)
    words = [["good film", "great story", "loved it"], ["bad film", "poor story", "hated it"]]
    y = rng.integers(0, 2, size=80)
    X = [f"the {rng.choice(words[k])} {rng.choice(words[k])}" for k in y]
    clf = RIVALS[rival][0](make_tiny_backbone(n_blocks=1), random_state=0)
    if "n_members" in clf.get_params():
        clf.set_params(n_members=2)
    assert clf.fit(X[:40], y[:40]).score(X[40:], y[40:]) > 0.9

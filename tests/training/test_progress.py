"""The bar: only for long work, only on stderr, only when asked for. What a fit says it will do."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sksve import SVEClassifier
from sksve.adapters import SVDLinear
from sksve.backbones import make_tiny_backbone
from sksve.baselines import MCDropoutClassifier
from sksve.training import Progress, TokenDataset
from tests.private import forecast, formulas, inference

TEXTS = ["good film", "bad film", "a rather longer text about a film"] * 4


@given(st.floats(0.001, 100), st.integers(1, 1000), st.integers(0, 1000))
def test_rule__is_the_forecast_of_the_whole(seconds, done, left):
    total = done + left
    whole = seconds / done * total
    if not math.isclose(whole, inference.LONG):
        assert inference.is_long(seconds, done, total) is (whole > inference.LONG)
    assert inference.is_long(seconds, done, None) is (seconds > inference.LONG)
    assert not inference.is_long(seconds, 0, total)  # nothing is known yet


@pytest.fixture
def always_long(monkeypatch):
    monkeypatch.setattr(inference, "LONG", 0.0)


@pytest.fixture(scope="module")
def clf():
    clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    return clf.fit(TEXTS, [0, 1, 1] * 4)


def bars(capfd):
    out, err = capfd.readouterr()
    assert out == ""
    return [line for line in err.replace("\n", "\r").split("\r") if line.startswith("Predicting")]


@pytest.mark.parametrize(
    ("stream", "total"),
    [(TEXTS, "12.0/12.0"), (iter(TEXTS), "12.0row")],
    ids=["list", "generator"],
)
def test_iter__one_bar_for_all_pieces(clf, always_long, capfd, stream, total):
    clf.set_params(verbose=1)
    pieces = clf.predict_proba_iter(stream, chunk_size=5)
    assert [len(p) for p in pieces] == [5, 5, 2]
    assert total in bars(capfd)[-1]
    assert all("row" in line for line in bars(capfd))


def test_predict__bar_counts_every_member_s_tokens(clf, always_long, capfd):
    clf.set_params(verbose=1)
    tokens = 2 * sum(len(ids) for ids in clf._tokenizer(TEXTS)["input_ids"])
    clf.predict_proba(TEXTS)
    last = bars(capfd)[-1]
    assert "100%" in last
    assert f"{tokens}/{tokens}" in last


def test_predict__the_same_numbers_with_and_without(clf, always_long):
    quiet, loud = (clf.set_params(verbose=v).predict_proba(TEXTS) for v in (0, 1))
    assert (quiet == loud).all()


def test_predict__silent_without_verbose(clf, always_long, capfd):
    clf.set_params(verbose=0)
    clf.predict_proba(TEXTS)
    list(clf.predict_proba_iter(TEXTS, chunk_size=4))
    assert capfd.readouterr() == ("", "")


def test_predict__silent_when_short(clf, capfd):
    clf.set_params(verbose=1).predict_proba(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_mc_dropout__one_bar_of_samples(always_long, capfd):
    clf = MCDropoutClassifier(make_tiny_backbone(), n_samples=3, max_epochs=1, random_state=0)
    clf.fit(TEXTS, [0, 1, 1] * 4).set_params(verbose=1).predict_proba(TEXTS)
    lines = bars(capfd)
    assert "3.00/3.00" in lines[-1]
    assert all("sample" in line for line in lines)


def fail_after(bar):
    bar.advance(1)
    raise RuntimeError("boom")


def test_bar__goes_with_an_error_and_comes_back(always_long, capfd):
    with pytest.raises(RuntimeError, match="boom"):
        with Progress(3, "row", show=True) as bar:
            fail_after(bar)
    assert len(bars(capfd)) >= 1
    with bar.alone(), Progress(3, "row", show=True) as bar:
        bar.advance(3)
    assert bars(capfd) == []
    with Progress(3, "row", show=True) as bar:
        bar.advance(3)
    assert len(bars(capfd)) >= 1


# -- before a fit --------------------------------------------------------------------------------


def net_for():
    """A net that has begun no training, with two adapted layers of three members."""
    module = nn.Sequential(
        SVDLinear.from_linear(nn.Linear(32, 32), 3), SVDLinear.from_linear(nn.Linear(32, 8), 3)
    )
    module.n_members = 3
    settings = SimpleNamespace(freeze_out=None)
    return SimpleNamespace(
        module_=module, settings=settings, batch_size=2, max_epochs=5, device="cpu"
    )


def test_forecast__counts_tokens_products_and_bytes():
    net, data = net_for(), TokenDataset([[1] * n for n in (4, 8, 8, 12)])
    told = forecast.forecast(net, data)
    assert told["tokens_per_step"] == 16
    # 5 epochs of 2 steps, 3 members, 16 tokens.
    assert told["multiply_adds"] == 2 * 16 * (32 * 64 + 8 * 40) * 3 * 10
    held = sum(t.nbytes for t in [*net.module_.parameters(), *net.module_.buffers()])
    assert held < told["n_bytes"] < held + 3 * 16 * 200 * 4


@pytest.mark.filterwarnings("ignore::sksve.TruncationWarning")
def test_fit__says_what_it_will_do(capsys):
    clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, max_length=6, verbose=1)
    clf.fit(TEXTS, [0, 1, 1] * 4)
    printed = capsys.readouterr().out
    assert "2 members on 12 rows, " in printed
    assert "33.3% of the rows cut or exactly as long as max_length; about " in printed
    assert "tokens per member and step" in printed
    assert " s for training" in printed


@pytest.mark.parametrize(("step", "corrected"), [(0.2, True), (1e-9, False)])
def test_fit__says_the_time_anew_after_its_first_steps(step, corrected, capsys, monkeypatch):
    """Of a clock that a step takes `step` seconds; a fit that is over in no time says nothing."""
    clock = itertools.count(step=step)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(forecast, "LONG", 0.1)
    monkeypatch.setattr(forecast, "seconds_per_multiply_add", lambda dtype: 0.0)
    clf = SVEClassifier(make_tiny_backbone(), max_epochs=4, batch_size=4, n_members=1, verbose=1)
    clf.fit(TEXTS, [0, 1, 1] * 4)
    assert ("for training, by its first 4 steps" in capsys.readouterr().out) is corrected


def test_rate__is_that_of_a_processor():
    assert 1e-13 < forecast.seconds_per_multiply_add(torch.float32, n=64) < 1e-6


@pytest.mark.parametrize("tokens", [1, 100, 300, 1000, 1640, 5000, 9000])
@pytest.mark.parametrize("members", [1, 5, 8])
def test_members_at_once__groups_are_equal_and_within_the_budget(members, tokens):
    size = formulas.members_at_once(members, tokens, torch.device("cpu"))
    assert 1 <= size <= members
    assert size == 1 or size * tokens <= formulas.STEP_TOKENS_CPU
    groups = [min(size, members - start) for start in range(0, members, size)]
    assert np.ptp(groups) < size

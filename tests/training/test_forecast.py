"""What a fit says before its first step agrees with what it then does."""

import numpy as np
import pytest
import torch
from torch import nn

from sksve.adapters import SVDLinear
from sksve.training import TokenDataset
from sksve.training._forecast import Forecast, seconds_per_multiply_add
from sksve.training._net import STEP_TOKENS_CPU, members_at_once


def make_forecast(**kwargs):
    module = nn.Sequential(
        SVDLinear.from_linear(nn.Linear(32, 32), 3), SVDLinear.from_linear(nn.Linear(32, 8), 3)
    )
    data = TokenDataset([[1] * n for n in (4, 8, 8, 12)])
    settings = {"n_members": 3, "members_at_once": 1, "batch_size": 2, "max_epochs": 5}
    return module, Forecast(module, data, **settings | kwargs)


def test_forecast__counts_tokens_and_products():
    _, forecast = make_forecast(max_length=12)
    assert forecast.tokens == 32
    assert forecast.tokens_per_step == 16
    assert forecast.at_limit == 0.25
    # 5 epochs of 2 steps, 3 members, 16 tokens.
    products = 2 * 16 * (32 * 64 + 8 * 40) * 3 * 10
    assert forecast.multiply_adds == products


def test_forecast__a_step_without_gradient_is_half_a_step():
    module, whole = make_forecast()
    _, none = make_forecast(learning=dict.fromkeys(module, 1.0))
    assert whole.multiply_adds == none.multiply_adds
    forecast = Forecast(
        module, TokenDataset([[1] * n for n in (4, 8, 8, 12)]), n_members=3, members_at_once=1,
        batch_size=2, max_epochs=5, learning=dict.fromkeys(module, 0.5),
    )  # fmt: skip
    assert forecast.multiply_adds == pytest.approx(0.75 * whole.multiply_adds, abs=1)


def test_forecast__lines_tell_sizes_and_the_time():
    _, forecast = make_forecast(max_length=12)
    text = "\n".join(forecast.lines(1.0))
    assert "3 members on 4 rows, 32 tokens, 25.0% of the rows" in text
    assert " h for training" in text
    assert "for training" not in "\n".join(forecast.lines(None))


def test_forecast__memory_holds_the_module():
    module, forecast = make_forecast()
    held = sum(t.nbytes for t in [*module.parameters(), *module.buffers()])
    assert held < forecast.n_bytes < held + 16 * 200 * 4


def test_rate__is_that_of_a_processor():
    assert 1e-13 < seconds_per_multiply_add(torch.float32, n=64) < 1e-6


@pytest.mark.parametrize("tokens", [1, 100, 300, 1000, 1640, 5000, 9000])
@pytest.mark.parametrize("members", [1, 5, 8])
def test_members_at_once__groups_are_equal_and_within_the_budget(members, tokens):
    size = members_at_once(members, tokens, torch.device("cpu"))
    assert 1 <= size <= members
    assert size == 1 or size * tokens <= STEP_TOKENS_CPU
    groups = [min(size, members - start) for start in range(0, members, size)]
    assert np.ptp(groups) < size

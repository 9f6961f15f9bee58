"""What a fit is going to do, said before its first step: tokens, memory, time."""

import time
from typing import Any

import torch
from skorch.callbacks import Callback

from sksve.adapters import MemberLinear
from sksve.training._module import adapted_blocks, members_at_once

# What is not a matrix product (attention, activations, normalisation, Python): share of the products'
# time; a quarter of the whole in the profile of docs/speed.md, rounded up.
BESIDES = 0.35
# Steps after which the time is said anew, if it is longer than some seconds; the first one warms up.
FIRST_STEPS, LONG = 4, 5.0


class TrainingForecast(Callback):
    """Say what the fit is going to do, where the table of losses is printed to."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        plan = forecast(net, X)
        what = X.described(self.max_length)
        end = f"about {plan['n_bytes'] / 2**20:,.0f} MiB for weights, factors and one pass"
        self._steps, self._n_steps, self._said = 0, plan["steps"], 0.0
        if net.device == "cpu" and plan["multiply_adds"]:
            rate = seconds_per_multiply_add(X.dtype)
            seconds = plan["multiply_adds"] * rate * (1 + BESIDES)
            self._said = seconds
            end += f"; about {_duration(seconds)} for training"
        sink = dict(net.callbacks_)["print_log"].sink
        if net.settings.reasons:
            sink(net.settings.chosen())
        sink(
            f"{net.module_.n_members} members on {len(X):,} rows, {int(X.lengths.sum()):,} tokens{what}; "
            f"about {plan['tokens_per_step']:,} tokens per member and step"
        )
        sink(end)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Say the time anew after the first steps, where it is not what was said."""
        self._steps += training
        if not training or self._steps > FIRST_STEPS:
            return
        if self._steps == 1:
            self._begun = time.perf_counter()
        elif self._steps == FIRST_STEPS:
            per_step = (time.perf_counter() - self._begun) / (FIRST_STEPS - 1)
            seconds = per_step * self._n_steps
            longer = max(seconds, self._said)
            if longer > LONG and abs(seconds - self._said) > 0.2 * longer:
                sink = dict(net.callbacks_)["print_log"].sink
                sink(f"about {_duration(seconds)} for training, by its first {FIRST_STEPS} steps")


def forecast(net: Any, X: Any) -> dict[str, int]:
    """Tokens of a member's step, multiply-adds of a whole fit's adapted layers, and bytes in memory."""
    m, rows = net.module_.n_members, min(net.batch_size, len(X))
    tokens = max(1, round(rows * int(X.lengths.sum()) / len(X)))
    learning = _learning(net)
    per_step, activations = 0.0, 0
    for layer in net.module_.modules():
        if isinstance(layer, MemberLinear):
            o, i = layer.out_features, layer.in_features
            activations += o + min(o, i)
            cost = 2 * layer.multiply_adds(tokens)[0]
            per_step += cost * (1 + learning.get(layer, 1.0)) / 2  # no gradient: half of a step
    steps = net.max_epochs * -(-len(X) // net.batch_size)
    held = [*net.module_.parameters(), *net.module_.buffers()]
    if X.features is not None:
        held.append(X.features)
    at_once = members_at_once(m, tokens, torch.device(net.device))
    return {
        "tokens_per_step": tokens,
        "steps": steps,
        "multiply_adds": round(per_step * m * steps),
        "n_bytes": sum(t.nbytes for t in held) + at_once * tokens * activations * X.dtype.itemsize,
    }


def _learning(net: Any) -> dict[Any, float]:
    """Share of the steps in which each layer learns, of layers in blocks that stop before the end."""
    if net.settings.freeze_out is None:
        return {}
    stops = dict(net.callbacks_)["schedule"].stops_  # made before this is asked
    return {
        layer: stop / stops[-1]
        for block, stop in zip(adapted_blocks(net.module_.split), stops, strict=True)
        for layer in block.modules()
    }


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> [_duration(s) for s in (0.2, 42.0, 600.0, 9000.0)]
    ['1 s', '42 s', '10 min', '2.5 h']
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def seconds_per_multiply_add(dtype: torch.dtype, n: int = 512) -> float:
    """Time a matrix product on the CPU: the fastest of five, some milliseconds together."""
    a = torch.ones(n, n, dtype=dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        times.append(time.perf_counter() - start)
    return min(times) / n**3

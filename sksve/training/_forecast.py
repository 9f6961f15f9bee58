"""What a fit is going to do, said before its first step: tokens, memory and time."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import nn

from sksve.adapters import MemberLinear
from sksve.training._data import MemberDataset
from sksve.training._functional import adapted_blocks

__all__ = ["Forecast", "TrainingForecast", "seconds_per_multiply_add"]

# What is not a matrix product (attention, activations, normalisation, Python): share of the products'
# time; a quarter of the whole in the profile of docs/speed.md, rounded up.
BESIDES = 0.35


class Forecast:
    """Plan of a fit, counted from shapes.

    Parameters
    ----------
    module : nn.Module
        The ensemble.
    data : MemberDataset
    n_members, members_at_once, batch_size, max_epochs : int
    max_length : int or None
        Rows of this length have been cut, or are exactly as long.
    learning : mapping of nn.Module to float, optional
        Share of the steps in which a layer learns; in others it costs a forward pass, half of a step.
        Layers that are not in it learn in all.

    Attributes
    ----------
    tokens : int
        Of all rows, once.
    tokens_per_step : int
        Of one member.
    multiply_adds : int
        Of the adapted layers, in the whole fit.
    n_bytes : int
        The module, kept features, and the activations of one pass.
    """

    def __init__(
        self,
        module: nn.Module,
        data: MemberDataset,
        *,
        n_members: int,
        members_at_once: int,
        batch_size: int,
        max_epochs: int,
        max_length: int | None = None,
        learning: Mapping[nn.Module, float] | None = None,
    ) -> None:
        self.n_members, self.n_rows = n_members, len(data)
        self.tokens = int(data.lengths.sum())
        rows = min(batch_size, len(data))
        self.tokens_per_step = max(1, round(rows * self.tokens / len(data)))
        self.at_limit = None if max_length is None else float((data.lengths >= max_length).mean())
        per_step, activations = 0.0, 0
        for layer in module.modules():
            if not isinstance(layer, MemberLinear):
                continue
            o, i = layer.out_features, layer.in_features
            activations += o + min(o, i)
            cost = 2 * layer.multiply_adds(self.tokens_per_step)[0]
            per_step += cost * (1 + (learning or {}).get(layer, 1.0)) / 2
        steps = max_epochs * -(-len(data) // batch_size)
        self.multiply_adds = round(per_step * n_members * steps)
        held = [*module.parameters(), *module.buffers()]
        size = data.dtype.itemsize
        self.n_bytes = sum(t.nbytes for t in held) + members_at_once * (
            self.tokens_per_step * activations * size
        )
        if data.features is not None:
            self.n_bytes += data.features.nbytes

    def lines(self, seconds_per_multiply_add: float | None) -> list[str]:
        """Text, a line each; without a time where no rate is known."""
        cut = ""
        if self.at_limit is not None:
            cut = f", {self.at_limit:.1%} of the rows cut or exactly as long as max_length"
        lines = [
            f"{self.n_members} members on {self.n_rows:,} rows, {self.tokens:,} tokens{cut}; "
            f"about {self.tokens_per_step:,} tokens a member and step"
        ]
        end = f"about {self.n_bytes / 2**20:,.0f} MiB for weights, factors and one pass"
        if seconds_per_multiply_add is not None and self.multiply_adds:
            seconds = self.multiply_adds * seconds_per_multiply_add * (1 + BESIDES)
            end += f"; about {_duration(seconds)} for training"
        return [*lines, end]


def _learning(net: Any) -> dict[nn.Module, float]:
    """Share of the steps in which each layer learns, of layers in blocks that stop before the end."""
    if net.freeze_out is None:
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


class TrainingForecast(Callback):
    """Say what the fit is going to do, where the table of losses is printed to.

    Parameters
    ----------
    max_length : int or None
    """

    def __init__(self, max_length: int | None = None) -> None:
        self.max_length = max_length

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        from sksve.training._net import members_at_once

        device = torch.device(net.device)
        m = net.module_.n_members
        rows = min(net.batch_size, len(X))
        tokens = max(1, round(rows * float(X.lengths.mean())))
        forecast = Forecast(
            net.module_,
            X,
            n_members=m,
            members_at_once=members_at_once(m, tokens, device),
            batch_size=net.batch_size,
            max_epochs=net.max_epochs,
            max_length=self.max_length,
            learning=_learning(net),
        )
        rate = seconds_per_multiply_add(X.dtype) if device.type == "cpu" else None
        sink = dict(net.callbacks_)["print_log"].sink
        for line in forecast.lines(rate):
            sink(line)

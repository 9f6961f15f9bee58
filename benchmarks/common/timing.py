"""Contenders take turns in one process, so that a busy machine slows all of them alike."""

import threading
import time
from collections.abc import Callable

import numpy as np
import torch
from skorch.callbacks import Callback

__all__ = [
    "AfterStep", "alternate", "interleave", "interleaved_ratios", "machine", "medians", "quartiles",
    "ratio_of_medians", "ratios", "summed_ratios",
]  # fmt: skip

Seconds = dict[str, list[float]]


class AfterStep(Callback):
    """Call a function after each training step."""

    def __init__(self, function):
        self.function = function

    def on_batch_end(self, net, training=False, **kwargs):
        """Call it."""
        if training:
            self.function()

    def __deepcopy__(self, memo):  # skorch nets get copies of the user's callbacks
        return self


def alternate(
    contenders: dict[str, Callable[[], object]],
    rounds: int,
    device: str = "cpu",
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Seconds of each contender by a clock, in `rounds` rounds of all in turn."""
    seconds: Seconds = {name: [] for name in contenders}
    for r in range(-warm_up, rounds):
        for name, run in contenders.items():
            start = clock()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if r >= 0:
                seconds[name].append(clock() - start)
    return seconds


def interleave(contenders, device: str = "cpu", steps: int = 4) -> Seconds:
    """Seconds of each contender in turns of a few training steps, set-up included.

    A machine whose speed changes by the minute slows all contenders alike if they change places every few
    seconds, where whole runs one after the other are a lottery. Contenders are called with a function to be
    called after every step; each has a thread, and only the one whose turn it is runs.
    """
    names = list(contenders)
    seconds: Seconds = {name: [] for name in names}
    gates = {name: threading.Semaphore(0) for name in names}
    back = threading.Semaphore(0)
    done, failed = set(), []

    def player(name):
        gates[name].acquire()
        taken = 0

        def after_step():
            nonlocal taken
            taken += 1
            if taken % steps == 0:
                back.release()
                gates[name].acquire()

        try:
            contenders[name](after_step)
        except BaseException as error:
            failed.append(error)
        done.add(name)
        back.release()

    for name in names:
        threading.Thread(target=player, args=[name], daemon=True).start()
    while len(done) < len(names) and not failed:
        for name in names:
            if name in done:
                continue
            start = time.perf_counter()
            gates[name].release()
            back.acquire()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    if failed:
        raise failed[0]
    return seconds


def quartiles(values) -> list[float]:
    """Quartiles."""
    return [float(q) for q in np.quantile(values, [0.25, 0.5, 0.75])]


def ratios(seconds: Seconds, baseline: str):
    """Per contender: seconds, and quartiles of the ratio to the baseline of the same round."""
    base = np.array(seconds[baseline])
    return {
        name: {
            "seconds": quartiles(s),
            "fastest": min(s),
            f"ratio_to_{baseline}": quartiles(np.array(s) / base),
            "ratio_of_fastest": min(s) / base.min(),
            "rounds": len(s),
        }
        for name, s in seconds.items()
    }


def interleaved_ratios(seconds: Seconds, baseline: str):
    """Per contender: all its seconds, their ratio to the baseline's, and quartiles over the turns."""
    base = np.array(seconds[baseline])
    found = {}
    for name, s in seconds.items():
        n = min(len(s), len(base))
        found[name] = {
            "seconds": sum(s),
            f"ratio_to_{baseline}": sum(s) / base.sum(),
            f"turns_ratio_to_{baseline}": quartiles(np.array(s[:n]) / base[:n]),
            "turns": len(s),
        }
    return found


def summed_ratios(seconds: Seconds, baseline: str):
    """Per contender: seconds of a round, and the ratio of all its seconds to the baseline's."""
    total = sum(seconds[baseline])
    return {
        name: {
            "seconds": sum(s) / len(s),
            f"ratio_to_{baseline}": sum(s) / total,
            "rounds": len(s),
        }
        for name, s in seconds.items()
    }


def medians(seconds: Seconds):
    """Per contender: median and shortest."""
    return {
        name: {
            "median_s": round(float(np.median(s)), 5),
            "min_s": round(min(s), 5),
            "rounds": len(s),
        }
        for name, s in seconds.items()
    }


def ratio_of_medians(seconds: Seconds, over: str, under: str):
    """Ratio of medians, and the median of the rounds' own ratios."""
    pairs = np.array(seconds[over]) / np.array(seconds[under])
    of_medians = np.median(seconds[over]) / np.median(seconds[under])
    return {
        "of_medians": round(float(of_medians), 3),
        "of_minima": round(min(seconds[over]) / min(seconds[under]), 3),
        "median_of_rounds": round(float(np.median(pairs)), 3),
    }


def machine(device: str):
    """Threads, and the accelerator if one was used."""
    name = torch.cuda.get_device_name() if device != "cpu" else None
    return {"threads": torch.get_num_threads(), "device": device, "accelerator": name}

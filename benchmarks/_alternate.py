"""Contenders in turns, and their ratios."""

import threading
import time

import numpy as np
import torch
from skorch.callbacks import Callback


class AfterStep(Callback):
    """Call a function after each training step."""

    def __init__(self, function):
        self.function = function

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.function()

    def __deepcopy__(self, memo):  # skorch nets get copies of the user's callbacks
        return self


def alternate(contenders, rounds, device="cpu", warm_up=1, clock=time.perf_counter):
    """Seconds of each contender (name -> function) by a clock, in `rounds` rounds of all in turn."""
    seconds = {name: [] for name in contenders}
    for r in range(-warm_up, rounds):
        for name, run in contenders.items():
            start = clock()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if r >= 0:
                seconds[name].append(clock() - start)
    return seconds


def interleave(contenders, device="cpu", steps=4):
    """Seconds of each contender in turns of a few training steps, set-up included.

    A machine whose speed changes by the minute slows all contenders alike if they change places every
    few seconds, where whole runs one after the other are a lottery. One thread each; only the one whose
    turn it is runs.

    Parameters
    ----------
    contenders : dict of str to callable
        Called with a function to be called after every step.
    steps : int
        Steps of a turn.

    Returns
    -------
    dict of str to list of float
        Seconds of each turn.
    """
    names = list(contenders)
    seconds = {name: [] for name in names}
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

    threads = [threading.Thread(target=player, args=[name], daemon=True) for name in names]
    for thread in threads:
        thread.start()
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


def quartiles(values):
    return [float(q) for q in np.quantile(values, [0.25, 0.5, 0.75])]


def ratios(seconds, baseline):
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


def interleaved_ratios(seconds, baseline):
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


def summed_ratios(seconds, baseline):
    """Per contender: all its seconds, and their ratio to the baseline's."""
    total = {name: sum(s) for name, s in seconds.items()}
    return {
        name: {
            "seconds": total[name] / len(s),
            f"ratio_to_{baseline}": total[name] / total[baseline],
            "rounds": len(s),
        }
        for name, s in seconds.items()
    }


def machine(device):
    """Threads, and the accelerator if one was used."""
    name = torch.cuda.get_device_name() if device != "cpu" else None
    return {"threads": torch.get_num_threads(), "device": device, "accelerator": name}

"""Contenders in turns, and their ratios."""

import time

import numpy as np
import torch


def alternate(contenders, rounds, device="cpu", warm_up=1):
    """Seconds of each contender (name -> function), in `rounds` rounds of all in turn."""
    seconds = {name: [] for name in contenders}
    for r in range(-warm_up, rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if r >= 0:
                seconds[name].append(time.perf_counter() - start)
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


def machine(device):
    """Threads, and the accelerator if one was used."""
    name = torch.cuda.get_device_name() if device != "cpu" else None
    return {"threads": torch.get_num_threads(), "device": device, "accelerator": name}

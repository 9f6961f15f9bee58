"""Contenders take turns in one process, so that a busy machine slows all of them."""

import time

import numpy as np

__all__ = ["ratio", "summary", "take_turns"]


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def take_turns(contenders, rounds):
    """Return every contender's times; each round runs all of them."""
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            times[name].append(seconds(function))
    return times


def summary(times):
    return {
        name: {
            "median_s": round(float(np.median(found)), 5),
            "min_s": round(min(found), 5),
            "rounds": len(found),
        }
        for name, found in times.items()
    }


def ratio(times, over, under):
    """Ratio of medians, and the median of the rounds' own ratios."""
    pairs = np.array(times[over]) / np.array(times[under])
    return {
        "of_medians": round(float(np.median(times[over]) / np.median(times[under])), 3),
        "of_minima": round(min(times[over]) / min(times[under]), 3),
        "median_of_rounds": round(float(np.median(pairs)), 3),
    }

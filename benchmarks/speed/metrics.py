"""How fast are the metrics? ECE of ten million rows, its memory, its bootstrap, and the import.

    python -m benchmarks.speed.metrics [--rows N]

Contenders take turns in one process, so that a busy machine slows all of them. Medians and their ratios go to
results/metrics.jsonl.
"""

import argparse
import json
import os
import subprocess
import sys
import tracemalloc
from importlib.metadata import version

import netcal.metrics
import numpy as np
import psutil

from benchmarks.common.results import write
from benchmarks.common.timing import alternate, medians, ratio_of_medians
from sksve.metrics import bootstrap_interval, expected_calibration_error

N_CLASSES = 10


def make_data(n, seed, temperature=1.0):
    """Probabilities uniform on the simplex, labels drawn from their tempered version."""
    rng = np.random.default_rng(seed)
    p = rng.standard_exponential((n, N_CLASSES))
    y = np.empty(n, dtype=np.int64)
    for rows in (slice(start, start + 10**5) for start in range(0, n, 10**5)):
        p[rows] /= p[rows].sum(axis=1, keepdims=True)
        q = np.cumsum(p[rows] ** temperature, axis=1)
        y[rows] = (rng.random((len(q), 1)) * q[:, -1:] > q[:, :-1]).sum(axis=1)
    return y, p


def bench_ece(n, rounds):
    y, p = make_data(n, seed=0)
    times = alternate(
        {
            "max_and_argmax": lambda: (p.max(1), p.argmax(1)),
            "sksve": lambda: expected_calibration_error(y, p),
            "netcal": lambda: netcal.metrics.ECE(15).measure(p, y),
        },
        rounds,
        warm_up=0,
    )
    tracemalloc.start()
    ours = expected_calibration_error(y, p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "rows": n,
        "classes": N_CLASSES,
        "times": medians(times),
        "sksve_over_max_and_argmax": ratio_of_medians(times, "sksve", "max_and_argmax")
        | {"target": 1.5},
        "netcal_over_sksve": ratio_of_medians(times, "netcal", "sksve") | {"target": 10},
        "peak_extra_arrays_of_n": round(peak / (8 * n), 4),
        "peak_extra_arrays_of_n_target": 3,
        "difference_from_netcal": abs(ours - netcal.metrics.ECE(15).measure(p, y)),
    }


def bench_bootstrap(n, rounds):
    found = {}
    # Over-confident: the low end needs the labels drawn from the probabilities as well.
    for name, temperature in (("calibrated", 1.0), ("over_confident", 0.7)):
        y, p = make_data(n, seed=1, temperature=temperature)

        def interval(y=y, p=p):
            bootstrap_interval(expected_calibration_error, y, p, n_resamples=1000, random_state=0)

        contenders = {
            "one_ece": lambda y=y, p=p: expected_calibration_error(y, p),
            "interval_of_1000_resamples": interval,
        }
        times = alternate(contenders, rounds, warm_up=0)
        found[name] = {
            "rows": n,
            "times": medians(times),
            "interval_over_ece": ratio_of_medians(times, "interval_of_1000_resamples", "one_ece")
            | {"target": 100},
        }
    return found


def bench_import(rounds):
    def cold(module):
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    contenders = {name: cold(name) for name in ("sklearn.metrics", "sksve.metrics")}
    times = alternate(contenders, rounds)  # the first round, not counted, fills the file cache
    return {
        "times": medians(times),
        "sksve_over_sklearn": ratio_of_medians(times, "sksve.metrics", "sklearn.metrics")
        | {"target": 1.15},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10**7)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result = {
        "netcal": version("netcal"),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_1min_at_start": round(os.getloadavg()[0], 2),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "import": bench_import(4 * options.rounds),
        "bootstrap": bench_bootstrap(10**5, 3 * options.rounds),
        "ece": bench_ece(options.rows, options.rounds),
    }
    print(json.dumps(result, indent=1))
    write("metrics", result)


if __name__ == "__main__":
    main()

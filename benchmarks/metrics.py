"""How fast are the metrics? ECE of ten million rows, its memory, its bootstrap, and the import.

    python benchmarks/metrics.py [--rows N] [--out FILE]

Contenders take turns in one process, so that a busy machine slows all of them; medians and their
ratios go to ``benchmarks/results/metrics.json`` with versions, hardware and commit.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tracemalloc
from importlib.metadata import version
from pathlib import Path

import netcal.metrics
import numpy as np
import psutil
from _timing import ratio, summary, take_turns

from sksve.metrics import bootstrap_interval, expected_calibration_error

HERE = Path(__file__).parent
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
    times = take_turns(
        {
            "max_and_argmax": lambda: (p.max(1), p.argmax(1)),
            "sksve": lambda: expected_calibration_error(y, p),
            "netcal": lambda: netcal.metrics.ECE(15).measure(p, y),
        },
        rounds,
    )
    tracemalloc.start()
    ours = expected_calibration_error(y, p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "rows": n,
        "classes": N_CLASSES,
        "times": summary(times),
        "sksve_over_max_and_argmax": ratio(times, "sksve", "max_and_argmax") | {"target": 1.5},
        "netcal_over_sksve": ratio(times, "netcal", "sksve") | {"target": 10},
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
        times = take_turns(contenders, rounds)
        found[name] = {
            "rows": n,
            "times": summary(times),
            "interval_over_ece": ratio(times, "interval_of_1000_resamples", "one_ece")
            | {"target": 100},
        }
    return found


def bench_import(rounds):
    def cold(module):
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    contenders = {name: cold(name) for name in ("sklearn.metrics", "sksve.metrics")}
    take_turns(contenders, 1)  # fills the file cache
    times = take_turns(contenders, rounds)
    return {
        "times": summary(times),
        "sksve_over_sklearn": ratio(times, "sksve.metrics", "sklearn.metrics") | {"target": 1.15},
    }


def git(*words):
    done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=HERE, check=False)
    return done.stdout.strip()


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def provenance():
    packages = ("numpy", "scipy", "scikit-learn", "netcal")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "cpu": cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_1min_at_start": round(os.getloadavg()[0], 2),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "system": platform.system(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10**7)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "metrics.json")
    options = parser.parse_args()
    result = {"provenance": provenance()}
    result["import"] = bench_import(4 * options.rounds)
    result["bootstrap"] = bench_bootstrap(10**5, 3 * options.rounds)
    result["ece"] = bench_ece(options.rows, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""``import sksve.calibration`` is light; netcal, and torch with it, comes with BBQ and ENIR only."""

import subprocess
import sys

HEAVY = {"torch", "netcal", "pyro", "matplotlib", "polars", "transformers"}
CODE = """
import sys, sklearn.calibration, sklearn.isotonic, sklearn.pipeline, scipy.optimize, timeit
before = set(sys.modules)

def show():
    print(*(name for name in set(sys.modules) - before if not name.startswith(("sksve", "safetensors"))))

import sksve.calibration as c
show()

def fit(*names):
    for name in names:
        c.make_calibrator(name).fit([[.9, .1], [.2, .8], [.7, .3], [.6, .4]], [0, 1, 0, 1])

fit("temperature", "ensemble-temperature", "vector", "dirichlet", "beta", "isotonic")
show()
fit("bbq")
show()
"""


def test_import__is_light_until_netcal_is_needed():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    imported, fitted, netcal = (set(line.split()) for line in done.stdout.splitlines())
    assert imported == set()
    assert fitted & HEAVY == set()
    assert {"torch", "netcal"} <= netcal

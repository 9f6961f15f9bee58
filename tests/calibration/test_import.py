"""``import sksve.calibration`` is light; netcal, and torch with it, comes with BBQ and ENIR only."""

import subprocess
import sys

HEAVY = {"torch", "netcal", "pyro", "matplotlib", "polars", "transformers"}
FIT = "c.make_calibrator('{}').fit([[.9, .1], [.2, .8], [.7, .3], [.6, .4]], [0, 1, 0, 1])"


def modules_after(statement):
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import__is_light():
    ours = modules_after("import sksve.calibration")
    theirs = modules_after(
        "import sklearn.calibration, sklearn.isotonic, sklearn.pipeline, scipy.optimize, timeit"
    )
    own = ("sksve", "safetensors")  # saved models: small, and without torch
    extra = {name for name in ours - theirs if not name.startswith(own)}
    assert extra == set()
    assert ours & HEAVY == set()


def test_import__of_fitted_calibrators_is_light():
    names = ("temperature", "ensemble-temperature", "vector", "dirichlet", "beta", "isotonic")
    fits = "; ".join(FIT.format(name) for name in names)
    assert modules_after(f"import sksve.calibration as c; {fits}") & HEAVY == set()


def test_import__of_netcal_is_seen():
    fit = FIT.format("bbq")
    assert {"torch", "netcal"} <= modules_after(f"import sksve.calibration as c; {fit}")

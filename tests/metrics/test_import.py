"""``import sksve.metrics`` is light: nothing optional, nothing that is used only now and then."""

import subprocess
import sys


def modules_after(statement):
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import__loads_nothing_that_scikit_learn_metrics_does_not():
    ours = modules_after("import sksve.metrics")
    assert ours & {"torch", "matplotlib", "polars", "netcal", "transformers"} == set()
    theirs = modules_after("import sklearn.metrics")
    extra = {name for name in ours - theirs if not name.startswith("sksve")}
    assert extra == set()

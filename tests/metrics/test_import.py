"""``import sksve.metrics`` is light: nothing optional, nothing that is used only now and then."""

import subprocess
import sys


def test_import__loads_nothing_that_scikit_learn_metrics_does_not():
    code = """
import sys, sklearn.metrics
before = set(sys.modules)
import sksve.metrics
print(*(name for name in set(sys.modules) - before if not name.startswith("sksve")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

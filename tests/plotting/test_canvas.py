"""matplotlib is needed to draw, not to import."""

import builtins
import subprocess
import sys

import pytest

from sksve.metrics import calibration_curve
from sksve.plotting import ReliabilityDisplay
from sksve.plotting._canvas import axes_to_draw_on


def test_import__loads_neither_matplotlib_nor_torch():
    code = "import sys, sksve.plotting; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "sksve.plotting._reliability" in loaded
    assert loaded & {"matplotlib", "torch"} == set()


def test_plot__without_matplotlib_names_the_cure(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    display = ReliabilityDisplay(calibration_curve([0, 1], [0.2, 0.8]))
    with pytest.raises(ImportError, match=r"pip install \"sksve\[plot\]\""):
        display.plot()


@pytest.mark.parametrize("ax", [1, "ax", [], object], ids=["int", "str", "list", "class"])
def test_axes__of_another_kind(ax):
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes or None"):
        axes_to_draw_on(ax, (3, 3))

"""What all displays have in common: no import of matplotlib, estimators, shared axes, global state."""

import builtins
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from sksve.metrics import calibration_curve
from sksve.plotting import ReliabilityDisplay, RiskCoverageDisplay

DISPLAYS = pytest.mark.parametrize("kind", [ReliabilityDisplay, RiskCoverageDisplay])


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
def test_plot__axes_of_another_kind(ax):
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes or None"):
        ReliabilityDisplay(calibration_curve([0, 1], [0.2, 0.8])).plot(ax)


@DISPLAYS
def test_from_estimator__is_from_predictions(kind):
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = LogisticRegression(C=0.01).fit(X, names)
    display = kind.from_estimator(model, X, names)
    direct = kind.from_predictions(names, model.predict_proba(X))
    np.testing.assert_array_equal(display.line_.get_xydata(), direct.line_.get_xydata())
    assert display.line_.get_label().startswith("LogisticRegression (")
    assert display.plot(name="probe").line_.get_label().startswith("probe (")
    # A class that no row has is no trouble: the estimator names the columns.
    missing = kind.from_estimator(model, X[:100], names[:100], name="two classes")
    assert missing.line_.get_label().startswith("two classes (")
    with pytest.raises(ValueError, match=r"predict_proba\. Got RidgeClassifier"):
        kind.from_estimator(RidgeClassifier().fit(X, y), X, y)


@DISPLAYS
def test_plot__global_state_is_left_alone(kind, answers):
    before = mpl.rcParams.copy()
    figure, axes = plt.subplots(1, 2)
    plt.sca(axes[1])
    kind.from_predictions(*answers, ax=axes[0])
    assert plt.gca() is axes[1], "the current axes stay current"
    assert plt.get_fignums() == [figure.number], "no figure is made when axes are given"
    kind.from_predictions(*answers)
    assert len(plt.get_fignums()) == 2
    assert dict(mpl.rcParams) == dict(before)


@DISPLAYS
def test_plot__nothing_is_computed_while_drawing(kind, answers, monkeypatch):
    display = kind.from_predictions(*answers)
    again = display.line_.get_xydata().copy()
    module = sys.modules[kind.__module__]
    for name in {"calibration_curve", "interval_of", "risk_coverage_curve", "aurc"} & set(
        dir(module)
    ):
        monkeypatch.delattr(module, name)
    np.testing.assert_array_equal(display.plot().line_.get_xydata(), again)


@DISPLAYS
def test_figure__can_be_drawn(kind, answers, tmp_path):
    kind.from_predictions(*answers).figure_.savefig(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 5_000

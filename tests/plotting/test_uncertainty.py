"""The uncertainty display draws the record's own numbers. Values are read from the artists."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksve import predict_uncertainty
from sksve.metrics import Uncertainty
from sksve.plotting import UncertaintyDisplay


@pytest.fixture
def members(rng):
    return rng.dirichlet([0.5, 0.5, 0.5], size=(4, 60))


@pytest.fixture
def labels(members, rng):
    """True and predicted labels; about a third of the answers are wrong."""
    y_pred = np.array(["a", "b", "c"])[members.mean(axis=0).argmax(axis=1)]
    return np.where(rng.random(60) < 0.3, "other", y_pred), y_pred


class Ensemble:
    """The least that from_estimator asks for."""

    def __init__(self, members, y_pred):
        self.members, self.y_pred = members, y_pred

    def predict(self, X):
        return self.y_pred[X]

    def predict_uncertainty(self, X):
        return Uncertainty.from_members(self.members[:, X])


def test_scatter__a_point_a_row(members):
    found = Uncertainty.from_members(members)
    display = UncertaintyDisplay.from_predictions(found)
    assert display.lines_ == [display.line_]
    np.testing.assert_array_equal(display.line_.get_xdata(), found.aleatoric)
    np.testing.assert_array_equal(display.line_.get_ydata(), found.epistemic)
    assert display.ax_.get_xlabel() == "Aleatoric uncertainty (nats)"
    assert display.ax_.get_ylabel() == "Epistemic uncertainty (nats)"
    assert display.ax_.get_legend() is None


def test_scatter__right_and_wrong_apart(members, labels):
    y_true, y_pred = labels
    found = Uncertainty.from_members(members)
    display = UncertaintyDisplay.from_predictions(members, y_true=y_true, y_pred=y_pred)
    right = y_true == y_pred
    assert 0 < right.sum() < 60
    for line, rows in zip(display.lines_, (right, ~right)):
        np.testing.assert_array_equal(line.get_xdata(), found.aleatoric[rows])
        np.testing.assert_array_equal(line.get_ydata(), found.epistemic[rows])
    assert display.lines_[0].get_color() != display.lines_[1].get_color()
    words = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert words == [f"Right ({right.sum()})", f"Wrong ({(~right).sum()})"]


@pytest.mark.parametrize("measure", ["total", "epistemic", "confidence"])
def test_hist__shares_of_each_group(members, labels, measure):
    y_true, y_pred = labels
    values = getattr(Uncertainty.from_members(members), measure)
    display = UncertaintyDisplay.from_predictions(
        members, y_true=y_true, y_pred=y_pred, kind="hist", measure=measure, n_bins=7
    )
    edges = np.linspace(values.min(), values.max(), 8)
    right = y_true == y_pred
    for line, rows in zip(display.lines_, (right, ~right)):
        np.testing.assert_allclose(line.get_xdata(), edges)
        shares = np.histogram(values[rows], edges)[0] / rows.sum()
        np.testing.assert_allclose(line.get_ydata()[:-1], shares)
        assert line.get_ydata()[:-1].sum() == pytest.approx(1)
    assert display.ax_.get_ylabel() == "Share of each group"


def test_hist__nothing_wrong_is_no_trouble(members):
    answers = np.zeros(60)
    display = UncertaintyDisplay.from_predictions(
        members, y_true=answers, y_pred=answers, kind="hist"
    )
    assert display.lines_[1].get_ydata().tolist() == [0.0] * 21


def test_from_estimator__is_from_predictions(members, labels):
    y_true, y_pred = labels
    rows = np.arange(10, 40)
    model = Ensemble(members, y_pred)
    display = UncertaintyDisplay.from_estimator(model, rows, y_true[rows])
    found = Uncertainty.from_members(members[:, rows])
    np.testing.assert_array_equal(display.uncertainty.epistemic, found.epistemic)
    np.testing.assert_array_equal(display.correct, (y_true == y_pred)[rows])
    assert display.ax_.get_title() == "Ensemble"
    unlabelled = UncertaintyDisplay.from_estimator(model, rows, name="mine")
    assert unlabelled.correct is None
    assert unlabelled.ax_.get_title() == "mine"


class Forest(ClassifierMixin, BaseEstimator):
    """An ensemble that scikit-learn can wrap: its members are a random forest's trees."""

    def fit(self, X, y):
        self.forest_ = RandomForestClassifier(4, max_depth=2, random_state=0).fit(X, y)
        self.classes_ = self.forest_.classes_
        return self

    def predict_proba_members(self, X):
        return np.array([tree.predict_proba(X) for tree in self.forest_.estimators_])

    def predict_proba(self, X):
        return self.predict_proba_members(X).mean(axis=0)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda clf: make_pipeline(StandardScaler(), clf),
        lambda clf: GridSearchCV(clf, {}, cv=2),
        lambda clf: CalibratedClassifierCV(clf, cv=2, ensemble=False),
    ],
    ids=["pipeline", "search", "calibrated"],
)
def test_from_estimator__looks_through_wrappers(wrap):
    X, y = load_iris(return_X_y=True)
    wrapped = wrap(Forest()).fit(X, y)
    display = UncertaintyDisplay.from_estimator(wrapped, X, y)
    found = predict_uncertainty(wrapped, X)
    assert found.epistemic.max() > 0.01
    np.testing.assert_array_equal(display.line_.get_xdata(), found.aleatoric[display.correct])
    np.testing.assert_array_equal(display.correct, wrapped.predict(X) == y)


def test_groups__differ_without_colour(members, labels):
    y_true, y_pred = labels
    points = UncertaintyDisplay.from_predictions(members, y_true=y_true, y_pred=y_pred)
    outlines = points.plot(kind="hist")
    right, wrong = outlines.lines_
    assert right.get_linestyle() != wrong.get_linestyle()
    markers = {line.get_marker() for line in points.plot().lines_}
    assert markers == {"o", "x"}


def test_from_estimator__needs_an_ensemble():
    model = LogisticRegression().fit([[0], [1]], [0, 1])
    with pytest.raises(ValueError, match=r"classifier with members.*Got LogisticRegression"):
        UncertaintyDisplay.from_estimator(model, [[0]])


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"y_true": [0] * 60}, "y_true is given, y_pred is not"),
        ({"y_pred": [0] * 60}, "y_pred is given, y_true is not"),
        ({"y_true": [0] * 60, "y_pred": [0]}, r"Got \(60,\) and \(1,\)"),
        ({"y_true": [0] * 5, "y_pred": [0] * 5}, r"shape \(60,\). Got shape \(5,\)"),
        ({"kind": "pie"}, "'scatter' or 'hist'. Got 'pie'"),
        ({"measure": "doubt"}, r"measure must be one of \['total'.*Got 'doubt'"),
    ],
)
def test_from_predictions__bad_input(members, params, match):
    with pytest.raises(ValueError, match=match):
        UncertaintyDisplay.from_predictions(members, **params)
    assert plt.get_fignums() == [], "nothing is drawn before everything is checked"


def test_plot__style_axes_and_global_state(members):
    before = mpl.rcParams.copy()
    figure, axes = plt.subplots(1, 2)
    display = UncertaintyDisplay.from_predictions(members, ax=axes[0], color="green", marker="^")
    assert display.ax_ is axes[0]
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert (display.line_.get_color(), display.line_.get_marker()) == ("green", "^")
    assert dict(mpl.rcParams) == dict(before)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"n_bins": 10**400, "kind": "hist"}, "'n_bins'"),
        ({"n_bins": 0, "kind": "hist"}, "'n_bins'"),
        ({"n_bins": "many"}, "'n_bins'"),
        ({"kind": ["hist"]}, "kind must be"),
        ({"kind": pd.NA}, "kind must be"),
        ({"measure": {}}, "measure must be"),
    ],
    ids=["huge", "zero", "str", "list", "NA", "dict"],
)
def test_plot__names_the_odd_parameter(told, words, members):
    with pytest.raises(ValueError, match=words):
        UncertaintyDisplay(Uncertainty.from_members(members)).plot(**told)


def test_from_predictions__of_missing_labels(members):
    found = Uncertainty.from_members(members)
    labels = pd.Series([pd.NA] * len(found), dtype="Int64")
    with pytest.raises(ValueError, match="missing labels"):
        UncertaintyDisplay.from_predictions(found, y_true=labels, y_pred=labels)

"""An ensemble without torch, overlapping classes, and a tiny transformer for the real thing."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from sksve.metrics import Uncertainty


class Committee(ClassifierMixin, BaseEstimator):
    """Logistic regressions, each on its own columns and far too sure of itself."""

    def __init__(self, n_members=3, boldness=3.0):
        self.n_members = n_members
        self.boldness = boldness

    def fit(self, X, y, sample_weight=None):
        X = np.asarray(X, dtype=float)
        self.members_ = [
            LogisticRegression(C=10.0).fit(X[:, k::3], y, sample_weight=sample_weight)
            for k in range(self.n_members)
        ]
        self.classes_ = self.members_[0].classes_
        return self

    def predict_proba_members(self, X):
        check_is_fitted(self)
        X = np.asarray(X, dtype=float)
        p = np.stack([m.predict_proba(X[:, k::3]) for k, m in enumerate(self.members_)])
        p = p**self.boldness
        return p / p.sum(axis=2, keepdims=True)

    def predict_proba(self, X):
        return self.predict_proba_members(X).mean(axis=0)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_uncertainty(self, X):
        return Uncertainty.from_members(self.predict_proba_members(X))


@pytest.fixture(scope="session")
def committee():
    return Committee


@pytest.fixture(scope="session")
def data():
    """Three overlapping classes: X (300, 6), y of strings."""
    X, y = make_classification(
        300, 6, n_informative=4, n_classes=3, n_clusters_per_class=1, class_sep=0.7, flip_y=0.1,
        random_state=0,
    )  # fmt: skip
    return X, np.array(["ant", "bee", "cow"])[y]


@pytest.fixture(scope="session")
def sve():
    """Make fitted SVEClassifiers on a tiny transformer, of two or three classes."""
    from sksve import SVEClassifier, Training
    from sksve.backbones import make_tiny_backbone

    texts = ["good film", "bad film", "the story was great", "the worst of all", "loved it", "dull"]
    fitted = {}

    def make(n_classes):
        if n_classes not in fitted:
            clf = SVEClassifier(
                make_tiny_backbone(), n_members=2, max_epochs=2, lr=0.02, training=Training(head_lr=0.02),
                precision="float64", random_state=0,
            )  # fmt: skip
            fitted[n_classes] = clf.fit(texts * 2, np.arange(12) % n_classes)
        return fitted[n_classes]

    return make


@pytest.fixture(scope="session")
def reviews():
    """Texts to calibrate on, for the tiny transformer; no two alike."""
    words = ["good", "bad", "great", "worst", "dull", "fun", "film", "story", "plot", "movie"]
    return [f"{a} {b}" for a in words for b in words][:60]

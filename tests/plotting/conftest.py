import matplotlib.pyplot as plt
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def answers(rng):
    """Three classes, 400 rows; the first is so uncertain that it is alone in its bin."""
    y_proba = rng.dirichlet([0.6, 0.6, 0.6], size=400)
    y_proba[0] = [0.34, 0.33, 0.33]
    classes = np.array(["ant", "bee", "cat"])
    return np.array([rng.choice(classes, p=p) for p in y_proba]), y_proba

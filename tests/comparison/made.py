"""Models of which the truth is known."""

import numpy as np

from sksve import compare_calibration

CLASSES = np.array(["ant", "bee", "cat"])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def make_models(n=800, seed=1):
    """True log-odds, labels drawn from them, and three models: too sure, noisy, and right."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(2 * n, 3)) * 1.5
    p = softmax(z)
    y = CLASSES[(rng.random((len(p), 1)) > np.cumsum(p[:, :-1], axis=1)).sum(axis=1)]
    noisy = softmax(z + rng.normal(size=z.shape))
    models = {"too sure": softmax(3 * z), "noisy": noisy, "right": p}
    pairs = {name: (q[:n], q[n:]) for name, q in models.items()}
    return pairs, y[:n], y[n:]


def compare(names=None, n=800, change=lambda y: y, X_test=None, **options):
    """Compare some of these models; `change` is applied to the test labels."""
    pairs, y_cal, y_test = make_models(n)
    chosen = {name: pairs[name] for name in names or pairs}
    options = {"methods": ["temperature"], "n_resamples": 20, "random_state": 0} | options
    return compare_calibration(chosen, None, y_cal, X_test, change(y_test), **options)

"""Probabilities and labels for the tests of the calibrators."""

import numpy as np
from hypothesis import strategies as st


def draw_labels(rng, p):
    """One label a row, drawn from the row."""
    return (rng.random((len(p), 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)


def overconfident(rng, n, c, temperature=2.0):
    """Probabilities, and labels drawn from a flatter version of them."""
    p = rng.dirichlet(np.full(c, 0.5), size=n)
    flat = p ** (1 / temperature)
    return p, draw_labels(rng, flat / flat.sum(axis=1, keepdims=True))


@st.composite
def problems(draw, min_rows=1, max_rows=40, min_classes=2):
    """Probabilities and labels of all sorts: ties, exact zeros and ones, absent classes."""
    n, c = draw(st.integers(min_rows, max_rows)), draw(st.integers(min_classes, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = rng.dirichlet(np.full(c, draw(st.sampled_from([0.05, 1.0, 20.0]))), size=n)
    if draw(st.booleans()):
        p = np.round(p * 4)
        p[p.sum(axis=1) == 0] = 1.0
        p = p / p.sum(axis=1, keepdims=True)
    y = draw_labels(rng, p) if draw(st.booleans()) else rng.integers(0, c, n)
    return p, y

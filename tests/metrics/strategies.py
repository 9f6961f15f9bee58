"""Problems shared by the tests of the metrics."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def problems(draw, min_rows=1, max_rows=40):
    """Codes and probabilities; some with few distinct values, so that ties are common."""
    n, c = draw(st.integers(min_rows, max_rows)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = rng.dirichlet(np.full(c, draw(st.sampled_from([0.05, 1.0, 20.0]))), size=n)
    if draw(st.booleans()):
        p = np.round(p * 8) + 1e-300
        p = p / p.sum(axis=1, keepdims=True)
    return rng.integers(0, c, n), p


def draw_labels(p, rng):
    """One label a row, drawn from its probabilities."""
    return (rng.random((len(p), 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)


def tempered(seed, n, temperature=1.0, c=3, sharpness=1.0):
    """Probabilities, and labels from their tempered version: below 1 the model is overconfident."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(c, sharpness), size=n)
    q = p**temperature
    q /= q.sum(axis=1, keepdims=True)
    return draw_labels(q, rng), p

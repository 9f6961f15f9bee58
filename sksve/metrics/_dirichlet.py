"""Intervals of proportions, means and areas: Clopper-Pearson, and Dirichlet weights plus one row.

Clopper and Pearson's upper end for k errors in n rows is a quantile of Beta(k + 1, n - k): the share of
the errors under independent Exp(1) weights after one more row, an error, has joined. The same recipe serves
losses of any size.
"""

import numpy as np
from scipy.special import digamma

from sksve.metrics._curve import clopper_pearson
from sksve.metrics._inputs import counts_rows, effective_weight

AT_ONCE = 2**20  # random weights held at a time
SINGLE_ROWS = 2**14  # up to this many, each row has a weight of its own


def _repeat(weight, *columns):
    """Rows as often as their whole weights say; others, and too many, keep their weight."""
    if weight is None or not counts_rows(weight) or weight.sum() > SINGLE_ROWS:
        return weight, *columns
    return None, *(np.repeat(column, weight.astype(np.int64)) for column in columns)


def proportion_interval(score, correct, weight, tail, coverage=1.0):
    """Clopper-Pearson interval of the accuracy of the most confident share of the rows."""
    w = np.ones(len(score)) if weight is None else weight
    _, group = np.unique(-score, return_inverse=True)
    mass = np.bincount(group, w)
    before = np.cumsum(mass) - mass
    answered = np.clip((coverage * mass.sum() - before) / mass, 0.0, 1.0)  # of each group of ties
    rate = np.bincount(group, w * correct) / mass
    n = answered @ mass
    k = (answered * mass) @ rate
    if not (weight is None or counts_rows(weight)):
        share = w / w.max()
        n_effective = (share @ answered[group]) ** 2 / (share**2 @ answered[group])
        k, n = k / n * n_effective, n_effective
    k, n = (np.rint(x) if abs(x - np.rint(x)) < 1e-9 * max(n, 1.0) else x for x in (k, n))
    low, high = clopper_pearson(np.array([k]), np.array([n]), 1 - 2 * tail)[0]
    return low, high


def mean_interval(losses, other, weight, tail, n_resamples, rng):
    """Interval of a mean loss; `other` is each row's loss under its most probable other label."""
    weight, losses, other = _repeat(weight, losses, other)
    smaller, larger = np.minimum(losses, other), np.maximum(losses, other)
    w = np.ones(len(losses)) if weight is None else effective_weight(weight)
    order = np.lexsort(
        (w, smaller, larger, losses)
    )  # so that the order of the rows does not matter
    losses, smaller, larger, w = (x[order] for x in (losses, smaller, larger, w))
    places = np.cumsum(w)
    first = _cells(len(w))[::-1]  # the largest losses singly
    first = np.unique(np.concatenate([[0], len(w) - first[first > 0]]))
    shape, scale = _gamma(w, weight, first)
    values = np.add.reduceat(w * losses, first) / np.add.reduceat(w, first)
    lows, highs = [], []
    for size in _blocks(len(first), n_resamples):
        g = _draw(shape, scale, size, rng)
        total, sums = g.sum(axis=1), g @ values
        more = rng.standard_exponential(size)
        row = np.searchsorted(places, rng.random(size) * places[-1]).clip(max=len(w) - 1)
        lows.append((sums + more * smaller[row]) / (total + more))
        highs.append((sums + more * larger[row]) / (total + more))
    return np.quantile(np.concatenate(lows), tail), np.quantile(np.concatenate(highs), 1 - tail)


def area_interval(score, correct, weight, tail, n_resamples, rng, excess=False):
    """Interval of the area under the risk-coverage curve; the row that joins is an error of any rank."""
    weight, score, correct = _repeat(weight, score, correct)
    w = np.ones(len(score)) if weight is None else effective_weight(weight)
    _, group = np.unique(-score, return_inverse=True)
    rate = np.bincount(group, w * ~correct) / np.bincount(group, w)
    order = np.lexsort((w, group))
    w, errors = w[order], (w * rate[group])[order]
    first = _cells(len(w))
    rows, errors = np.add.reduceat(w, first), np.add.reduceat(errors, first)
    shape, scale = _gamma(w, weight, first)
    wrong = np.clip(errors / rows, 0.0, 1.0)
    tied, counts = np.unique(group[order][first], return_index=True, return_counts=True)[1:]
    middle = (shape + 1) / (2 * shape)  # where the mean risk of a cell's rows lies; 1 for one row
    ends = np.cumsum(shape)
    lows, highs = [], []
    for size in _blocks(len(first), n_resamples):
        # Ties have no order: their wrong and right rows are gammas of any shape, and all have one rate.
        e = _draw(shape * wrong, scale, size, rng)
        g = e + _draw(shape * (1 - wrong), scale, size, rng)
        if len(tied) < len(first):
            e_tied, g_tied = (np.add.reduceat(x, tied, axis=1) for x in (e, g))
            e = g * np.repeat(e_tied / g_tied, counts, axis=1)
        e_before, g_before = np.cumsum(e, axis=1), np.cumsum(g, axis=1)
        e_all, g_all = e_before[:, -1].copy(), g_before[:, -1].copy()
        e_before -= e
        g_before -= g
        more = rng.standard_exponential(size)
        rank = np.floor(rng.random(size) * (ends[-1] + 1))
        place = np.searchsorted(ends, rank, side="right")
        joined = np.where(np.arange(len(first)) >= place[:, None], more[:, None], 0.0)
        inner_e, inner_g = e_before + middle * e, g_before + middle * g
        low = (g * inner_e / inner_g).sum(axis=1)
        high = (g * (inner_e + joined) / (inner_g + joined)).sum(axis=1)
        at = np.minimum(place, len(first) - 1)
        own_e = np.where(
            place < len(first), np.take_along_axis(e_before, at[:, None], 1)[:, 0], e_all
        )
        own_g = np.where(
            place < len(first), np.take_along_axis(g_before, at[:, None], 1)[:, 0], g_all
        )
        high += more * (own_e + more) / (own_g + more)
        low, high = low / g_all, high / (g_all + more)
        if excess:
            low = low - _best_area(e_all, g_all)
            high = high - _best_area(e_all + more, g_all + more)
        lows.append(low)
        highs.append(high)
    return np.quantile(np.concatenate(lows), tail), np.quantile(np.concatenate(highs), 1 - tail)


def _best_area(errors, total):
    """Area of the ranking that puts all errors last."""
    right = total - errors
    return (errors - right * (digamma(total + 1) - digamma(right + 1))) / total


def _cells(n):
    """First rows of the cells that share a weight: single rows, of many rows only the first ones."""
    if n <= SINGLE_ROWS:
        return np.arange(n)
    half = SINGLE_ROWS // 2
    return np.concatenate([np.arange(half), np.linspace(half, n, half, endpoint=False).astype(int)])


def _gamma(w, weight, first):
    """Shape and scale of each cell's weight: rows of weight w count w Exp(1), whole weights rows."""
    mass = np.add.reduceat(w, first)
    spread = mass if weight is None or counts_rows(weight) else np.add.reduceat(w * w, first)
    return mass**2 / spread, spread / mass


def _draw(shape, scale, size, rng):
    if (shape == 1).all():
        g = rng.standard_exponential((size, len(shape)))
    else:
        g = np.zeros((size, len(shape)))
        some = np.flatnonzero(shape > 0)
        if (shape[some] == 1).all():
            g[:, some] = rng.standard_exponential((size, len(some)))
        else:
            g[:, some] = rng.standard_gamma(shape[some], (size, len(some)))
    return g if (scale == 1).all() else g * scale


def _blocks(n_items, n_resamples):
    step = max(AT_ONCE // n_items, 1)
    return [min(step, n_resamples - first) for first in range(0, n_resamples, step)]

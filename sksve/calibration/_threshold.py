"""From which confidence score on to answer: thresholds learned on held-out rows, with their intervals.

A row is answered where its score is at least the threshold, never where the score is NaN.
"""

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from sksve.metrics._curve import clopper_pearson

# Thresholds that max_risk chooses among: sqrt(n) / 3, at least and at most so many. Each one more makes every
# bound a little wider; fewer leave larger steps of coverage, which costs more the more rows there are.
FEWEST, MOST = 8, 32
# Of the bound by which target_accuracy chooses. Without a bound it answered by luck where the target cannot
# be reached, with 0.85 right answers for 0.95; with 0.9 it answers less where it can.
SURE = 0.8


class OperatingPoint(NamedTuple):
    """What a threshold does on held-out rows."""

    threshold: float
    coverage: float
    coverage_interval: tuple[float, float]
    risk: float
    risk_interval: tuple[float, float]


def threshold_for_coverage(score: ndarray, coverage: float, weight: ndarray | None = None) -> float:
    r"""Largest threshold at which a new row is answered with probability at least `coverage`.

    The threshold is the k-th largest of n values, :math:`k = \lceil c\,(n+1) \rceil`: a new value is
    equally likely to fall into each of the n + 1 gaps between them. Minus infinity if k > n.
    """
    order, end = _by_score(score, weight)
    rank = np.ceil(coverage * (end[-1] + 1) * (1 - 1e-12))
    at = np.searchsorted(end, rank * (1 - 1e-12))
    threshold = score[order[at]] if at < len(order) else -np.inf
    return -np.inf if np.isnan(threshold) else float(threshold)


def threshold_for_accuracy(
    score: ndarray, correct: ndarray, target: float, weight: ndarray | None = None
) -> float:
    """Smallest threshold above which the share of right answers is surely enough `target`.

    The one-sided bound at level `SURE` of Clopper and Pearson, not the share itself: of many thresholds some
    look better than they are. Infinity if none does.
    """
    order, end = _by_score(score, weight)
    w = np.ones(len(score)) if weight is None else weight
    errors = np.cumsum(np.where(correct, 0.0, w)[order])
    ordered = score[order]
    # A threshold is a score that a row has: rows of equal score are answered together.
    last = np.append(ordered[1:] != ordered[:-1], True) & ~np.isnan(ordered)
    bound = clopper_pearson(errors, end, 2 * SURE - 1)[:, 1]
    good = np.flatnonzero(last & (bound <= (1 - target) * (1 + 1e-12)))
    return float(ordered[good[-1]]) if len(good) else np.inf


def threshold_for_risk(
    score: ndarray,
    correct: ndarray,
    max_risk: float,
    confidence_level: float,
    weight: ndarray | None = None,
) -> tuple[float, float]:
    r"""Threshold that answers most, among those whose risk is bounded by `max_risk`.

    The candidates are ranks :math:`k_1 < \dots < k_K` fixed before any label is seen. Given the value
    of rank k + 1, the k rows above it are drawn independently from the rows above it, so their errors
    are binomial and Clopper and Pearson's upper bound at level :math:`\delta / K` holds; with
    probability :math:`1 - \delta` all K hold, and any may be chosen.

    Returns the threshold, infinity (answer nothing) if no candidate's bound is low enough, and the
    confidence level of a two-sided interval whose upper end is the bound.
    """
    order, end = _by_score(score, weight)
    n, delta = end[-1], 1 - confidence_level
    ranks = _ranks(n, max_risk, delta)
    if not len(ranks):
        return np.inf, confidence_level
    level = 1 - 2 * delta / len(ranks)
    # The first row beyond each rank; the threshold lies just above it.
    beyond = np.searchsorted(end, ranks * (1 + 1e-12), side="right")
    edge = [np.nextafter(score[order[i]], np.inf) if i < len(order) else -np.inf for i in beyond]
    edge = [-np.inf if np.isnan(e) else e for e in edge]
    w = np.ones(len(score)) if weight is None else weight
    accepted = score[:, None] >= np.asarray(edge)
    counts = w @ accepted
    errors = w @ (accepted & ~correct[:, None])
    bound = clopper_pearson(errors, counts, level)[:, 1]
    good = np.flatnonzero(bound <= max_risk)  # NaN, no row above the edge, is not
    return (float(edge[good[-1]]) if len(good) else np.inf), level


def rows_needed(max_risk: float, confidence_level: float, n_candidates: int = 1) -> float:
    """Rows that must be answered, all of them right, before `max_risk` can be guaranteed."""
    return float(np.ceil(np.log((1 - confidence_level) / n_candidates) / np.log1p(-max_risk)))


def smallest_risk(
    score: ndarray, correct: ndarray, confidence_level: float, weight: ndarray | None = None
) -> float | None:
    """Smallest `max_risk`, to a hundredth of itself, that could be guaranteed; None if none could."""
    for risk in np.geomspace(1e-3, 0.99, 700):
        if threshold_for_risk(score, correct, risk, confidence_level, weight)[0] < np.inf:
            return float(risk)
    return None


def rows_for_risk(
    score: ndarray,
    correct: ndarray,
    max_risk: float,
    confidence_level: float,
    weight: ndarray | None = None,
) -> float | None:
    """Held-out rows that would guarantee `max_risk` if more rows are like these; None: no number."""
    n = len(score) if weight is None else weight.sum()
    w = np.ones(len(score)) if weight is None else weight
    for factor in np.geomspace(1.05, 200, 110):
        found, _ = threshold_for_risk(score, correct, max_risk, confidence_level, w * factor)
        if found < np.inf:
            return float(np.ceil(n * factor))
    return None


def what_can_be_guaranteed(
    score: ndarray,
    correct: ndarray,
    max_risk: float,
    confidence_level: float,
    weight: ndarray | None = None,
) -> str:
    """Say which risk could be guaranteed, and how many rows this one would need."""
    n = len(score) if weight is None else weight.sum()
    least = smallest_risk(score, correct, confidence_level, weight)
    promised = "No risk can." if least is None else f"max_risk={_rounded_up(least):g} can."
    if (needed := rows_needed(max_risk, confidence_level)) > n:
        cure = f"At least {needed:g} are needed, however good the classifier is."
    elif rows := rows_for_risk(score, correct, max_risk, confidence_level, weight):
        cure = f"If more rows are like these, about {_rounded_up(rows):g} would be enough."
    else:
        cure = "Too many of the most confident rows are wrong: more rows like these would not help."
    return f"{promised} {cure}"


def _rounded_up(value: float) -> float:
    """The next number with two digits."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / unit * (1 - 1e-12)) * unit)


def measure_at(
    threshold: float,
    score: ndarray,
    correct: ndarray,
    confidence_level: float,
    risk_level: float,
    weight: ndarray | None = None,
) -> OperatingPoint:
    """Coverage and risk at a threshold, with Clopper and Pearson's intervals."""
    w = np.ones(len(score)) if weight is None else weight
    accepted = score >= threshold
    n, count = w.sum(), w[accepted].sum()
    errors = w[accepted & ~correct].sum()
    if np.isinf(threshold) and not (threshold < 0 and np.isnan(score).any()):  # all or nothing
        coverage_interval = (float(threshold < 0),) * 2
    else:
        coverage_interval = _interval(count, n, confidence_level)
    return OperatingPoint(
        threshold=threshold,
        coverage=float(count / n),
        coverage_interval=coverage_interval,
        risk=float(errors / count) if count else np.nan,
        risk_interval=_interval(errors, count, risk_level),
    )


def _by_score(score: ndarray, weight: ndarray | None) -> tuple[ndarray, ndarray]:
    """Order of the rows, largest score first, and the weight of each with all before it."""
    order = np.argsort(-score, kind="stable")
    return order, np.cumsum(np.ones(len(score)) if weight is None else weight[order])


def _ranks(n: float, max_risk: float, delta: float) -> ndarray:
    """Ranks to choose among, even in coverage; none where no number of right answers would do."""
    for k in (int(np.clip(np.sqrt(n) / 3, FEWEST, MOST)), 4, 2, 1):
        least = rows_needed(max_risk, 1 - delta, k)
        if least <= n:
            ranks = np.unique(np.floor(np.linspace(least, n, k))) if k > 1 else np.array([n])
            ranks[-1] = n
            return ranks
    return np.array([])


def _interval(hits: float, count: float, level: float) -> tuple[float, float]:
    low, high = clopper_pearson(np.array([hits]), np.array([count]), level)[0]
    return float(low), float(high)

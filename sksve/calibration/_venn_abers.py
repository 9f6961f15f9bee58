"""Venn-Abers calibration: isotonic regression with either label for the new row."""

from typing import Any, ClassVar

import numpy as np
from numpy import ndarray
from sklearn.utils._param_validation import StrOptions

from sksve.calibration._base import Calibrator
from sksve.calibration._scores import normalise, row_weights

# Steps in Python above which a fit is refused: some seconds.
MOST_STEPS = 1_000_000


class VennAbers(Calibrator):
    r"""Inductive Venn-Abers calibration, of one class against the rest or of pairs of classes.

    For a new score s, isotonic regression is fitted with (s, 0) and with (s, 1) added to the calibration
    rows; one of its two values :math:`p_0, p_1` at s is calibrated, whatever the data. Their combination
    of least regret in log loss is

    .. math:: g(s) = \frac{p_1}{1 - p_0 + p_1}.

    Several classes: g of each pair's own share :math:`p_j / (p_i + p_j)`, coupled by
    :math:`q_k \propto 1 / (\sum_{j \ne k} 1 / g_{kj} - c + 2)`; or g of each class, and rows renormalised.

    Parameters
    ----------
    strategy : {"one-vs-one", "one-vs-rest"}, default="one-vs-one"
        Binary problems of several classes.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    thresholds_ : list of ndarrays
        Per binary problem the distinct scores of its rows, sorted.
    low_, high_ : list of ndarrays
        Per binary problem :math:`p_0` and :math:`p_1` between these; one value more.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    See Also
    --------
    IsotonicCalibration : One isotonic regression; exact zeros and ones on few rows.

    Notes
    -----
    Probabilities of 0 and 1 are never reached, so few rows do no harm to the log loss. A weight of 2
    counts as two rows; weights that are no whole numbers are scaled to the number of rows they are worth.

    References
    ----------
    .. [1] Vovk, V., Petej, I. and Fedorova, V. (2015). Large-scale probabilistic predictors with and
           without guarantees of validity. NeurIPS. :arxiv:`1511.00213`
    .. [2] Manokhin, V. (2017). Multi-class probabilistic classification using inductive and cross
           Venn-Abers predictors. COPA, PMLR 60, 228-240.

    Examples
    --------
    >>> from sksve.calibration import VennAbers
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> VennAbers().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.6, 0.4]])
    """

    _space: ClassVar[str] = "proba"
    _parameter_constraints: ClassVar[dict[str, list]] = {
        **Calibrator._parameter_constraints,
        "strategy": [StrOptions({"one-vs-one", "one-vs-rest"})],
    }

    thresholds_: list[ndarray]
    low_: list[ndarray]
    high_: list[ndarray]

    def __init__(self, *, strategy: str = "one-vs-one", input: str = "proba") -> None:
        super().__init__(input=input)
        self.strategy = strategy

    def _demand_quick(self, n_samples: int, n_classes: int) -> None:
        # In all pairs together each row takes part once for every other class.
        steps = n_samples * n_classes
        if n_classes > 2 and steps > MOST_STEPS:
            raise ValueError(
                f"VennAbers would take {steps:,} steps for {n_samples:,} rows of {n_classes:,} classes, "
                f"more than {MOST_STEPS:,}. Use IsotonicCalibration or TemperatureScaling, or fewer rows."
            )

    def _problems(self, n_classes: int) -> list[tuple[int, int | None]]:
        """Classes of each binary problem: the one it is about, and the other, None for all others."""
        if n_classes == 2:
            return [(1, 0)]
        if self.strategy == "one-vs-rest":
            return [(k, None) for k in range(n_classes)]
        return [(j, i) for i in range(n_classes) for j in range(i + 1, n_classes)]

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        weight = row_weights(weight, len(codes))
        fitted: dict[str, list[ndarray]] = {"thresholds_": [], "low_": [], "high_": []}
        for one, other in self._problems(scores.shape[1]):
            rows = slice(None) if other is None else (codes == one) | (codes == other)
            score = _share(scores[rows], one, other)
            maps = _fit_pair(score, codes[rows] == one, weight[rows])
            for name, values in zip(fitted, maps):
                fitted[name].append(values)
        return fitted

    def _map(self, scores: ndarray) -> ndarray:
        c = scores.shape[1]
        inverse, values = np.zeros_like(scores), np.empty_like(scores)
        for (one, other), edges, low, high in zip(
            self._problems(c), self.thresholds_, self.low_, self.high_
        ):
            score = _share(scores, one, other)
            p0 = low[np.searchsorted(edges, score, side="right")]
            p1 = high[np.searchsorted(edges, score, side="left")]
            g = p1 / (1.0 - p0 + p1)
            if other is None:
                values[:, one] = g
            else:
                inverse[:, one] += 1.0 / g
                inverse[:, other] += 1.0 / (1.0 - g)
        if c == 2 or self.strategy == "one-vs-one":
            values = 1.0 / (inverse - (c - 2))
        return normalise(values, fallback=scores)


def _share(scores: ndarray, one: int, other: int | None) -> ndarray:
    """Probability of one class: of all, or of two. Rounded: a step must not hang on the last bit."""
    if other is None:
        return np.round(scores[:, one], 12)
    both = scores[:, one] + scores[:, other]
    share = np.divide(scores[:, one], both, out=np.full(len(scores), 0.5), where=both > 0)
    return np.round(share, 12)


def _fit_pair(score: ndarray, hit: ndarray, weight: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Distinct scores ``(k,)``, and p0 and p1 ``(k + 1,)`` of a new score in each gap between them."""
    edges, place = np.unique(score, return_inverse=True)
    total = np.bincount(place, weight, len(edges))
    hits = np.bincount(place, weight * hit, len(edges))
    # With both signs turned, label 0 plays the part of label 1.
    low = 1.0 - _with_hit(total[::-1], (total - hits)[::-1])[::-1]
    return edges, low, _with_hit(total, hits)


def _with_hit(total: ndarray, hits: ndarray) -> ndarray:
    """Isotonic values of a hit of weight 1 that is put before each of k groups, and after the last.

    Points are the cumulative sums of weight and hits; their lower convex hull has the isotonic values as
    its slopes. The hit moves all points before it by (-1, -1), and its value is the slope of the hull
    where it crosses the gap. From gap to gap one point moves: below the crossing line it becomes its left
    end; above, nothing changes. A point that moves is never the line's right end, unless the slope is 1.
    """
    x, y = np.append(0.0, total.cumsum()).tolist(), np.append(0.0, hits.cumsum()).tolist()
    hull: list[tuple[float, float]] = []  # from right to left; the last two are the crossing line
    for point in [*zip(x[::-1], y[::-1]), (-1.0, -1.0)]:
        _push(hull, point)
    values = []
    for x_j, y_j in zip(x, y):
        (left, low), (right, high) = hull[-1], hull[-2]
        slope = (high - low) / (right - left)
        if y_j - 1.0 < low + slope * (x_j - 1.0 - left):
            hull.pop()
            _push(hull, (x_j - 1.0, y_j - 1.0))
            (left, low), (right, high) = hull[-1], hull[-2]
            slope = (high - low) / (right - left)
        values.append(slope)
    return np.clip(values, 0.0, 1.0)


def _push(hull: list[tuple[float, float]], point: tuple[float, float]) -> None:
    """Add a point left of a lower convex hull that is held from right to left."""
    x, y = point
    while len(hull) > 1:
        (x1, y1), (x2, y2) = hull[-1], hull[-2]
        if (y1 - y) * (x2 - x1) < (y2 - y1) * (x1 - x):
            break
        hull.pop()
    hull.append(point)

"""Temperature scaling, and its mixture with the probabilities as they were."""

import warnings
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy import ndarray
from scipy.optimize import brentq, minimize

from sksve._exceptions import CalibrationWarning
from sksve.calibration._base import Calibrator
from sksve.calibration._scores import centred, shares, softmax

# |log T| is at most this, as in scikit-learn's temperature scaling.
LOG_BOUND = 10.0
# Numbers at a time, which stay in the cache, and rows for a first guess, after which few looks at all
# rows are left: 50,000 rows of ten classes take 48 ms, without both 75.
CELLS, SAMPLE = 20480, 1000


class TemperatureScaling(Calibrator):
    r"""Temperature scaling: all logits divided by one number.

    .. math:: q_i = \mathrm{softmax}(z_i / T), \qquad
              T = \arg\min_T -\sum_i w_i \log q_{i, y_i},

    with :math:`z_i = \log p_i` for probabilities. The order of the classes in a row never changes, so
    neither does any prediction. The loss is convex in :math:`1/T`; its slope's root is found in
    float64 to 11 digits.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    temperature_ : float
        T, between exp(-10) and exp(10). Above 1: the classifier was overconfident.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the best temperature lies at an end of the range: the rows cannot tell it.

    See Also
    --------
    EnsembleTemperatureScaling : A mixture with the original and the uniform probabilities.
    VectorScaling : One factor and one offset a class.

    References
    ----------
    .. [1] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K.Q. (2017). On Calibration of Modern Neural
           Networks. ICML. :arxiv:`1706.04599`

    Examples
    --------
    >>> from sksve.calibration import TemperatureScaling
    >>> y_proba = [[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.99, 0.01]]
    >>> y = ["cat", "cat", "dog", "dog"]
    >>> scaling = TemperatureScaling().fit(y_proba, y)
    >>> round(scaling.temperature_, 4)
    4.1827
    >>> scaling.predict_proba([[0.99, 0.01]]).round(4)
    array([[0.75, 0.25]])
    """

    _space: ClassVar[str] = "logits"
    _monotone: ClassVar[bool] = True

    temperature_: float

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        optimum = find_temperature(scores, codes, weight)
        _warn_at_bound(optimum, stacklevel=4)
        return {"temperature_": optimum.value}

    def _map(self, scores: ndarray) -> ndarray:
        return softmax(centred(scores) / self.temperature_)


class EnsembleTemperatureScaling(Calibrator):
    r"""Ensemble temperature scaling: tempered, original and uniform probabilities mixed.

    .. math:: q_i = w_1\, \mathrm{softmax}(z_i / T) + w_2\, p_i + w_3 / c, \qquad
              w \ge 0,\; w_1 + w_2 + w_3 = 1.

    T is that of temperature scaling; the weights then minimise the negative log-likelihood, a convex
    problem. As in temperature scaling the order of the classes in a row never changes. It mends what
    one temperature cannot: a few confident mistakes among confident right answers.

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    temperature_ : float
        T.
    weights_ : ndarray of shape (3,)
        Weight of the tempered, of the original and of the uniform probabilities.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the best temperature lies at an end of its range.

    See Also
    --------
    TemperatureScaling : The first of the three alone.

    References
    ----------
    .. [1] Zhang, J., Kailkhura, B. and Han, T.Y.-J. (2020). Mix-n-Match: Ensemble and Compositional
           Methods for Uncertainty Calibration in Deep Learning. ICML. :arxiv:`2003.07329`

    Examples
    --------
    >>> from sksve.calibration import EnsembleTemperatureScaling
    >>> y_proba = [[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.99, 0.01]]
    >>> y = ["cat", "cat", "dog", "dog"]
    >>> EnsembleTemperatureScaling().fit(y_proba, y).predict_proba([[0.99, 0.01]]).round(4)
    array([[0.75, 0.25]])
    """

    _space: ClassVar[str] = "logits"
    _monotone: ClassVar[bool] = True

    temperature_: float
    weights_: ndarray

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        optimum = find_temperature(scores, codes, weight)
        _warn_at_bound(optimum, stacklevel=4)
        rows = np.arange(len(codes))
        uniform = np.full(len(codes), 1.0 / scores.shape[1])
        tempered = softmax(centred(scores) / optimum.value)[rows, codes]
        original = softmax(scores)[rows, codes]
        parts = np.stack([tempered, original, uniform])
        weights = _mixture_weights(parts, shares(weight, len(codes)))
        return {"temperature_": optimum.value, "weights_": weights}

    def _map(self, scores: ndarray) -> ndarray:
        tempered, original = softmax(centred(scores) / self.temperature_), softmax(scores)
        first, second, third = self.weights_
        return first * tempered + second * original + third / scores.shape[1]


class _Temperature(NamedTuple):
    value: float
    bound: str  # "", "lowest" or "highest"


def find_temperature(logits: ndarray, codes: ndarray, weight: ndarray | None) -> _Temperature:
    r"""Temperature with the smallest negative log-likelihood.

    In the inverse temperature :math:`\beta = 1/T` the loss is convex, and its slope

    .. math:: g(\beta) = \sum_i w_i \Bigl(\sum_k p_{ik}(\beta) z_{ik} - z_{i y_i}\Bigr), \quad
              p_i(\beta) = \mathrm{softmax}(\beta z_i),

    grows with :math:`\beta`: it has one root or none. The root is bracketed around T = 1 and found
    by Brent's method on :math:`\log \beta`.
    """
    share, step = shares(weight, len(codes)), max(CELLS // logits.shape[1], 16)
    chunks, target, separable = [], 0.0, True
    for start in range(0, len(codes), step):
        rows = slice(start, start + step)
        # Classes first: sums over ten classes are then sums of long rows, which are fast.
        z = centred(np.ascontiguousarray(logits[rows].T), axis=0)
        of_label = z[codes[rows], np.arange(z.shape[1])]
        target += share[rows] @ of_label
        separable = separable and not of_label.any()
        chunks.append((z, share[rows]))
    buffer = np.empty(chunks[0][0].size)

    @cache  # brentq asks for the ends of its bracket again
    def slope(log_beta: float) -> float:
        beta, mean = np.exp(log_beta), 0.0
        for z, share in chunks:
            work = buffer[: z.size].reshape(z.shape)
            np.exp(np.multiply(z, beta, out=work), out=work)
            total = work.sum(axis=0)
            np.multiply(work, z, out=work)
            mean += share @ (work.sum(axis=0) / total)
        return float(mean - target)

    near, width = 0.0, 1.0
    if len(codes) > 4 * SAMPLE:
        some = slice(None, None, len(codes) // SAMPLE)
        part = None if weight is None else weight[some]
        rough = find_temperature(logits[some], codes[some], part)
        if not rough.bound:
            near, width = -float(np.log(rough.value)), 0.05
    here = slope(near)
    if here == 0.0:
        return _Temperature(float(np.exp(-near)), "")
    # Where no root exists the slope keeps its sign. It is not searched for: far out the slope
    # underflows to exactly 0, and any point there would look like an optimum.
    if here < 0 and separable:
        return _Temperature(float(np.exp(-LOG_BOUND)), "lowest")
    # beta grows where the slope is negative.
    width = width if here < 0 else -width
    far = near + width
    while width * (there := slope(far)) < 0:
        if abs(far) >= LOG_BOUND:
            return _Temperature(float(np.exp(-far)), "lowest" if width > 0 else "highest")
        width *= 2
        near, far = far, float(np.clip(far + width, -LOG_BOUND, LOG_BOUND))
    if there == 0.0:
        return _Temperature(float(np.exp(-far)), "")
    root = brentq(slope, min(near, far), max(near, far), xtol=1e-11, rtol=1e-12)
    return _Temperature(float(np.exp(-root)), "")


def _warn_at_bound(optimum: _Temperature, stacklevel: int) -> None:
    """Warn where the temperature is not an optimum but the end of the range."""
    if not optimum.bound:
        return
    why = {
        "lowest": "every label is the class with the highest score, so ever smaller temperatures "
        "fit ever better, or the scores are on a tiny scale",
        "highest": "the scores do not tell right classes from wrong ones, so the flattest "
        "probabilities fit best, or the scores are on a huge scale",
    }[optimum.bound]
    warnings.warn(
        f"The temperature is at its {optimum.bound} allowed value, {optimum.value:.3g}: {why}. "
        "Calibrate on more rows, or on rows the classifier was not trained on.",
        CalibrationWarning,
        stacklevel=stacklevel,
    )


def _mixture_weights(parts: ndarray, share: ndarray) -> ndarray:
    r"""Weights w on the simplex that maximise :math:`\sum_i s_i \log(w \cdot p_i)`.

    `parts` are ``(k, n)``, the label's probability under each component; the last is never 0.
    """

    def loss(w: ndarray) -> float:
        with np.errstate(divide="ignore"):
            return float(-(share @ np.log(w @ parts)))

    def slope(w: ndarray) -> ndarray:
        return -(parts @ (share / (w @ parts)))

    k = len(parts)
    settings: dict[str, Any] = {
        "jac": slope,
        "method": "SLSQP",
        # The lower bound keeps every mixture above 0 while the optimiser looks around.
        "bounds": [(0.0, 1.0)] * (k - 1) + [(1e-12, 1.0)],
        "constraints": {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
        "options": {"ftol": 1e-14, "maxiter": 200},
    }
    optimum: Any = minimize(loss, np.full(k, 1.0 / k), **settings)
    mixed = np.maximum(optimum.x, 0.0)
    # Never worse than any component alone.
    candidates = [*np.eye(k), mixed / mixed.sum()]
    return min(candidates, key=loss)

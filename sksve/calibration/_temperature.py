"""Temperature scaling: one number, found as the root of a monotone function."""

import warnings
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.optimize import brentq

from sksve._exceptions import CalibrationWarning
from sksve.calibration._base import Calibrator, shares
from sksve.calibration._scores import centred, softmax

__all__ = ["Temperature", "TemperatureScaling", "find_temperature", "warn_at_bound"]

# |log T| is at most this, as in scikit-learn's temperature scaling.
LOG_BOUND = 10.0
# Numbers at a time: 160 kB of them.
CELLS = 20480
# Rows for a first guess.
SAMPLE = 1000


class Temperature(NamedTuple):
    """A temperature, and at which bound it lies, if it does."""

    value: float
    bound: str  # "", "lowest" or "highest"


def find_temperature(
    logits: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray | None = None,
    xtol: float = 1e-11,
) -> Temperature:
    r"""Temperature with the smallest negative log-likelihood.

    In the inverse temperature :math:`\beta = 1/T` the loss is convex, and its slope

    .. math:: g(\beta) = \sum_i w_i \Bigl(\sum_k p_{ik}(\beta) z_{ik} - z_{i y_i}\Bigr), \quad
              p_i(\beta) = \mathrm{softmax}(\beta z_i),

    grows with :math:`\beta`: it has one root or none. The root is bracketed around T = 1 and found
    by Brent's method on :math:`\log \beta`.
    """
    loss = _Slope(logits, codes, shares(weight, len(codes)))
    guess = 0.0
    step = 1.0
    if len(codes) > 4 * SAMPLE:
        # Some rows tell nearly where the root is; the others then need few looks.
        some = slice(None, None, len(codes) // SAMPLE)
        rough = find_temperature(
            logits[some], codes[some], None if weight is None else weight[some]
        )
        if not rough.bound:
            guess, step = -float(np.log(rough.value)), 0.05
    here = loss(guess)
    if here == 0.0:
        return Temperature(float(np.exp(-guess)), "")
    # Where no root exists the slope keeps its sign. It is not searched for: far out the slope
    # underflows to exactly 0, and any point there would look like an optimum.
    if here < 0 and loss.separable:
        return Temperature(float(np.exp(-LOG_BOUND)), "lowest")
    # beta grows where the slope is negative.
    sign = 1.0 if here < 0 else -1.0
    near, far = guess, guess + sign * step
    while True:
        there = loss(far)
        if there == 0.0:
            return Temperature(float(np.exp(-far)), "")
        if (there > 0) == (sign > 0):
            break
        if abs(far) >= LOG_BOUND:
            return Temperature(float(np.exp(-far)), "lowest" if sign > 0 else "highest")
        step *= 2
        near, far = far, float(np.clip(far + sign * step, -LOG_BOUND, LOG_BOUND))
    root = brentq(loss, min(near, far), max(near, far), xtol=xtol, rtol=1e-12)
    return Temperature(float(np.exp(-root)), "")


class _Slope:
    """g as a function of log beta; rows in chunks that stay in the cache, each with classes first.

    Sums over ten classes are then sums of long rows, which are fast.
    """

    def __init__(self, logits: np.ndarray, codes: np.ndarray, share: np.ndarray) -> None:
        n, c = logits.shape
        size = max(CELLS // c, 16)
        self.chunks = []
        self.target = 0.0
        self.separable = True
        for start in range(0, n, size):
            rows = slice(start, start + size)
            z = centred(np.ascontiguousarray(logits[rows].T), axis=0)
            of_label = z[codes[rows], np.arange(z.shape[1])]
            self.target += share[rows] @ of_label
            self.separable = self.separable and not of_label.any()
            self.chunks.append((z, share[rows]))
        self.work = np.empty(c * min(size, n))
        self.last: dict[float, float] = {}  # brentq asks for the ends of its bracket again

    def __call__(self, log_beta: float, /) -> float:
        if log_beta not in self.last:
            self.last[log_beta] = self._evaluate(np.exp(log_beta))
        return self.last[log_beta]

    def _evaluate(self, beta: float) -> float:
        mean = 0.0
        for z, share in self.chunks:
            work = self.work[: z.size].reshape(z.shape)
            np.multiply(z, beta, out=work)
            np.exp(work, out=work)
            total = work.sum(axis=0)
            np.multiply(work, z, out=work)
            mean += share @ (work.sum(axis=0) / total)
        return float(mean - self.target)


def warn_at_bound(found: Temperature, stacklevel: int) -> None:
    """Warn where the temperature is not an optimum but the end of the range."""
    if not found.bound:
        return
    why = {
        "lowest": "every label is the class with the highest score, so ever smaller temperatures "
        "fit ever better, or the scores are on a tiny scale",
        "highest": "the scores do not tell right classes from wrong ones, so the flattest "
        "probabilities fit best, or the scores are on a huge scale",
    }[found.bound]
    warnings.warn(
        f"The temperature is at its {found.bound} allowed value, {found.value:.3g}: {why}. "
        "Calibrate on more rows, or on rows the classifier was not trained on.",
        CalibrationWarning,
        stacklevel=stacklevel,
    )


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
    EnsembleTemperatureScaling : A mixture with the given and the uniform probabilities.
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

    def _fit(
        self, scores: np.ndarray, codes: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, Any]:
        found = find_temperature(scores, codes, weight)
        warn_at_bound(found, stacklevel=4)
        return {"temperature_": found.value}

    def _map(self, scores: np.ndarray) -> np.ndarray:
        return softmax(centred(scores) / self.temperature_)

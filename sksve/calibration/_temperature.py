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


class Temperature(NamedTuple):
    """A temperature, and at which bound it lies, if it does."""

    value: float
    bound: str  # "", "lowest" or "highest"


def find_temperature(
    logits: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None
) -> Temperature:
    r"""Temperature with the smallest negative log-likelihood.

    In the inverse temperature :math:`\beta = 1/T` the loss is convex, and its slope

    .. math:: g(\beta) = \sum_i w_i \Bigl(\sum_k p_{ik}(\beta) z_{ik} - z_{i y_i}\Bigr), \quad
              p_i(\beta) = \mathrm{softmax}(\beta z_i),

    grows with :math:`\beta`: it has one root or none. The root is bracketed around T = 1 and found
    by Brent's method on :math:`\log \beta`.
    """
    # Classes first: sums over ten classes are then sums of long rows, which are fast.
    z = np.ascontiguousarray(centred(logits).T)
    weight = shares(weight, z.shape[1])
    of_label = z[codes, np.arange(z.shape[1])]
    target = weight @ of_label
    work = np.empty_like(z)

    def slope(log_beta: float) -> float:
        np.multiply(z, np.exp(log_beta), out=work)
        np.exp(work, out=work)
        total = work.sum(axis=0)
        np.multiply(work, z, out=work)
        return float(weight @ (work.sum(axis=0) / total) - target)

    here = slope(0.0)
    if here == 0.0:
        return Temperature(1.0, "")
    # Where no root exists the slope keeps its sign. It is not searched for: far out the slope
    # underflows to exactly 0, and any point there would look like an optimum.
    if here < 0 and not of_label.any():
        return Temperature(float(np.exp(-LOG_BOUND)), "lowest")
    # beta grows where the slope is negative.
    step = 1.0 if here < 0 else -1.0
    near, far = 0.0, step
    while True:
        there = slope(far)
        if there == 0.0:
            return Temperature(float(np.exp(-far)), "")
        if (there > 0) == (step > 0):
            break
        if abs(far) >= LOG_BOUND:
            return Temperature(float(np.exp(-far)), "lowest" if step > 0 else "highest")
        near, far = far, float(np.clip(2 * far, -LOG_BOUND, LOG_BOUND))
    root = brentq(slope, min(near, far), max(near, far), xtol=1e-12, rtol=1e-12)
    return Temperature(float(np.exp(-root)), "")


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
    float64 to 12 digits.

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

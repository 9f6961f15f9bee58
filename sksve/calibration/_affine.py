"""Vector, matrix and Dirichlet calibration: affine maps of logits, by likelihood."""

from abc import abstractmethod
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray
from sklearn.utils._param_validation import Interval

from sksve.calibration._base import Calibrator
from sksve.calibration._losses import TINY_RIDGE, DiagonalLoss, MultinomialLoss, minimise
from sksve.calibration._scores import centred, row_weights, shares, softmax
from sksve.calibration._temperature import find_temperature

# Products per pass over the rows from which a matrix with more numbers than rows is refused: seconds.
MOST_PRODUCTS = 5e8


class VectorScaling(Calibrator):
    r"""Vector scaling: a factor and an offset for each class's logit.

    .. math:: q_i = \mathrm{softmax}(w \circ z_i + b), \qquad
              w, b = \arg\min -\sum_i w_i \log q_{i, y_i},

    with :math:`z_i = \log p_i` for probabilities, and the logits as they are for logits. Convex;
    solved by Newton's method with the exact Hessian (preconditioned L-BFGS above 300 classes).

    Parameters
    ----------
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    scale_ : ndarray of shape (n_classes,)
        The factors w.
    intercept_ : ndarray of shape (n_classes,)
        The offsets b; they sum to 0, since a common offset changes nothing.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the optimiser stops before the optimum.

    See Also
    --------
    TemperatureScaling : One factor for all classes, no offset.
    DirichletCalibration : Each logit may depend on all classes.

    Notes
    -----
    A pull of 1e-8 times the squared distance from w = 1, b = 0 is added to the published loss. It
    keeps separable classes finite, and makes the optimum unique. A class without calibration rows has
    no factor and no offset: its probability stays as it is.

    References
    ----------
    .. [1] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K.Q. (2017). On Calibration of Modern Neural
           Networks. ICML. :arxiv:`1706.04599`

    Examples
    --------
    >>> from sksve.calibration import VectorScaling
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> VectorScaling().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.667, 0.333]])
    """

    _space: ClassVar[str] = "logits"

    scale_: ndarray
    intercept_: ndarray

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        c = scores.shape[1]
        penalty = np.full((c, 2), TINY_RIDGE)
        centre = np.column_stack([np.ones(c), np.zeros(c)])
        share = shares(weight, len(codes))
        problem = DiagonalLoss(np.ascontiguousarray(scores.T), codes, share, penalty, centre)
        theta = minimise(problem, centre.ravel()).reshape(c, 2)
        return {"scale_": theta[:, 0].copy(), "intercept_": theta[:, 1] - theta[:, 1].mean()}

    def _map(self, scores: ndarray) -> ndarray:
        return softmax(scores * self.scale_ + self.intercept_)


class _FullMap(Calibrator):
    """softmax(W z + b) with a penalty that is zero at the identity."""

    coef_: ndarray
    intercept_: ndarray

    @abstractmethod
    def _penalty(self, n_classes: int) -> ndarray:
        """Penalty of every coefficient ``(c, c + 1)``, the intercept last."""

    def _demand_quick(self, n_samples: int, n_classes: int) -> None:
        size = n_classes * (n_classes + 1)
        if size > n_samples and size * n_samples > MOST_PRODUCTS:
            raise ValueError(
                f"{type(self).__name__} would learn {size:,} numbers from {n_samples:,} rows of "
                f"{n_classes:,} classes, which takes minutes and overfits. Use VectorScaling "
                "(two numbers per class) or TemperatureScaling, or give more rows than numbers."
            )

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        return self._fit_matrix(scores, codes, weight, self._penalty(scores.shape[1]))

    def _fit_matrix(
        self, scores: ndarray, codes: ndarray, weight: ndarray | None, penalty: ndarray
    ) -> dict[str, Any]:
        n, c = scores.shape
        x = np.vstack([scores.T, np.ones(n)])  # all logits for every class
        centre = np.eye(c, c + 1)
        problem = MultinomialLoss(x, codes, shares(weight, n), penalty, centre)
        theta = minimise(problem, centre.ravel(), stacklevel=5).reshape(c, c + 1)
        return {"coef_": theta[:, :c].copy(), "intercept_": theta[:, c].copy()}

    def _map(self, scores: ndarray) -> ndarray:
        return softmax(scores @ self.coef_.T + self.intercept_)


class MatrixScaling(_FullMap):
    r"""Matrix scaling with ridge: any affine map of the logits, pulled to the identity.

    .. math:: q_i = \mathrm{softmax}(W z_i + b), \qquad
              W, b = \arg\min -\sum_i w_i \log q_{i, y_i}
              + \lambda \bigl(\lVert W - I \rVert_F^2 + \lVert b \rVert^2\bigr),

    with weights that sum to 1, :math:`z_i = \log p_i` for probabilities, and the logits as they are
    for logits. The pull is to the identity and not to zero, so the loss on the fitting rows is never
    above that of the probabilities as they are.

    Parameters
    ----------
    ridge : float, default=1e-3
        :math:`\lambda`, above 0. Without it a matrix of c² numbers overfits.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_classes)
        W: row k gives class k's new logit.
    intercept_ : ndarray of shape (n_classes,)
        b.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the optimiser stops before the optimum.

    See Also
    --------
    DirichletCalibration : The same map of log-probabilities, the diagonal free.
    VectorScaling : A diagonal matrix.

    References
    ----------
    .. [1] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K.Q. (2017). On Calibration of Modern Neural
           Networks. ICML. :arxiv:`1706.04599`

    Examples
    --------
    >>> from sksve.calibration import MatrixScaling
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> MatrixScaling(ridge=1e-6).fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.667, 0.333]])
    """

    _space: ClassVar[str] = "logits"
    _parameter_constraints: ClassVar[dict[str, list]] = {
        **Calibrator._parameter_constraints,
        "ridge": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, *, ridge: float = 1e-3, input: str = "proba") -> None:
        super().__init__(input=input)
        self.ridge = ridge

    def _penalty(self, n_classes: int) -> ndarray:
        return np.full((n_classes, n_classes + 1), float(self.ridge))


class DirichletCalibration(_FullMap):
    r"""Dirichlet calibration with off-diagonal and intercept regularisation (ODIR).

    .. math:: q_i = \mathrm{softmax}(W \log p_i + b), \qquad
              W, b = \arg\min -\sum_i w_i \log q_{i, y_i}
              + \frac{\lambda}{c (c - 1)} \sum_{j \ne k} W_{jk}^2 + \frac{\mu}{c} \sum_k b_k^2

    with weights that sum to 1. This is the form that calibrated probabilities take if, in every
    class, the probability vectors follow a Dirichlet distribution. Convex; solved by Newton's method
    with the exact Hessian (L-BFGS above 24 classes).

    Parameters
    ----------
    reg_lambda : float, default=1e-3
        :math:`\lambda`: pull of the off-diagonal coefficients to 0.
    reg_mu : float or None, default=None
        :math:`\mu`: pull of the intercepts to 0. None: as `reg_lambda`.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_classes)
        W: row k gives class k's new logit.
    intercept_ : ndarray of shape (n_classes,)
        b.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the optimiser stops before the optimum.

    See Also
    --------
    MatrixScaling : The same map of logits, the whole matrix pulled to the identity.
    BetaCalibration : Two classes, as the original: one against the rest.

    Notes
    -----
    A pull of 1e-8 to the identity is added to the published loss on every coefficient. It keeps
    separable classes finite.

    References
    ----------
    .. [1] Kull, M., Perello Nieto, M., Kängsepp, M., Silva Filho, T., Song, H. and Flach, P. (2019).
           Beyond temperature scaling: Obtaining well-calibrated multiclass probabilities with
           Dirichlet calibration. NeurIPS. :arxiv:`1910.12656`

    Examples
    --------
    >>> from sksve.calibration import DirichletCalibration
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> DirichletCalibration().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.667, 0.333]])
    """

    _space: ClassVar[str] = "log_proba"
    _parameter_constraints: ClassVar[dict[str, list]] = {
        **Calibrator._parameter_constraints,
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "reg_mu": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(
        self, *, reg_lambda: float = 1e-3, reg_mu: float | None = None, input: str = "proba"
    ) -> None:
        super().__init__(input=input)
        self.reg_lambda = reg_lambda
        self.reg_mu = reg_mu

    def _penalty(self, n_classes: int) -> ndarray:
        mu = self.reg_lambda if self.reg_mu is None else self.reg_mu
        penalty = np.full(
            (n_classes, n_classes + 1), self.reg_lambda / (n_classes * (n_classes - 1))
        )
        np.fill_diagonal(penalty, 0.0)
        penalty[:, n_classes] = mu / n_classes
        return penalty + TINY_RIDGE


class StructuredMatrixScaling(_FullMap):
    r"""Structured matrix scaling (SMS): temperature, then an affine map pulled to the identity by parts.

    .. math:: z_i = \log\bigl((1 - \epsilon)\, \mathrm{softmax}(\ell_i / T) + \epsilon / c\bigr), \qquad
              q_i = \mathrm{softmax}(W z_i + b),

    with :math:`\epsilon = 1 / (n + 1)`, T by temperature scaling, and

    .. math:: W, b = \arg\min -\sum_i w_i \log q_{i, y_i}
              + \lambda \frac{c}{n} \Bigl(\lVert b \rVert^2 + \sum_k (W_{kk} - 1)^2\Bigr)
              + \lambda \frac{c (c - 1)}{n} \sum_{j \ne k} W_{jk}^2 .

    The more numbers a part has, and the fewer rows there are, the stronger it is pulled: with few rows this
    is temperature scaling, with many matrix scaling.

    Parameters
    ----------
    strength : float, default=1.0
        :math:`\lambda`, above 0.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    temperature_ : float
        T.
    uniform_share_ : float
        :math:`\epsilon`.
    coef_ : ndarray of shape (n_classes, n_classes)
        W: row k gives class k's new logit.
    intercept_ : ndarray of shape (n_classes,)
        b.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    Warns
    -----
    CalibrationWarning
        If the optimiser stops before the optimum.

    See Also
    --------
    MatrixScaling : One pull for all coefficients.

    Notes
    -----
    This is probmetrics' SMS with its ridge penalty. Weights that are no whole numbers count as the rows
    they are worth, :math:`n = (\sum w)^2 / \sum w^2`.

    References
    ----------
    .. [1] Berta, E., Holzmüller, D., Jordan, M.I. and Bach, F. (2026). Structured Matrix Scaling for
           Multi-Class Calibration. AISTATS. :arxiv:`2511.03685`

    Examples
    --------
    >>> from sksve.calibration import StructuredMatrixScaling
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> StructuredMatrixScaling().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(3)
    array([[0.645, 0.355]])
    """

    _space: ClassVar[str] = "logits"
    _parameter_constraints: ClassVar[dict[str, list]] = {
        **Calibrator._parameter_constraints,
        "strength": [Interval(Real, 0, None, closed="neither")],
    }

    temperature_: float
    uniform_share_: float

    def __init__(self, *, strength: float = 1.0, input: str = "proba") -> None:
        super().__init__(input=input)
        self.strength = strength

    def _penalty(self, n_classes: int) -> ndarray:
        pull = np.full((n_classes, n_classes + 1), self.strength * n_classes * (n_classes - 1))
        pull[:, n_classes] = self.strength * n_classes
        np.fill_diagonal(pull, self.strength * n_classes)
        return pull

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        n = row_weights(weight, len(codes)).sum()
        temperature = find_temperature(scores, codes, weight).value
        share = float(1.0 / (n + 1.0))
        tempered = _tempered(scores, temperature, share)
        penalty = self._penalty(scores.shape[1]) / n
        fitted = self._fit_matrix(tempered, codes, weight, penalty)
        return {**fitted, "temperature_": temperature, "uniform_share_": share}

    def _map(self, scores: ndarray) -> ndarray:
        return super()._map(_tempered(scores, self.temperature_, self.uniform_share_))


def _tempered(scores: ndarray, temperature: float, uniform_share: float) -> ndarray:
    """Logarithm of tempered probabilities with a little of the uniform ones."""
    proba = softmax(centred(scores) / temperature)
    return np.log((1.0 - uniform_share) * proba + uniform_share / scores.shape[1])

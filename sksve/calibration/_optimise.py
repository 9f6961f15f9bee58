"""Smooth convex problems with known derivatives, handed to scipy."""

import warnings
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize

from sksve._exceptions import CalibrationWarning

__all__ = ["TINY_RIDGE", "Problem", "minimise"]

# Pull to the identity where a published loss has none: it makes the optimum finite and unique (a
# class without rows, separable rows), and moves an ordinary one in the eighth digit.
TINY_RIDGE = 1e-8
# Above this many parameters the Hessian costs more than it saves.
DENSE = 600
# A larger slope (nats per unit of a parameter) is no optimum.
LOOSE = 1e-4


class Problem(Protocol):
    """A convex function of a vector. `hessian` is asked for at the point last evaluated."""

    def value_and_gradient(self, theta: np.ndarray, /) -> tuple[float, np.ndarray]:
        """Value and gradient."""

    def hessian(self, theta: np.ndarray, /) -> np.ndarray:
        """Matrix of second derivatives."""


def minimise(problem: Problem, start: np.ndarray, stacklevel: int = 4) -> np.ndarray:
    """Return the minimiser; never a point that is worse than the start.

    Up to 600 parameters by a trust-region Newton method, more by L-BFGS.
    """
    method: dict[str, Any]
    if start.size <= DENSE:
        options = {"gtol": 1e-10, "maxiter": 200}
        method = {"method": "trust-exact", "hess": problem.hessian, "options": options}
    else:
        options = {"gtol": 1e-8, "ftol": 1e-15, "maxiter": 2000, "maxcor": 20}
        method = {"method": "L-BFGS-B", "options": options}
    found: Any = minimize(problem.value_and_gradient, start, jac=True, **method)
    value, gradient = problem.value_and_gradient(found.x)
    steep = float(np.abs(gradient).max())
    if not value <= problem.value_and_gradient(start)[0]:
        warnings.warn(
            "The fit found nothing better than leaving the probabilities as they are, so they are "
            "left as they are.",
            CalibrationWarning,
            stacklevel=stacklevel,
        )
        return start
    if steep > LOOSE:
        warnings.warn(
            f"The fit stopped before its optimum (largest slope {steep:.2g}). What was found fits "
            "better than the probabilities as they are.",
            CalibrationWarning,
            stacklevel=stacklevel,
        )
    return np.asarray(found.x)

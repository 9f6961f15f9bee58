"""The posterior of a linear softmax head, by laplace-torch."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["import_laplace", "sample_heads"]

_ROWS = 1024  # of a batch in which the curvature is summed


def import_laplace() -> Any:
    """Return the package ``laplace``.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to get it.
    """
    try:
        import laplace
    except ImportError as error:
        raise ImportError(
            'LaplaceClassifier needs laplace-torch. Install it with: pip install "sksve[laplace]"'
        ) from error
    return laplace


def sample_heads(
    features: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    seeds: Sequence[int],
    *,
    hessian_structure: str,
    prior_precision: float | str,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw heads from the Laplace approximation around a trained one, in float64.

    The last layer's Laplace approximation of a network is that of its head alone, as a function of
    the vectors that enter it.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        What enters the head, for the training rows.
    y : ndarray of shape (n,)
        Encoded labels.
    weight, bias : ndarray of shapes (c, d) and (c,)
        The trained head.
    seeds : sequence of int
        One per head to draw.
    hessian_structure : {"full", "kron", "diag"}
    prior_precision : float or "marglik"

    Returns
    -------
    weights : ndarray of shape (len(seeds), c, d)
    biases : ndarray of shape (len(seeds), c)
    prior_precision : float
    """
    laplace = import_laplace()
    c, d = weight.shape
    head = nn.utils.skip_init(nn.Linear, d, c, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(weight))
        head.bias.copy_(torch.as_tensor(bias))
    data = TensorDataset(torch.as_tensor(features), torch.as_tensor(y))
    learned = isinstance(prior_precision, str)
    with warnings.catch_warnings():
        # A reminder about link functions, which draws of whole heads do not need.
        warnings.filterwarnings("ignore", message="By default `link_approx` is `probit`")
        posterior = laplace.Laplace(
            head,
            "classification",
            subset_of_weights="all",
            hessian_structure=hessian_structure,
            prior_precision=1.0 if learned else prior_precision,
        )
        # Without a generator of its own a DataLoader moves torch's, even where it does not shuffle.
        posterior.fit(DataLoader(data, batch_size=_ROWS, generator=torch.Generator()))
        if learned:
            posterior.optimize_prior_precision(method=prior_precision)
    draws = torch.cat(
        [posterior.sample(1, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    draws = draws.detach().numpy()
    weights, biases = draws[:, : c * d].reshape(-1, c, d), draws[:, c * d :]
    return weights, biases, float(posterior.prior_precision)

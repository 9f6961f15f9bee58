"""Two weight matrices compared by their singular vectors."""

from numbers import Integral, Real
from typing import Any

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from sksve._validation import check_parameters

__all__ = ["check_intruders", "count_intruders", "paired_values"]

CONSTRAINTS = {
    "top": [Interval(Integral, 1, None, closed="left")],
    "threshold": [Interval(Real, 0, 1, closed="both")],
}


def paired_values(weight: Tensor, U: Tensor, Vh: Tensor) -> Tensor:
    r"""What a matrix does along given pairs of singular vectors: :math:`u_i^T W v_i`.

    Of the matrix the vectors were taken from these are its singular values.

    Parameters
    ----------
    weight : Tensor of shape (o, i)
    U : Tensor of shape (o, k)
    Vh : Tensor of shape (k, i)

    Returns
    -------
    Tensor of shape (k,)
    """
    return ((U.T @ weight) * Vh).sum(dim=1)


def count_intruders(weight: Tensor, U: Tensor, *, top: int = 10, threshold: float = 0.5) -> int:
    r"""Count the leading singular vectors of a matrix that resemble none it had before.

    Left singular vector :math:`u_j'` of `weight`, :math:`j \le` `top`, is an intruder if
    :math:`\max_i |\cos(u_j', u_i)| <` `threshold` [1]_.

    Parameters
    ----------
    weight : Tensor of shape (o, i)
        The matrix after training.
    U : Tensor of shape (o, k)
        All left singular vectors of the matrix before training.
    top : int, default=10
        At least 1.
    threshold : float, default=0.5
        In [0, 1].

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `top` or `threshold` is not as above.

    References
    ----------
    .. [1] Shuttleworth et al. (2024), "LoRA vs Full Fine-tuning: An Illusion of Equivalence",
       https://arxiv.org/abs/2410.21228

    Examples
    --------
    >>> import torch
    >>> from sksve.diagnostics import count_intruders
    >>> before = torch.eye(3)[:, :2] @ torch.diag(torch.tensor([2.0, 1.0])) @ torch.eye(2, 5)
    >>> U = torch.eye(3)[:, :2]
    >>> count_intruders(before * 3, U)
    0
    >>> foreign = torch.zeros(3, 5)
    >>> foreign[2, 4] = 9.0
    >>> count_intruders(before + foreign, U)
    1
    """
    check_intruders(top, threshold, owner="count_intruders")
    new, values, _ = torch.linalg.svd(weight, full_matrices=False)
    # Vectors of singular value zero are arbitrary: they resemble nothing, and mean nothing.
    real = values > torch.finfo(values.dtype).eps * max(weight.shape) * values[0]
    leading = new[:, real][:, :top]
    if not leading.shape[1]:
        return 0
    return int(((U.T @ leading).abs().amax(dim=0) < threshold).sum())


def check_intruders(top: Any, threshold: Any, *, owner: str) -> None:
    """Raise a ValueError for what :func:`count_intruders` does not take."""
    check_parameters(CONSTRAINTS, {"top": top, "threshold": threshold}, owner=owner)

"""The thin singular value decomposition, pure and in float64 on the CPU."""

import torch
from torch import Tensor

__all__ = ["as_matrix", "decompose", "settle_signs"]


def decompose(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Thin singular value decomposition ``weight = U @ diag(S) @ Vh``, in float64 on the CPU.

    A singular vector pair may be flipped, :math:`(u, v) \to (-u, -v)`, without changing the product,
    and LAPACK's drivers disagree about half of all signs. The sign is therefore settled here: in each
    column of ``U`` the entry of largest magnitude (the first, in a tie) is positive.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
        Any floating dtype, any device; never modified.

    Returns
    -------
    U : Tensor of shape (out_features, k), float64
        Orthonormal columns, ``k = min(out_features, in_features)``.
    S : Tensor of shape (k,), float64
        Singular values, largest first.
    Vh : Tensor of shape (k, in_features), float64
        Orthonormal rows.

    Raises
    ------
    ValueError
        If `weight` is not a matrix, is empty, or holds NaN or infinity.

    References
    ----------
    .. [1] Golub and Reinsch (1970), "Singular value decomposition and least squares solutions",
       https://doi.org/10.1007/BF02163027

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import decompose
    >>> U, S, Vh = decompose(torch.tensor([[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]]))
    >>> S.tolist()
    [3.0, 2.0]
    >>> U @ torch.diag(S) @ Vh
    tensor([[ 3.,  0.],
            [ 0., -2.],
            [ 0.,  0.]], dtype=torch.float64)
    """
    U, S, Vh = torch.linalg.svd(as_matrix(weight), full_matrices=False)
    U, Vh = settle_signs(U, Vh)
    return U, S, Vh


def as_matrix(weight: Tensor) -> Tensor:
    """Return the weight in float64 on the CPU, or say why it cannot be decomposed.

    Raises
    ------
    ValueError
        If `weight` is not a matrix, is empty, or holds NaN or infinity.
    """
    if weight.ndim != 2 or weight.numel() == 0:
        raise ValueError(
            "The weight to decompose must be a non-empty matrix of shape "
            f"(out_features, in_features). Got shape {tuple(weight.shape)} instead."
        )
    matrix = weight.detach().to(device="cpu", dtype=torch.float64)
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError(
            f"The weight of shape {tuple(weight.shape)} holds NaN or infinity and has no singular "
            "value decomposition. Load the backbone again: its weights are damaged."
        )
    return matrix


def settle_signs(U: Tensor, Vh: Tensor) -> tuple[Tensor, Tensor]:
    """Flip pairs so that each column of U has its entry of largest magnitude positive."""
    sign = U.gather(0, U.abs().argmax(dim=0, keepdim=True)).sign()
    return (U * sign).contiguous(), (Vh * sign.T).contiguous()

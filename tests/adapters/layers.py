"""Linear layers to make members of, and what training would do to them."""

import torch
from torch import nn

SHAPES = {"square": (7, 7), "wide": (4, 9), "tall": (9, 4), "one_row": (1, 5)}


def make_linear(o, i, *, bias=True, deficient=False, seed=0):
    g = torch.Generator().manual_seed(seed)
    linear = nn.Linear(i, o, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        weight = torch.randn(o, i, generator=g, dtype=torch.float64)
        if deficient:  # the last direction is missing
            U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
            S[-1] = 0.0
            weight = U @ torch.diag(S) @ Vh
        linear.weight.copy_(weight)
        if bias:
            linear.bias.copy_(torch.randn(o, generator=g, dtype=torch.float64))
    return linear


def shake(layer, seed=1):
    """Give every parameter an arbitrary value, as training would."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return layer


def generators(n, seed=5):
    return [torch.Generator().manual_seed(seed + k) for k in range(n)]

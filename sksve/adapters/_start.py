"""How the members of a layer start apart from one another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sksve.adapters._directions import draw_directions

__all__ = ["draw_start"]


@torch.no_grad()
def draw_start(
    noise: Sequence[tuple[nn.Parameter | None, float]],
    generators: Sequence[torch.Generator | None],
    directions: Tensor | None,
    pool: int | None,
) -> None:
    """Give each member directions and noise of its own, in place.

    Parameters
    ----------
    noise : sequence of (Parameter of shape (m, k) or None, float)
        What is drawn, in this order, and its standard deviation; at 0 nothing is.
    generators : sequence of m torch.Generator or None
    directions : Tensor of shape (m, r), or None
        Drawn before the noise, where members have directions of their own.
    pool : int or None
        How many leading directions they are drawn from.
    """
    for member, g in enumerate(generators):
        if directions is not None and pool is not None:
            directions[member] = draw_directions(pool, directions.shape[1], g)
        # float64 on the CPU whatever the layer's dtype: float32 and float64 fits start alike.
        for parameter, spread in noise:
            if parameter is not None and spread > 0.0:
                drawn = torch.randn(parameter.shape[1], generator=g, dtype=torch.float64)
                parameter[member] = spread * drawn.to(parameter)

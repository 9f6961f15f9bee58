"""Blocks that stop learning before the others: FreezeOut."""

from collections.abc import Sequence
from typing import Any

from torch import nn

__all__ = ["adapted_blocks", "stopping_steps"]


def stopping_steps(n_blocks: int, freeze_out: float | None, n_steps: int) -> list[int]:
    r"""Steps after which each adapted block has learned, the first block's first.

    Parameters
    ----------
    n_blocks : int
        Adapted blocks, 1 or more.
    freeze_out : float or None
        Share of all steps after which the first of them stops; the last learns to the end, and those
        between stop at equal distances. None: all learn to the end, and so does a block that is alone.
    n_steps : int
        Steps of the whole training.

    Returns
    -------
    list of int
        Each at least 1 and at most `n_steps`.

    References
    ----------
    .. [1] Brock, Lim, Ritchie and Weston (2017), "FreezeOut: accelerate training by progressively
       freezing layers", https://arxiv.org/abs/1706.04983

    Examples
    --------
    >>> stopping_steps(4, 0.4, 30)
    [12, 18, 24, 30]
    >>> stopping_steps(1, 0.4, 30)
    [30]
    """
    first = 1.0 if freeze_out is None or n_blocks == 1 else freeze_out
    between = max(1, n_blocks - 1)
    shares = [first + (1.0 - first) * k / between for k in range(n_blocks)]
    return [max(1, round(share * n_steps)) for share in shares]


def adapted_blocks(split: Any) -> Sequence[nn.Module]:
    """Blocks of a ``SplitBackbone`` that are not in its prefix."""
    return list(split.model.get_submodule(split.blocks))[split.first_block :]

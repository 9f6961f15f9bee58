"""How many tokens a vision backbone makes of an image."""

from typing import Any

import torch
from torch import nn

from sksve.backbones._blocks import base_model
from sksve.backbones._shell import Cut, run_until

__all__ = ["count_image_tokens"]


def count_image_tokens(model: nn.Module, blocks: str, shape: tuple[int, ...]) -> int:
    """Count the tokens that enter the first transformer block for one image.

    Parameters
    ----------
    model : nn.Module
        A vision model.
    blocks : str
        Dotted name of its list of blocks.
    shape : tuple of int
        Channels, height and width of the pixel values.

    Returns
    -------
    int
        Patches, class token and registers.

    Raises
    ------
    ValueError
        If the model does not take images of this shape.
    """
    base: Any = base_model(model)
    weight = next(base.parameters())
    pixels = torch.zeros((1, *shape), dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad():
            return run_until(base, Cut(blocks, 0, 0), pixels, None).shape[1]
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(base).__name__} does not take images of {shape}: {error} Choose a size: "
            "backbone=sksve.Backbone(..., image_size=...)."
        ) from error

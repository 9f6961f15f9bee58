"""How large the images are that a vision backbone sees, and how many tokens it makes of one."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sksve.backbones._blocks import base_model
from sksve.backbones._load import loaded_folder
from sksve.backbones._pooling import is_vision
from sksve.backbones._resolve import resolve_backbone
from sksve.backbones._shell import Cut, run_until

__all__ = ["count_image_tokens", "with_image_size"]


def with_image_size(backbone: Any, image_size: int) -> tuple[Any, Any]:
    """Let a vision backbone see images at another resolution.

    A Vision Transformer's cost grows with the number of patches, so small images are cheap: at 56
    pixels DINOv2-S makes 17 tokens of an image instead of 257. Position embeddings are
    interpolated; accuracy falls with the distance from the size of pretraining.

    Parameters
    ----------
    backbone : str, path-like or (model, processor) pair
        As in :func:`resolve_backbone`.
    image_size : int
        Height and width in pixels to which every image is resized, without cropping; a multiple of
        the model's patch size.

    Returns
    -------
    (model, processor) : tuple
        A backbone for :class:`~sksve.SVEClassifier`. The model is the pair's own, or a copy.

    Raises
    ------
    ValueError
        If the backbone is none of vision, or `image_size` is no multiple of its patch size.

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone, with_image_size
    >>> model, processor = with_image_size(make_tiny_backbone("dinov2"), 14)
    >>> import numpy as np
    >>> processor([np.zeros((30, 20, 3), dtype=np.uint8)])["pixel_values"][0].shape
    (3, 14, 14)
    """
    resolved = resolve_backbone(backbone)
    config = resolved.config
    if not is_vision(config):
        raise ValueError(
            f"with_image_size needs a vision backbone (ViT, DINOv2). Got {resolved.name!r}, whose "
            f"model type is {config.model_type!r}."
        )
    patch = config.patch_size
    whole = isinstance(image_size, int) and not isinstance(image_size, bool)
    if not whole or image_size < patch or image_size % patch:
        raise ValueError(
            f"The 'image_size' parameter must be a positive multiple of {patch}, the patch size of "
            f"{resolved.name!r}. Got {image_size!r} instead."
        )
    if resolved.pair is not None:
        model, processor = resolved.pair
    else:
        model, processor = copy.deepcopy(loaded_folder(Path(resolved.folder or "")))
    size = {"height": image_size, "width": image_size}
    settings = {**processor.to_dict(), "do_resize": True, "size": size, "do_center_crop": False}
    return model, type(processor).from_dict(settings)


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
            f"{type(base).__name__} does not take images of {shape}: {error} Choose a size with "
            "sksve.backbones.with_image_size()."
        ) from error

"""Tiny random backbones of vision, with an image processor that needs no torchvision."""

from typing import Any

__all__ = ["TINY_VISION_FAMILIES", "tiny_processor", "vision_sizes"]

# family -> image processor (with torchvision or, by this name and "Pil", without)
TINY_VISION_FAMILIES = {"vit": "ViTImageProcessor", "dinov2": "BitImageProcessor"}


def tiny_processor(family: str, image_size: int) -> Any:
    """Make the image processor of a family: everything is resized to a square."""
    import transformers

    name = TINY_VISION_FAMILIES[family]
    without = getattr(transformers, f"{name}Pil", None)
    kind = getattr(transformers, name) if without is None else without
    return kind(
        size={"height": image_size, "width": image_size},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def vision_sizes(family: str, hidden_size: int, inner: int, image_size: int) -> dict[str, Any]:
    """Settings of the configuration that only vision models have; four by four patches."""
    sizes: dict[str, Any] = {"image_size": image_size, "patch_size": image_size // 4}
    if family == "dinov2":
        sizes["mlp_ratio"] = max(1, round(inner / hidden_size))
    return sizes

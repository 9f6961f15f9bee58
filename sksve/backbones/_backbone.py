"""What a user says of a backbone: where it is, and how it is to be used."""

import os
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from torch import nn

from sksve._validation import brief, check_parameters
from sksve.backbones._pooling import POOLINGS

__all__ = ["Backbone", "as_backbone", "base_model"]

_CONSTRAINTS: dict[str, list[Any]] = {
    "pooling": [StrOptions({"auto", *POOLINGS})],
    "target_modules": [str, list, tuple],
    "image_size": [Interval(Integral, 1, None, closed="left"), None],
}


class Backbone(BaseEstimator):
    """A pretrained transformer and how to use it: accepted wherever ``backbone=`` is.

    A value object: nothing is looked for or loaded before it is needed. Its parameters can be searched
    over (``backbone__pooling`` in a grid).

    Parameters
    ----------
    source : str, path-like or (model, processor) pair
        A name, a folder written by ``save_pretrained``, or a loaded transformers model with its
        tokenizer or, of vision, its image processor. Never modified.
    pooling : {"auto", "mean", "cls", "last"}, default="auto"
        How token vectors become one. "auto": what the model's sentence-transformers files say, else
        the class token for vision, the last token for decoders and the mean over tokens for encoders.
    target_modules : str or list of str, default="auto"
        Linear layers inside the transformer blocks that are adapted: "all-linear", "attention",
        "mlp", a list of name suffixes, or a regular expression that must match the whole name.
        "auto": "all-linear", but "attention" in ``LoRAEnsembleClassifier``, as its authors do.
    image_size : int or None, default=None
        Height and width in pixels to which every image is resized, without cropping; a multiple of
        the model's patch size. Position embeddings are interpolated. A Vision Transformer's cost
        grows with the number of patches, so small images are cheap (at 56 pixels DINOv2-S makes 17
        tokens of an image instead of 257); accuracy falls with the distance from the size of
        pretraining. None: what the image processor does.

    Examples
    --------
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import Backbone
    >>> Backbone("all-MiniLM-L6-v2", pooling="cls")
    Backbone(pooling='cls', source='all-MiniLM-L6-v2')
    >>> clf = SVEClassifier(Backbone("all-MiniLM-L6-v2", target_modules="attention"))
    >>> clf.set_params(backbone__pooling="cls").backbone.pooling
    'cls'
    """

    def __init__(
        self,
        source: Any,
        *,
        pooling: str = "auto",
        target_modules: Any = "auto",
        image_size: int | None = None,
    ) -> None:
        self.source = source
        self.pooling = pooling
        self.target_modules = target_modules
        self.image_size = image_size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Backbone):
            return NotImplemented
        return bool(self.get_params(deep=False) == other.get_params(deep=False))

    __hash__ = None  # type: ignore[assignment]  # set_params changes it

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        shown = {name: brief(value) for name, value in self.get_params(deep=False).items()}
        return str(BaseEstimator.__repr__(Backbone(**shown), N_CHAR_MAX))


def as_backbone(backbone: Any) -> Backbone:
    """Return what was given as ``backbone=`` as a checked :class:`Backbone`; nothing is looked for.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) pair or Backbone

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If it is none of these, or a parameter of the Backbone is at fault (also a TypeError).

    Examples
    --------
    >>> from sksve.backbones import as_backbone
    >>> as_backbone("all-MiniLM-L6-v2").target_modules
    'auto'
    """
    if not isinstance(backbone, Backbone):
        backbone = Backbone(backbone)
    _check_source(backbone.source)
    check_parameters(_CONSTRAINTS, backbone.get_params(deep=False), owner="Backbone")
    return backbone


def _check_source(source: Any) -> None:
    if isinstance(source, str | os.PathLike):
        return
    wanted = (
        "The 'backbone' parameter must be a name, a folder, a (model, processor) pair or a Backbone "
        "of one of these"
    )
    if not isinstance(source, tuple | list):
        cure = " Give its tokenizer with it: (model, tokenizer)." if _is_model(source) else ""
        raise _wrong(wanted, f"an object of class {type(source).__name__}", cure)
    if len(source) != 2:
        raise _wrong(wanted, f"a {type(source).__name__} of {len(source)} items")
    model, processor = source
    if not _is_model(model):
        swapped = " They seem to be the wrong way round." if _is_model(processor) else ""
        wanted += (
            "; the first of a pair must be a transformers model (a torch module with a config)"
        )
        raise _wrong(wanted, f"an object of class {type(model).__name__}", swapped)
    if not callable(processor) or _is_model(processor):
        wanted += "; the second of a pair must be a tokenizer or an image processor"
        raise _wrong(wanted, f"an object of class {type(processor).__name__}")


def _wrong(wanted: str, got: str, cure: str = "") -> InvalidParameterError:
    return InvalidParameterError(f"{wanted}. Got {got} instead.{cure}")


def _is_model(thing: Any) -> bool:
    return all(hasattr(thing, name) for name in ("config", "forward", "named_modules"))


def base_model(model: nn.Module) -> nn.Module:
    """Return a model without its task head; a model without a head is given back as it is."""
    prefix = getattr(model, "base_model_prefix", "")
    inner = getattr(model, prefix, None) if prefix else None
    return inner if isinstance(inner, nn.Module) else model

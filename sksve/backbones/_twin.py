"""A module with other parts, for one call; the module itself is not touched."""

import copy
from collections.abc import Mapping

from torch import nn

__all__ = ["with_parts"]


def with_parts(module: nn.Module, parts: Mapping[str, nn.Module | None]) -> nn.Module:
    """Return a twin of a module in which some of the modules below are others.

    Parameters
    ----------
    module : nn.Module
        Neither changed nor copied: parameters, buffers and all other modules are shared with the twin.
    parts : mapping of str to nn.Module or None
        Dotted name -> what stands there in the twin.

    Examples
    --------
    >>> from torch import nn
    >>> from sksve.backbones._twin import with_parts
    >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
    >>> twin = with_parts(model, {"0.1": nn.Tanh()})
    >>> twin[0][1], twin[0][0] is model[0][0], model[0][1]
    (Tanh(), True, ReLU())
    """
    top = _shallow(module)
    for name, part in parts.items():
        here = top
        *path, last = name.split(".")
        for step in path:
            below = _shallow(getattr(here, step))
            here._modules[step] = below
            here = below
        here._modules[last] = part
    return top


def _shallow(module: nn.Module) -> nn.Module:
    """Return a second object with the same parameters, buffers and children."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin

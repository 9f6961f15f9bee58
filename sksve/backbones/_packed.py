"""A backbone on its way to another process: where its folder is and what it must hold, or itself."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sksve._exceptions import BackboneNotFoundError
from sksve.backbones._hub import holds_model
from sksve.backbones._identity import describe_config
from sksve.backbones._load import LoadedBackbone, load_backbone
from sksve.backbones._resolve import ResolvedBackbone, resolve_backbone

__all__ = ["PackedBackbone", "pack_backbone"]


@dataclass(frozen=True)
class PackedBackbone:
    """What a process must be told of a backbone that it trains members on.

    Attributes
    ----------
    told : LoadedBackbone
        Without its processor (rows are tokenised before they travel), and without its model where
        that lies in a folder.
    dtype : torch.dtype
        Of the model's floating parameters.
    digest : str
        SHA-256 of the model's weights and configuration.
    """

    told: LoadedBackbone
    dtype: torch.dtype
    digest: str

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that travel."""
        if self.told.model is None:
            return 0
        return sum(t.nbytes for t in self.told.model.state_dict().values())

    def open(self) -> LoadedBackbone:
        """Return the backbone: the very weights that were packed.

        Its folder is read where that is in reach under the same path, else the name is looked up as
        :func:`resolve_backbone` does. What is found is used only if its weights have the same hash.

        Returns
        -------
        LoadedBackbone
            Without a processor.

        Raises
        ------
        BackboneNotFoundError
            If neither leads to these weights.
        """
        if self.told.model is not None:
            return self.told
        tried = []
        for resolved in self._places():
            try:
                found = load_backbone(resolved, pooling=self.told.pooling, dtype=self.dtype)
            except ValueError as error:  # another model, or half of one
                tried.append(str(error))
                continue
            if model_digest(found.model) == self.digest:
                return replace(found, processor=None, name=self.told.name, source=self.told.source)
            tried.append(f"{resolved.folder} holds other weights")
        raise BackboneNotFoundError(
            f"The backbone {self.told.name!r} is not in reach of this process: "
            f"{'; '.join(tried) or f'there is no folder {self.told.folder}'}."
        )

    def _places(self) -> Iterator[ResolvedBackbone]:
        folder = self.told.folder
        if folder is not None and folder.is_dir() and holds_model(folder):
            yield ResolvedBackbone(self.told.name, self.told.source, folder)
        try:
            found = resolve_backbone(self.told.name)
        except ValueError:  # found nowhere, or damaged where it was found
            return
        if found.folder != folder:
            yield found


def pack_backbone(backbone: LoadedBackbone, *, with_weights: bool = False) -> PackedBackbone:
    """Make a backbone ready to travel; its weights go along only if they must.

    Parameters
    ----------
    backbone : LoadedBackbone
        Not modified since it was loaded.
    with_weights : bool, default=False
        Let the weights travel although they lie in a folder. Those of a (model, processor) pair
        always do.

    Returns
    -------
    PackedBackbone

    Examples
    --------
    >>> from sksve.backbones import load_backbone, make_tiny_backbone, pack_backbone
    >>> from sksve.backbones import resolve_backbone
    >>> backbone = load_backbone(resolve_backbone(make_tiny_backbone()))
    >>> packed = pack_backbone(backbone)
    >>> packed.open().model is backbone.model, packed.nbytes > 10_000
    (True, True)
    """
    travels = with_weights or backbone.folder is None
    dtype = next(p.dtype for p in backbone.model.parameters() if p.is_floating_point())
    told: Any = replace(backbone, processor=None, model=backbone.model if travels else None)
    return PackedBackbone(told, dtype, "" if travels else model_digest(backbone.model))


def model_digest(model: Any) -> str:
    """SHA-256 of a model's class, of what of its configuration decides its output, and its weights."""
    told = json.dumps(describe_config(model.config), sort_keys=True)
    digest = hashlib.sha256(f"{type(model).__qualname__}|{told}".encode())
    for name, tensor in sorted(_tensors(model)):
        digest.update(f"|{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    # Names differ, so that sorting never compares two tensors.
    return list(model.state_dict().items())

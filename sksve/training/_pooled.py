"""What enters the heads: the pooled vectors."""

import numpy as np
import torch

from sksve.training._data import TokenDataset
from sksve.training._inference import predict_logits
from sksve.training._module import EnsembleModule, MemberHeads

__all__ = ["pooled_vectors"]


def pooled_vectors(
    module: EnsembleModule,
    dataset: TokenDataset,
    *,
    member: int = 0,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
) -> np.ndarray:
    """Pooled vectors of one member, by the inference sweep: logits of heads that change nothing.

    Parameters
    ----------
    module : EnsembleModule
    dataset : TokenDataset
    member : int, default=0
        Position of the member.
    device, autocast
        As :func:`predict_logits`.

    Returns
    -------
    ndarray of shape (n_samples, d), float64
    """
    d = module.heads.weight.shape[-1]
    none = [torch.Generator()] * module.n_members
    heads = MemberHeads(d, d, none, init_std=0.0, dtype=module.heads.weight.dtype)
    with torch.no_grad():
        heads.weight.copy_(torch.eye(d))
    bare = EnsembleModule(
        module.split,
        heads.to(module.heads.weight.device),
        has_prefix=module.has_prefix,
        has_suffix=module.has_suffix,
    )
    return predict_logits(bare, dataset, members=[member], device=device, autocast=autocast)[0]

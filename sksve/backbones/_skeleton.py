"""Plan an adaptation before any weights are loaded, on a model without weights."""

from collections.abc import Sequence
from typing import Any

import torch

from sksve.backbones._blocks import base_model
from sksve.backbones._load import count_positions
from sksve.backbones._plan import AdaptationPlan, plan_adaptation
from sksve.backbones._resolve import ResolvedBackbone

__all__ = ["plan_from_config", "positions_from_config"]


def plan_from_config(
    resolved: ResolvedBackbone,
    *,
    target_modules: str | Sequence[str] | None = None,
    adapt_blocks: int | None = None,
) -> AdaptationPlan:
    """Decide which linear maps are adapted, from the configuration alone.

    Parameters
    ----------
    resolved : ResolvedBackbone
        What :func:`resolve_backbone` gave.
    target_modules : str, sequence of str or None, default=None
        As in :func:`plan_adaptation`; None: as `resolved` says.
    adapt_blocks : int or None, default=None
        As in :func:`plan_adaptation`.

    Returns
    -------
    AdaptationPlan
        The plan :func:`plan_adaptation` makes for the loaded model.

    Raises
    ------
    ValueError
        As :func:`plan_adaptation` does, or if transformers cannot build the model.

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone, plan_from_config, resolve_backbone
    >>> resolved = resolve_backbone(make_tiny_backbone("gpt2"))
    >>> plan_from_config(resolved, target_modules="mlp", adapt_blocks=1).targets
    ('h.1.mlp.c_fc', 'h.1.mlp.c_proj')
    """
    model = _skeleton(resolved)
    if target_modules is None:
        target_modules = resolved.target_modules
    return plan_adaptation(model, target_modules=target_modules, adapt_blocks=adapt_blocks)


def positions_from_config(resolved: ResolvedBackbone) -> int | None:
    """Count the tokens a backbone has positions for, from the configuration alone.

    Parameters
    ----------
    resolved : ResolvedBackbone
        What :func:`resolve_backbone` gave.

    Returns
    -------
    int or None
        ``LoadedBackbone.max_positions`` of the loaded backbone.

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone, positions_from_config, resolve_backbone
    >>> positions_from_config(resolve_backbone(make_tiny_backbone(max_positions=64)))
    64
    """
    return count_positions(base_model(_skeleton(resolved)))


def _skeleton(resolved: ResolvedBackbone) -> Any:
    """Build the model without weights; a pair's own model as it is."""
    if resolved.pair is not None:
        return resolved.pair[0]
    from transformers import AutoModel

    with torch.device("meta"):  # draws nothing
        return AutoModel.from_config(resolved.config, trust_remote_code=False)

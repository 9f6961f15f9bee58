"""Which linear maps of a model become ensembles: decided from names, before any is touched."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import nn

from sksve.backbones._backbone import base_model
from sksve.backbones._resolve import ResolvedBackbone

__all__ = [
    "AdaptationPlan",
    "count_positions",
    "is_conv1d",
    "plan_adaptation",
    "plan_from_config",
]

_GROUPS = ("all-linear", "attention", "mlp")


@dataclass(frozen=True)
class AdaptationPlan:
    """Which modules of a backbone are adapted, and why each other linear map is not.

    Attributes
    ----------
    targets : tuple of str
        Dotted names of the modules to adapt, in the order of the model.
    skipped : dict of str to str
        Every other linear map -> the reason it stays as it is.
    blocks : str
        Dotted name of the list of transformer blocks.
    n_blocks : int
        How many blocks the backbone has.
    first_block : int
        The first block that may be adapted; the blocks before it are the frozen prefix.
    max_positions : int or None
        Longest input in tokens, special tokens included; None: no limit known.
    """

    targets: tuple[str, ...]
    skipped: dict[str, str]
    blocks: str
    n_blocks: int
    first_block: int
    max_positions: int | None = None


def plan_adaptation(
    model: nn.Module,
    *,
    target_modules: str | Sequence[str] = "all-linear",
    adapt_blocks: int | None = None,
) -> AdaptationPlan:
    """Decide which linear maps of a backbone are adapted. Nothing is changed.

    Parameters
    ----------
    model : nn.Module
        A transformers model; of a model with a head, the base model is planned, and names are those
        of the base model.
    target_modules : str or sequence of str, default="all-linear"
        Linear maps inside the transformer blocks to adapt: "all-linear", "attention", "mlp", a list
        of suffixes (a name matches if it equals a suffix or ends with a dot and the suffix), or any
        other str: a regular expression that must match the whole dotted name.
    adapt_blocks : int or None, default=None
        How many of the last blocks may be adapted; None: all; 0: none, so there are no targets.

    Returns
    -------
    AdaptationPlan
        The targets, and the reason for each linear map that is left out.

    Raises
    ------
    ValueError
        If the model has no single list of blocks, `adapt_blocks` is not in 0..n_blocks, the
        regular expression is malformed, or nothing matches `target_modules`.

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone, plan_adaptation
    >>> model, tokenizer = make_tiny_backbone("bert")
    >>> plan = plan_adaptation(model, target_modules=["query", "value"], adapt_blocks=1)
    >>> plan.targets
    ('encoder.layer.1.attention.self.query', 'encoder.layer.1.attention.self.value')
    >>> plan.skipped["encoder.layer.0.attention.self.query"]
    'block 0 is frozen by adapt_blocks=1'
    """
    model = base_model(model)
    blocks, n_blocks = _find_blocks(model)
    first_block = n_blocks - _checked_adapt_blocks(adapt_blocks, n_blocks)
    matches = _matcher(target_modules)
    targets, skipped, inside, frozen = [], {}, [], False
    for name, module in _linears(model):
        block = _block_of(name, blocks)
        if block is None:
            skipped[name] = "outside the transformer blocks"
            continue
        inside.append(name)
        if not matches(name, name.removeprefix(f"{blocks}.{block}.")):
            skipped[name] = f"not matched by target_modules={target_modules!r}"
        elif type(module).__name__ == "NonDynamicallyQuantizableLinear":
            skipped[name] = "its weight is read without calling it (torch.nn.MultiheadAttention)"
        elif block < first_block:
            skipped[name] = f"block {block} is frozen by adapt_blocks={adapt_blocks}"
            frozen = True
        else:
            targets.append(name)
    if not targets and not (adapt_blocks == 0 and frozen):
        raise _nothing_matched(target_modules, adapt_blocks, inside, frozen=frozen)
    positions = count_positions(model)
    return AdaptationPlan(tuple(targets), skipped, blocks, n_blocks, first_block, positions)


def plan_from_config(
    resolved: ResolvedBackbone,
    *,
    target_modules: str | Sequence[str] | None = None,
    adapt_blocks: int | None = None,
) -> AdaptationPlan:
    """Decide which linear maps are adapted, from the configuration alone: on a model without weights.

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
        wanted = resolved.target_modules
        target_modules = "all-linear" if isinstance(wanted, str) and wanted == "auto" else wanted
    return plan_adaptation(model, target_modules=target_modules, adapt_blocks=adapt_blocks)


def _find_blocks(model: nn.Module) -> tuple[str, int]:
    """Dotted name and length of the list of transformer blocks; a model with no such list is refused."""
    config: Any = getattr(model, "config", None)
    n_layers = getattr(config, "num_hidden_layers", None)
    who = type(model).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(
            f"{who} is an encoder-decoder model; sksve adapts encoders and decoders only."
        )
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module)
    }
    outer = {n: m for n, m in lists.items() if not any(n.startswith(o + ".") for o in lists)}
    whole = {n: m for n, m in outer.items() if len(m) == n_layers and _is_uniform(m)}
    if len(whole) == 1:
        [(name, blocks)] = whole.items()
        return name, len(blocks)
    found = ", ".join(f"{n} ({len(m)})" for n, m in outer.items()) or "none"
    reason = (
        "they share the weights of fewer blocks (as ALBERT's do), so none can be adapted alone"
        if not whole and any(len(m) < (n_layers or 0) for m in outer.values())
        else "sksve needs exactly one list with one block a layer"
    )
    raise ValueError(
        f"{who} has {n_layers} layers, but {reason}. Lists of modules found: {found}. Families "
        "that work are BERT, RoBERTa, DistilBERT, MPNet, ELECTRA, DeBERTa-v2, GPT-2, Llama, ViT, "
        "DINOv2."
    )


def count_positions(model: Any) -> int | None:
    """Count the tokens a model has positions for."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is None or int(limit) <= 0:
        return None
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - offset
    return int(limit)


def is_conv1d(module: nn.Module) -> bool:
    """Whether a module is transformers' Conv1D: a linear map with the transposed weight (GPT-2)."""
    # By name: asking with isinstance would import transformers.
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def _skeleton(resolved: ResolvedBackbone) -> Any:
    """Build the model without weights; a pair's own model as it is."""
    if resolved.pair is not None:
        return resolved.pair[0]
    from transformers import AutoModel

    with torch.device("meta"):  # draws nothing
        return AutoModel.from_config(resolved.config, trust_remote_code=False)


def _is_uniform(blocks: nn.ModuleList) -> bool:
    """Whether every module is its own object of one class."""
    return len({id(b) for b in blocks}) == len(blocks) and len({type(b) for b in blocks}) == 1


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or is_conv1d(module):
            yield name, module


def _block_of(name: str, blocks: str) -> int | None:
    """Index of the block a dotted name lies in, or None."""
    if not name.startswith(blocks + "."):
        return None
    return int(name.removeprefix(blocks + ".").partition(".")[0])


def _is_attention(name_in_block: str) -> bool:
    """Whether a linear map belongs to attention; its name is the dotted one inside the block."""
    return any("attn" in part or "attention" in part for part in name_in_block.split("."))


def _matcher(target_modules: str | Sequence[str]) -> Callable[[str, str], bool]:
    """Return (dotted name, name inside the block) -> whether it is meant."""
    if isinstance(target_modules, str):
        if target_modules == "all-linear":
            return lambda name, inner: True
        if target_modules in _GROUPS:
            return lambda name, inner: _is_attention(inner) == (target_modules == "attention")
        try:
            pattern = re.compile(target_modules)
        except re.error as error:
            raise ValueError(
                "The 'target_modules' parameter, a str that is none of "
                f"{list(_GROUPS)}, must be a regular expression. Got {target_modules!r}: {error}."
            ) from error
        return lambda name, inner: pattern.fullmatch(name) is not None
    if (
        not isinstance(target_modules, Sequence)
        or not target_modules
        or not all(isinstance(s, str) and s for s in target_modules)
    ):
        raise ValueError(
            f"The 'target_modules' parameter must be one of {list(_GROUPS)}, a list of suffixes "
            f"such as ['query', 'value'], or a regular expression. Got {target_modules!r} instead."
        )
    suffixes = tuple(target_modules)
    dotted = tuple("." + suffix for suffix in suffixes)
    return lambda name, inner: name in suffixes or name.endswith(dotted)


def _checked_adapt_blocks(adapt_blocks: Any, n_blocks: int) -> int:
    """Return the number of blocks that may be adapted."""
    if adapt_blocks is None:
        return n_blocks
    fits = isinstance(adapt_blocks, Integral) and not isinstance(adapt_blocks, bool)
    if not fits or not 0 <= adapt_blocks <= n_blocks:
        raise ValueError(
            f"The 'adapt_blocks' parameter must be None or an int in the range [0, {n_blocks}]: "
            f"this backbone has {n_blocks} blocks. Got {adapt_blocks!r} instead."
        )
    return int(adapt_blocks)


def _nothing_matched(
    target_modules: str | Sequence[str],
    adapt_blocks: int | None,
    inside: list[str],
    *,
    frozen: bool,
) -> ValueError:
    if frozen:
        return ValueError(
            f"target_modules={target_modules!r} matches only blocks that "
            f"adapt_blocks={adapt_blocks} freezes. Raise adapt_blocks, or let target_modules "
            "match later blocks."
        )
    ends = dict.fromkeys(re.split(r"\.\d+\.", name, maxsplit=1)[-1] for name in inside)
    example = inside[0] if inside else ""
    return ValueError(
        f"target_modules={target_modules!r} matches no linear map inside the transformer blocks. "
        f"Suffixes that would match: {', '.join(ends)}. A str other than "
        f"{', '.join(map(repr, _GROUPS))} is a regular expression that must match a whole name "
        f"such as {example!r}."
    )

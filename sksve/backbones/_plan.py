"""Which linear maps of a model become ensembles: decided from names, before any is touched."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sksve.backbones._blocks import base_model, find_blocks
from sksve.backbones._swap import is_conv1d

__all__ = ["AdaptationPlan", "plan_adaptation"]

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
    """

    targets: tuple[str, ...]
    skipped: dict[str, str]
    blocks: str
    n_blocks: int
    first_block: int


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
    blocks, n_blocks = find_blocks(model)
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
    return AdaptationPlan(tuple(targets), skipped, blocks, n_blocks, first_block)


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or is_conv1d(module):
            yield name, module


def _block_of(name: str, blocks: str) -> int | None:
    """Index of the block a dotted name lies in, or None."""
    if not name.startswith(blocks + "."):
        return None
    return int(name.removeprefix(blocks + ".").partition(".")[0])


def is_attention(name_in_block: str) -> bool:
    """Whether a linear map belongs to attention, told by its dotted name inside the block.

    >>> [is_attention(n) for n in ("attention.output.dense", "output.dense", "attn.c_proj")]
    [True, False, True]
    """
    return any("attn" in part or "attention" in part for part in name_in_block.split("."))


def _matcher(target_modules: str | Sequence[str]) -> Callable[[str, str], bool]:
    """Return (dotted name, name inside the block) -> whether it is meant."""
    if isinstance(target_modules, str):
        if target_modules == "all-linear":
            return lambda name, inner: True
        if target_modules in _GROUPS:
            return lambda name, inner: is_attention(inner) == (target_modules == "attention")
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
    fits = isinstance(adapt_blocks, int) and not isinstance(adapt_blocks, bool)
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

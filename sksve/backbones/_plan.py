"""Which linear maps of a model become ensembles: decided from names, swapped all or none, and reported."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import nn

from sksve.backbones._resolve import ResolvedBackbone, base_model, model_class

_GROUPS = ("all-linear", "attention", "mlp")


@dataclass(frozen=True)
class AdaptationPlan:
    """Which modules of a backbone are adapted, and why each other linear map is not."""

    targets: tuple[str, ...]  # dotted names of the modules to adapt, in the order of the model
    skipped: dict[str, str]  # every other linear map -> the reason it stays as it is
    blocks: str  # dotted name of the list of transformer blocks
    n_blocks: int
    first_block: int  # the first that may be adapted; those before it are the frozen prefix
    max_positions: int | None = (
        None  # of an input in tokens, special ones included; None: no limit known
    )
    # What `prove` found; until then nothing is taken for granted.
    proven: bool = False
    joint: bool = False  # members in one pass are each member alone
    outputs: int | None = None  # of a block: 0 a tensor, k a k-tuple; None: never cut
    entry_suffices: bool = False  # behind the cut neither embeddings nor pixels are needed
    pads: bool = True  # a row alone is the row with padding
    written: frozenset[str] = frozenset()  # targets whose result the model writes to
    width: int = 0  # of the last hidden state
    share: float = 1.0  # of the entries of the blocks' matrices that targets hold


def plan_adaptation(
    backbone: ResolvedBackbone | nn.Module,
    *,
    target_modules: str | Sequence[str] = "auto",
    adapt_blocks: int | None = None,
) -> AdaptationPlan:
    """Decide which linear maps of a backbone are adapted. Nothing is changed.

    Parameters
    ----------
    backbone : ResolvedBackbone or nn.Module
        What :func:`resolve_backbone` gave, whose weights are not read, or a transformers model; of one
        with a head, the base model is planned, and names are those of the base model.
    target_modules : str or sequence of str, default="auto"
        Linear maps inside the transformer blocks to adapt: "all-linear", "attention", "mlp", a list
        of suffixes (a name matches if it equals a suffix or ends with a dot and the suffix), or any
        other str: a regular expression that must match the whole dotted name. "auto": as the
        :class:`Backbone` says, else "all-linear".
    adapt_blocks : int or None, default=None
        How many of the last blocks may be adapted; None: all; 0: none, so there are no targets.

    Returns
    -------
    AdaptationPlan
        The targets, and the reason for each linear map that is left out.

    Raises
    ------
    ValueError
        If the model has no single list of blocks or cannot be built, `adapt_blocks` is not in
        0..n_blocks, the regular expression is malformed, or nothing matches `target_modules`.

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
    if target_modules == "auto" and isinstance(backbone, ResolvedBackbone):
        target_modules = backbone.target_modules
    if target_modules == "auto":
        target_modules = "all-linear"
    model = base_model(_skeleton(backbone))
    _check_kind(model)
    blocks, n_blocks = _find_blocks(model)
    first_block = n_blocks - _checked_adapt_blocks(adapt_blocks, n_blocks)
    matches = _matcher(target_modules)
    targets, skipped, inside, frozen = [], {}, [], False
    for name, module in model.named_modules():
        if not is_linear(module):
            continue
        block = _block_of(name, blocks)
        if block is None:
            skipped[name] = "outside the transformer blocks"
            continue
        inside.append(name)
        if not matches(name, name.removeprefix(f"{blocks}.{block}.")):
            skipped[name] = f"not matched by target_modules={target_modules!r}"
        elif block < first_block:
            skipped[name] = f"block {block} is frozen by adapt_blocks={adapt_blocks}"
            frozen = True
        else:
            targets.append(name)
    if not targets and not (adapt_blocks == 0 and frozen):
        raise _nothing_matched(target_modules, adapt_blocks, inside, frozen=frozen)
    positions = count_positions(model)
    return AdaptationPlan(tuple(targets), skipped, blocks, n_blocks, first_block, positions)


def _find_blocks(model: nn.Module) -> tuple[str, int]:
    """Dotted name and length of the list of transformer blocks; "" and 1 where there is no such list."""
    config: Any = getattr(model, "config", None)
    n_layers = getattr(config, "num_hidden_layers", None)
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module)
    }
    outer = {n: m for n, m in lists.items() if not any(n.startswith(o + ".") for o in lists)}
    whole = {n: m for n, m in outer.items() if len(m) == n_layers and _is_uniform(m)}
    if not whole:
        kinds = ("GradientCheckpointingLayer",)
        whole = {n: m for n, m in outer.items()
                 if _is_uniform(m) and kinds[0] in [k.__name__ for k in type(m[0]).__mro__]}  # fmt: skip
    if len(whole) == 1:
        [(name, blocks)] = whole.items()
        return name, len(blocks)
    return "", 1


def _check_kind(model: Any) -> None:
    """Refuse, in one sentence that says what to do instead, what sksve does not adapt."""
    who, inputs = type(model).__name__, getattr(model, "main_input_name", "input_ids")
    cure = None
    if getattr(model.config, "is_encoder_decoder", False) and hasattr(model, "decoder"):
        kind = "an encoder-decoder model"
        cure = "give its encoder, as (model.get_encoder(), tokenizer)"
    elif hasattr(model, "text_model") and hasattr(model, "vision_model"):
        kind = "a model of texts and images"
        cure = "give one half, as (model.vision_model, image_processor)"
    elif inputs not in ("input_ids", "pixel_values"):
        kind = f"a model of audio or another kind of input ({inputs})"
        cure = "give its vectors to a scikit-learn classifier and calibrate that"
    elif any(_is_quantised(m) for m in model.modules()):
        kind = "a quantised model, whose matrices have no singular vectors to share"
        cure = "give the model loaded without quantisation, or model.dequantize()"
    if cure:
        raise ValueError(
            f"{who} is {kind}; sksve adapts encoders and decoders of texts or images only: {cure}."
        )


def _is_quantised(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    whole = isinstance(weight, torch.Tensor) and not weight.is_floating_point()
    return ".quantized." in type(module).__module__ or (isinstance(module, nn.Linear) and whole)


def blocks_of(model: Any, blocks: str) -> list[Any]:
    """Blocks of a model by the dotted name of their list; "": the model is one block."""
    return list(model.get_submodule(blocks)) if blocks else [model]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map that can be adapted."""
    return isinstance(module, nn.Linear) or _is_conv1d(module)


def count_positions(model: Any) -> int | None:
    """Count the tokens a model has positions for."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is None or int(limit) <= 0:
        return None
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            return min(int(limit), int(module.num_embeddings) - offset)
    return int(limit)


def _is_conv1d(module: nn.Module) -> bool:
    """Whether a module is transformers' Conv1D: a linear map with the transposed weight (GPT-2)."""
    # By name: asking with isinstance would import transformers.
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def _skeleton(backbone: ResolvedBackbone | nn.Module) -> Any:
    """Build the model without weights; where there is a model, that one."""
    if not isinstance(backbone, ResolvedBackbone):
        return backbone
    if backbone.pair is not None:
        return backbone.pair[0]
    config = backbone.config
    with torch.device("meta"):  # draws nothing
        return model_class(config)._from_config(config)


def _is_uniform(blocks: nn.ModuleList) -> bool:
    """Whether every module is its own object of one class."""
    return len({id(b) for b in blocks}) == len(blocks) and len({type(b) for b in blocks}) == 1


def _block_of(name: str, blocks: str) -> int | None:
    """Index of the block a dotted name lies in, or None."""
    if not blocks:
        return 0
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
    is_count = isinstance(adapt_blocks, Integral) and not isinstance(adapt_blocks, bool)
    if not is_count or adapt_blocks < 0:
        raise ValueError(
            f"The 'adapt_blocks' parameter must be None or an int of at least 0. Got {adapt_blocks!r} "
            "instead."
        )
    if adapt_blocks > n_blocks:
        raise ValueError(
            f"adapt_blocks={adapt_blocks} is more than this backbone's {n_blocks} block"
            f"{'s' * (n_blocks > 1)}. Choose an int up to {n_blocks}, or None for all."
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
    if not inside:
        return ValueError(
            "There is no linear map inside the transformer blocks: the model is convolutional or quantised, "
            "which sksve does not adapt. Give its vectors to a scikit-learn classifier."
        )
    ends = dict.fromkeys(re.split(r"\.\d+\.", name, maxsplit=1)[-1] for name in inside)
    example = inside[0]
    return ValueError(
        f"target_modules={target_modules!r} matches no linear map inside the transformer blocks. "
        f"Suffixes that would match: {', '.join(ends)}. A str other than "
        f"{', '.join(map(repr, _GROUPS))} is a regular expression that must match a whole name "
        f"such as {example!r}."
    )


# -- the new layers, and what they cost ------------------------------------------------------------


def swap_modules(model: nn.Module, replacements: Mapping[str, nn.Module]) -> None:
    """Put new modules where those of these dotted names were, in place, all of them or none.

    ValueError, `model` as it was, if a name does not exist, a module is known under two names (swapping one
    would part what is shared), or the in or out features differ.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    names_of: dict[int, list[str]] = {}
    for name, module in modules.items():
        names_of.setdefault(id(module), []).append(name)
    faults = []
    for name, new in replacements.items():
        old = modules.get(name) if name else None
        if old is None:
            faults.append(f"{name!r} is not a module of {type(model).__name__}.")
            continue
        if others := [n for n in names_of[id(old)] if n != name]:
            faults.append(f"{name!r} is the same module as {', '.join(map(repr, others))}.")
        before, after = _linear_shape(old), _linear_shape(new)
        if before is not None and after is not None and before != after:
            faults.append(
                f"{name!r} maps {before[0]} to {before[1]} features, "
                f"its replacement {after[0]} to {after[1]}."
            )
    if faults:
        raise ValueError("Nothing was swapped:\n" + "\n".join(f"- {fault}" for fault in faults))
    for name, module in replacements.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)


def _linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Return (in features, out features) of a linear map, Conv1D included; None of others."""
    if isinstance(getattr(module, "in_features", None), int):
        return int(module.in_features), int(module.out_features)
    if _is_conv1d(module):
        return int(module.nx), int(module.nf)
    return None

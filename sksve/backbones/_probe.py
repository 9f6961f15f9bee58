"""What a few forward passes of two short rows show of a model, whatever its family."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sksve.backbones._plan import is_linear
from sksve.backbones._pooling import pool_tokens


@dataclass(frozen=True)
class Seen:
    """What is the same whichever layers are adapted."""

    width: int  # of a token's vector
    pooling: str  # what "auto" stands for
    pads: bool  # whether a row alone is the row with padding
    # Linear maps, by dotted name: called; weight read by other code; result written to by the model.
    called: frozenset[str]
    read: frozenset[str]
    written: frozenset[str]


def look(model: Any, processor: Any = None) -> Seen:
    """Run two short rows, one of them padded; ValueError if that fails or is drawn at random."""
    who = type(model).__name__
    seen: dict[str, set[str]] = {"called": set(), "read": set(), "written": set()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]), one_sentence(who):
        rows, mask = short_rows(model, processor)
        with _watching(model, seen) as (watched, patches):
            hidden = run_model(watched, rows, mask)
        if hidden.ndim != 3:
            raise _Refused(
                f"{who} is convolutional: it gives maps and no vectors of tokens, which sksve does not "
                "adapt. Give its pooled vectors to a scikit-learn classifier."
            )
        if not hidden[mask.bool() if mask is not None else ...].isfinite().all():
            raise _Refused(
                f"{who} gives NaN or infinity in {hidden.dtype}: choose another precision."
            )
        again = run_model(model, rows, mask)
        if not all(close(pool_tokens(hidden, mask, how), pool_tokens(again, mask, how))
                   for how in ("mean", "cls")):  # fmt: skip
            setting = "mask_ratio=0.0" if hasattr(model.config, "mask_ratio") else "whatever draws"
            raise _Refused(
                f"{who} draws at random: it gives the same rows two results, so that nothing can be learned "
                f"or predicted twice. Set {setting} in its configuration."
            )
        pads = True
        if mask is None:
            pooling = "cls" if patches and hidden.shape[1] > patches[0] else "mean"
        else:
            n = int(mask[1].sum())
            alone = run_model(model, rows[1:, :n], mask[1:, :n])
            pads = close(alone, hidden[1:, :n])
            other = rows.clone()
            other[0, 1] = rows[0, 2]
            moved = run_model(model, other, mask)
            pooling = "last" if close(moved[0, :1], hidden[0, :1]) else "mean"
    kinds = {key: frozenset(names) for key, names in seen.items()}
    return Seen(hidden.shape[-1], pooling, pads, **kinds)


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two results differ by rounding only."""
    tolerance = {torch.float64: 1e-10, torch.float32: 2e-5}.get(b.dtype, 0.05)
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


class _Refused(ValueError):
    """Says all that is to be said."""


@contextmanager
def one_sentence(who: str) -> Iterator[None]:
    """Turn whatever a model raises on short rows into one sentence."""
    try:
        yield
    except _Refused:
        raise
    except Exception as error:  # a model may raise anything
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{who} cannot be used on two short rows, with nothing but ids or pixels and a mask: {first} "
            "If it needs a setting, make it in a (model, processor) pair; else choose another backbone."
        ) from error


def short_rows(model: Any, processor: Any = None) -> tuple[Tensor, Tensor | None]:
    """Two rows of nine and five tokens, or two random images of the size that the processor makes."""
    config, generator = model.config, torch.Generator().manual_seed(0)
    weight = next(model.parameters())
    if getattr(model, "main_input_name", "input_ids") == "pixel_values":
        own = None if processor is None else sides_of(processor)
        height, width = own or _sides(getattr(config, "image_size", 224)) or (224, 224)
        shape = (2, getattr(config, "num_channels", 3), height, width)
        return torch.randn(shape, generator=generator).to(weight), None
    limit = getattr(config, "max_position_embeddings", None) or 9
    n = min(9, limit) if limit > 0 else 9
    special = {v for k, v in vars(config).items() if k.endswith("token_id") and isinstance(v, int)}
    usable = [
        i for i in range(2, min(getattr(config, "vocab_size", 60), 60)) if i not in special
    ] or [0]
    ids = torch.tensor([[usable[(7 * i + 3 * r) % len(usable)] for i in range(n)] for r in (0, 1)])
    pad = getattr(processor, "pad_token_id", None) if processor is not None else None
    mask = torch.ones_like(ids)
    ids[1, n // 2 + 1 :] = getattr(config, "pad_token_id", 0) or 0 if pad is None else pad
    mask[1, n // 2 + 1 :] = 0
    return ids.to(weight.device), mask.to(weight.device)


def sides_of(processor: Any) -> tuple[int, int] | None:
    """Height and width of what an image processor makes, where it says so."""
    size: Any = None
    for key in ("crop_size", "size"):
        if key == "size" or getattr(processor, "do_center_crop", False):
            size = size or getattr(processor, key, None)
    return _sides(size)


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, tuple | list):
        return int(size[0]), int(size[1])
    get = getattr(size, "get", lambda _: None)
    side = get("shortest_edge") or get("longest_edge")
    pair = get("height") or side, get("width") or side
    return None if None in pair else (int(pair[0]), int(pair[1]))  # type: ignore[arg-type]


@contextmanager
def _watching(model: nn.Module, seen: dict[str, set[str]]) -> Iterator[tuple[Any, list[int]]]:
    """Copy a model around its weights; note what becomes of its linear maps, and count patches."""
    results: list[tuple[str, Tensor]] = []
    patches: list[int] = []
    tensors = [*model.parameters(), *model.buffers()]
    watched = copy.deepcopy(model, {id(t): t for t in tensors})
    for name, module in watched.named_modules():
        if is_linear(module):
            module.__class__ = _watched(type(module), name, seen, results)
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, out: patches.append(out[0, 0].numel()))
    yield watched, patches
    seen["written"].update(name for name, result in results if result._version)


def _watched(kind: Any, name: str, seen: Any, results: list[tuple[str, Tensor]]) -> Any:
    inside: list[bool] = []

    def forward(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        inside.append(True)
        result: Tensor = kind.forward(self, *args, **kwargs)
        inside.clear()
        if isinstance(result, Tensor):  # a router may give more
            seen["called"].add(name)
            results.append((name, result))
        return result

    def weight(self: Any) -> Any:
        if not inside:
            seen["read"].add(name)
        return self._parameters["weight"]

    return type(kind.__name__, (kind,), {"forward": forward, "weight": property(weight)})


def run_model(model: Any, inputs: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Run a model's forward pass; give its last hidden state.

    `inputs` are token ids (b, t), token ids over token types (b, 2, t), or pixel values (b, c, h, w).
    A row without any token attends to its first, padded place: softmax over nothing would be NaN,
    in the gradient too. Pooling leaves such a row out.
    """
    types = None
    if inputs.ndim == 3:
        inputs, types = inputs.unbind(1)
    if inputs.ndim == 2 and inputs.shape[1] == 0:
        return torch.zeros(
            *inputs.shape, model.config.hidden_size, dtype=model.dtype, device=inputs.device
        )
    n = inputs.shape[1]
    if inputs.ndim == 2 and n < (least := getattr(model.config, "downsampling_rate", 1)):
        attention_mask = torch.ones_like(inputs) if attention_mask is None else attention_mask
        more = (0, least - n)  # it makes one of so many tokens
        return run_model(model, F.pad(inputs, more), F.pad(attention_mask, more))[:, :n]
    named: dict[str, Any] = {getattr(model, "main_input_name", "input_ids"): inputs}
    accepted = inspect.signature(model.forward).parameters
    if attention_mask is not None and "attention_mask" in accepted:
        mask = attention_mask.clone()
        mask[:, 0] = 1
        named["attention_mask"] = mask
    typed = types is not None and getattr(model.config, "type_vocab_size", 2) > 1
    if typed and "token_type_ids" in accepted:
        named["token_type_ids"] = types
    if "interpolate_pos_encoding" in accepted:
        # Other sizes than the pretrained one; at that size this is no interpolation.
        named["interpolate_pos_encoding"] = inputs.ndim == 4
    if "use_cache" in accepted:
        named["use_cache"] = False
    hidden: Tensor = model(**named).last_hidden_state
    return hidden

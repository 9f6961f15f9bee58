"""From one vector per token to one vector per text: mean, first token, last token.

Every rule reads only the tokens the mask allows, by selection and not by multiplication, so that
whatever a model leaves at a padded place (NaN included) cannot reach the result.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

POOLINGS = ("mean", "cls", "last")

# sentence-transformers' names for what sksve can do; its other modes are refused.
_SENTENCE_TRANSFORMERS = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last",
}


def pool_tokens(hidden: Tensor, attention_mask: Tensor | None, pooling: str) -> Tensor:
    """Pool token vectors into one vector a row.

    Parameters
    ----------
    hidden : Tensor of shape (b, t, d)
        One vector a token; b rows, t tokens, d features.
    attention_mask : Tensor of shape (b, t) or None
        1 for a token, 0 for padding; None: every place is a token.
    pooling : {"mean", "cls", "last"}
        Mean over the tokens, the first token, or the last token.

    Returns
    -------
    Tensor of shape (b, d)
        Finite wherever the tokens' vectors are; a row without any token gives zeros.

    Raises
    ------
    ValueError
        If `pooling` is not one of the three, or the shapes do not agree.

    Examples
    --------
    >>> import torch
    >>> from sksve.backbones import pool_tokens
    >>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> mask = torch.tensor([[1, 1, 0]])
    >>> [pool_tokens(hidden, mask, how).item() for how in ("mean", "cls", "last")]
    [2.0, 1.0, 3.0]
    """
    _check_pooling(pooling, allowed=POOLINGS)
    b, t, d = hidden.shape
    if attention_mask is None:
        attention_mask = torch.ones(b, t, dtype=torch.long, device=hidden.device)
    if attention_mask.shape != (b, t):
        raise ValueError(
            f"attention_mask must have one entry per token, shape {(b, t)}. "
            f"Got shape {tuple(attention_mask.shape)} instead."
        )
    if t == 0:
        return hidden.new_zeros(b, d)
    real = attention_mask.to(torch.bool)
    if pooling == "mean":
        kept = torch.where(real.unsqueeze(-1), hidden, hidden.new_zeros(()))
        count = real.sum(dim=1, keepdim=True).clamp(min=1).to(hidden.dtype)
        return kept.sum(dim=1) / count
    if pooling == "cls":
        place = real.to(torch.int8).argmax(dim=1)
    else:
        place = t - 1 - real.flip(1).to(torch.int8).argmax(dim=1)
    chosen = hidden[torch.arange(b, device=hidden.device), place]
    return torch.where(real.any(dim=1, keepdim=True), chosen, hidden.new_zeros(()))


def resolve_pooling(pooling: str, folder: Path | None) -> str:
    """Turn "auto" into what sentence-transformers files say, if there are any; check any other choice."""
    _check_pooling(pooling, allowed=("auto", *POOLINGS))
    if pooling == "auto" and folder is not None:
        return _sentence_transformers_pooling(folder) or "auto"
    return pooling


def _check_pooling(pooling: str, *, allowed: tuple[str, ...]) -> None:
    if pooling not in allowed:
        raise ValueError(
            f"The 'pooling' parameter must be one of {list(allowed)}. Got {pooling!r} instead."
        )


def _sentence_transformers_pooling(folder: Path) -> str | None:
    """Pooling of modules.json; None where there is none. What sksve would have to drop is refused."""
    index = folder / "modules.json"
    if not index.is_file():
        return None
    pooling = None
    cure = (
        "To use the token vectors without it, choose yourself how they are pooled: pooling='mean'."
    )
    for module in _read_json(index, list):
        kind = str(module.get("type", "")) if isinstance(module, dict) else ""
        kind = kind.rpartition(".")[2]
        if kind in ("", "Transformer", "Dropout", "Normalize"):
            continue  # a head takes vectors of any length
        if kind != "Pooling":
            raise ValueError(f"{index} asks for a layer {kind} that sksve does not have. {cure}")
        file = folder / str(module.get("path", "")) / "config.json"
        # A path written by a stranger must stay in the folder; links of the hub's cache may leave it.
        if not Path(os.path.normpath(file)).is_relative_to(os.path.normpath(folder)):
            raise ValueError(f"{index} names the path {module['path']!r:.80}, outside its folder.")
        if file.is_file():
            pooling = _pooling_of(_read_json(file, dict), file)
    settings = folder / "config_sentence_transformers.json"
    if settings.is_file():
        values = _read_json(settings, dict)
        prompts, name = values.get("prompts"), values.get("default_prompt_name")
        prompt = prompts.get(name) if isinstance(prompts, dict) and name is not None else None
        if prompt:
            raise ValueError(
                f"{settings} asks for {prompt!r:.80} before each text. Put it there yourself, and "
                f"choose how token vectors are pooled: pooling={pooling or 'mean'!r}."
            )
    return pooling


def lowers_case(folder: Path | None) -> bool:
    """Whether the sentence-transformers files of a folder want texts in lower case."""
    file = None if folder is None else folder / "sentence_bert_config.json"
    if file is None or not file.is_file():
        return False
    return _read_json(file, dict).get("do_lower_case") is True


def _read_json(file: Path, kind: type) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}.") from error
    if not isinstance(content, kind):
        raise ValueError(f"{file} must hold a {kind.__name__}. Got a {type(content).__name__}.")
    return content


def _pooling_of(settings: dict[str, Any], file: Path) -> str:
    named = settings.get("pooling_mode")
    if named is None:
        start = "pooling_mode_"
        on = [k.removeprefix(start) for k, v in settings.items() if k.startswith(start) and v]
        modes = [k.removesuffix("_tokens") if k == "mean_tokens" else k for k in on]
    else:
        modes = [str(mode) for mode in named] if isinstance(named, list) else [str(named)]
    if len(modes) == 1 and modes[0] in _SENTENCE_TRANSFORMERS:
        return _SENTENCE_TRANSFORMERS[modes[0]]
    raise ValueError(
        f"{file} asks for the pooling {' + '.join(modes) or 'none'}, which sksve does not have. "
        f"Choose one of {list(POOLINGS)} yourself, for example pooling='mean'."
    )

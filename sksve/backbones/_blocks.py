"""Find the base model of a transformers model, and the list of its transformer blocks."""

from typing import Any

from torch import nn

__all__ = ["base_model", "find_blocks"]


def base_model(model: nn.Module) -> nn.Module:
    """Return a model without its task head; a model without a head is given back as it is."""
    prefix = getattr(model, "base_model_prefix", "")
    inner = getattr(model, prefix, None) if prefix else None
    return inner if isinstance(inner, nn.Module) else model


def find_blocks(model: nn.Module) -> tuple[str, int]:
    """Find the list of transformer blocks of a base model.

    Parameters
    ----------
    model : nn.Module
        A base model with a transformers ``config``.

    Returns
    -------
    name : str
        Dotted name of the ``nn.ModuleList``.
    n_blocks : int
        Its length.

    Raises
    ------
    ValueError
        If there is not exactly one list with as many modules as the configuration has layers:
        encoder-decoder models, models that share one block (ALBERT), models in stages (Swin).
    """
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


def _is_uniform(blocks: nn.ModuleList) -> bool:
    """Whether every module is its own object of one class."""
    return len({id(b) for b in blocks}) == len(blocks) and len({type(b) for b in blocks}) == 1

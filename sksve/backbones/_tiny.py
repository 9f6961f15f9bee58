"""Tiny random backbones with a working offline processor: for tests, docs and trying out."""

import string
from collections.abc import Iterable
from typing import Any

import torch

_BERT_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ROBERTA_TOKENS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
_DECODER_TOKENS = {"unk": "<unk>", "eos": "</s>"}  # no padding token, as GPT-2 and Llama come

# family -> (special tokens in the order of their ids, transformers' model_type)
TINY_FAMILIES: dict[str, tuple[dict[str, str], str]] = {
    "bert": (_BERT_TOKENS, "bert"),
    "roberta": (_ROBERTA_TOKENS, "roberta"),
    "distilbert": (_BERT_TOKENS, "distilbert"),
    "mpnet": (_ROBERTA_TOKENS, "mpnet"),
    "electra": (_BERT_TOKENS, "electra"),
    "deberta-v2": (_BERT_TOKENS, "deberta-v2"),
    "gpt2": (_DECODER_TOKENS, "gpt2"),
    "llama": (_DECODER_TOKENS, "llama"),
}

# family -> image processor (with torchvision or, by this name and "Pil", without)
TINY_VISION_FAMILIES = {"vit": "ViTImageProcessor", "dinov2": "BitImageProcessor"}

_WORDS = (
    "a an and as at bad best boring but dull film for fun good great hated i in is it loved most "
    "movie never no not of on poor story than that the this to very was with worst"
)


def make_tiny_backbone(
    family: str = "bert",
    *,
    hidden_size: int = 16,
    n_blocks: int = 2,
    n_heads: int = 2,
    intermediate_size: int = 32,
    max_positions: int = 128,
    image_size: int = 28,
    vocab: Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    random_state: int = 0,
) -> tuple[Any, Any]:
    """Make a small random transformer and its tokenizer or image processor, without any download.

    Parameters
    ----------
    family : str, default="bert"
        "bert", "roberta", "distilbert", "mpnet", "electra", "deberta-v2", "gpt2" or "llama"; of
        vision, "vit" or "dinov2".
    hidden_size : int, default=16
        Width of the hidden states; a multiple of `n_heads`.
    n_blocks : int, default=2
        Number of transformer blocks.
    n_heads : int, default=2
        Number of attention heads.
    intermediate_size : int, default=32
        Width inside the MLP (of DINOv2, the nearest multiple of `hidden_size`).
    max_positions : int, default=128
        Longest text in tokens, special tokens included.
    image_size : int, default=28
        Height and width in pixels to which images are resized, a multiple of 4: a patch is a quarter
        as high and wide.
    vocab : iterable of str or None, default=None
        Words that get a token of their own; None: some forty common English words. Every other word
        of printable ASCII becomes one token a character; anything else is unknown.
    dtype : torch.dtype, default=torch.float32
        Type of the weights.
    random_state : int, default=0
        Seed of the weights. No global random state is read or moved.

    Returns
    -------
    model : transformers model
        The base model, in eval mode. Its dropout rates are the family's usual 0.1.
    processor : transformers tokenizer or image processor
        The tokenizer is case-sensitive. The decoders' has an end-of-text token and no padding token.

    Raises
    ------
    ValueError
        If `family` is unknown, `hidden_size` is no multiple of `n_heads`, or `image_size` none of 4.

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> model, tokenizer = make_tiny_backbone("bert")
    >>> tokenizer.tokenize("the film 4B")
    ['the', 'film', '4', '##B']
    """
    families = [*TINY_FAMILIES, *TINY_VISION_FAMILIES]
    if family not in families:
        raise ValueError(
            f"The 'family' parameter must be one of {families}. Got {family!r} instead."
        )
    if hidden_size % (2 * n_heads if family == "llama" else n_heads):
        raise ValueError(
            f"hidden_size must be a multiple of n_heads (of 2 * n_heads for llama). "
            f"Got hidden_size={hidden_size} and n_heads={n_heads} instead."
        )
    if family in TINY_VISION_FAMILIES:
        if image_size < 4 or image_size % 4:
            raise ValueError(
                f"image_size must be a positive multiple of 4. Got {image_size!r} instead."
            )
        sizes = {
            "hidden_size": hidden_size,
            "num_hidden_layers": n_blocks,
            "num_attention_heads": n_heads,
            "intermediate_size": intermediate_size,
            **_vision_sizes(family, hidden_size, intermediate_size, image_size),
        }
        model = _random_model(family, sizes, random_state).to(dtype)
        return model, _tiny_processor(family, image_size)
    special, model_type = TINY_FAMILIES[family]
    words = tuple(_WORDS.split()) if vocab is None else tuple(vocab)
    tokenizer = _tokenizer(special, words, typed=family in ("bert", "electra"))
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden_size,
        "num_hidden_layers": n_blocks,
        "num_attention_heads": n_heads,
        "intermediate_size": intermediate_size,
        "max_position_embeddings": max_positions,
        **_of_family(family, hidden_size, intermediate_size, max_positions),
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.eos_token_id or tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return _random_model(model_type, sizes, random_state).to(dtype), tokenizer


def _of_family(family: str, hidden_size: int, inner: int, max_positions: int) -> dict[str, Any]:
    """Settings in which a family differs from the rest."""
    if family in ("roberta", "mpnet"):  # positions are counted from pad_token_id + 1 = 2
        return {"max_position_embeddings": max_positions + 2}
    if family == "distilbert":
        return {"hidden_dim": inner}
    if family == "electra":
        return {"embedding_size": hidden_size // 2}
    if family == "deberta-v2":
        return {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
        }
    if family == "gpt2":
        return {"n_inner": inner}
    return {}


def _random_model(model_type: str, sizes: dict[str, Any], random_state: int) -> Any:
    """Build a model and draw its weights from a generator of its own."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(model_type, **sizes)
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_config(config)
    generator = torch.Generator().manual_seed(random_state)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 1:  # biases and normalisation, off their trivial values
                weight.add_(0.1 * noise)
            elif weight.ndim == 4:  # patches
                weight.copy_(noise / weight[0].numel() ** 0.5)
            elif "embed" in name or name.split(".")[0] in ("wte", "wpe"):
                weight.copy_(noise)
            else:
                weight.copy_(noise / weight.shape[1] ** 0.5)
    return model.eval()


def _tokenizer(special: dict[str, str], words: tuple[str, ...], *, typed: bool) -> Any:
    """WordPiece over given words and single characters, built in memory."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = [c for c in string.printable if not c.isspace()]
    entries = [*special.values(), *characters, *("##" + c for c in characters), *words]
    ids = {token: i for i, token in enumerate(dict.fromkeys(entries))}
    backend = Tokenizer(
        models.WordPiece(ids, unk_token=special["unk"], max_input_chars_per_word=1000)
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if "cls" in special:
        cls, sep = special["cls"], special["sep"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} $B:1 {sep}:1" if typed else f"{cls} $A {sep} $B {sep}",
            special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right",
        model_input_names=[
            "input_ids",
            *(["token_type_ids"] if typed else []),
            "attention_mask",
        ],
        **{f"{role}_token": token for role, token in special.items()},
    )


def _tiny_processor(family: str, image_size: int) -> Any:
    """Make the image processor of a family: everything is resized to a square."""
    import transformers

    name = TINY_VISION_FAMILIES[family]
    without = getattr(transformers, f"{name}Pil", None)
    kind = getattr(transformers, name) if without is None else without
    return kind(
        size={"height": image_size, "width": image_size},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def _vision_sizes(family: str, hidden_size: int, inner: int, image_size: int) -> dict[str, Any]:
    """Settings of the configuration that only vision models have; four by four patches."""
    sizes: dict[str, Any] = {"image_size": image_size, "patch_size": image_size // 4}
    if family == "dinov2":
        sizes["mlp_ratio"] = max(1, round(inner / hidden_size))
    return sizes

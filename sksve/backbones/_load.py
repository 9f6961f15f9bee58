"""From a resolved backbone to a model whose modules may be replaced, frozen and without dropout.

The weights are in memory once: those of a folder are shared by all that was loaded from it, those of a
(model, processor) pair are copied once, so that the user's own may change. Whoever adapts a model takes
a twin of it (:meth:`LoadedBackbone.twin`), whose modules are its own and whose weights are shared.
"""

import copy
import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sksve._forks import ForkSafeLock
from sksve.adapters import mark_frozen
from sksve.backbones._plan import count_positions
from sksve.backbones._pooling import lowers_case, resolve_pooling
from sksve.backbones._probe import Seen, look, sides_of
from sksve.backbones._resolve import ResolvedBackbone, base_model, model_class

_SHARD = re.compile(r"[\w.-]+\.safetensors")
_KEPT = 2  # loaded folders kept in memory: a search reads a backbone once, not once a candidate
_cache: OrderedDict[tuple[Any, ...], tuple[nn.Module, Any]] = OrderedDict()
_lock = ForkSafeLock()


@dataclass
class LoadedBackbone:
    """A loaded backbone: its modules may be replaced; its weights are shared, and never changed."""

    # The base model (no task head), on the CPU, in eval mode; no parameter requires a gradient, and every
    # dropout rate is 0, so that no call of ``train()`` can wake dropout.
    model: nn.Module
    processor: Any  # pads on the right, has a padding token, cuts nothing by itself
    pooling: str  # "mean", "cls" or "last": how token vectors become one vector
    hidden_size: int  # width of that vector
    # Longest input in tokens, special tokens included; None: no limit known. The tokenizer's own
    # ``model_max_length`` is advice of its maker, often wrong, and is not looked at.
    max_positions: int | None
    name: str  # what the user gave
    source: str  # where it was found, as in ResolvedBackbone
    dropout_rates: dict[str, float] = field(default_factory=dict)  # before, by dotted name
    seen: Seen | None = None  # what forward passes show
    image_size: int | None = None  # of every image; None: what the processor does

    def twin(self) -> "LoadedBackbone":
        """Return a backbone with modules of its own around the same weights."""
        return replace(self, model=_around_weights_of(self.model))


def load_backbone(
    resolved: ResolvedBackbone,
    *,
    pooling: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> LoadedBackbone:
    """Load a backbone, or copy the one that was given.

    Silent, and no global random state moves. A folder is read once for each state of its files
    (by size and modification time). Code that lies beside weights is never run.

    Parameters
    ----------
    resolved : ResolvedBackbone
        What :func:`resolve_backbone` gave.
    pooling : {"auto", "mean", "cls", "last"} or None, default=None
        How token vectors become one. None: as `resolved` says.
    dtype : torch.dtype, default=torch.float32
        Type of every floating parameter and buffer.

    Raises
    ------
    ValueError
        If `pooling` or the image size is unknown or cannot be had, or the folder's weights do not
        fill the model.

    Examples
    --------
    >>> from sksve.backbones import load_backbone, make_tiny_backbone, resolve_backbone
    >>> backbone = load_backbone(resolve_backbone(make_tiny_backbone("roberta")))
    >>> backbone.pooling, backbone.hidden_size, backbone.max_positions
    ('mean', 16, 128)
    """
    if resolved.pair is None and resolved.folder is None:
        raise ValueError("resolved must have a folder or a pair; make it with resolve_backbone().")
    config = resolved.config
    pooling = resolve_pooling(resolved.pooling if pooling is None else pooling, resolved.folder)
    _check_processor(resolved)
    _check_image_size(resolved, config)
    if resolved.pair is not None:
        model, processor = resolved.pair
        model = _around_weights_of(base_model(model), dtype, copied=True)
    else:
        model, processor = _loaded_folder(Path(resolved.folder or ""))
        model = _around_weights_of(model, dtype)
    processor = _usable_processor(copy.deepcopy(processor), lower=lowers_case(resolved.folder))
    rates = _silence_dropout(model)
    model.eval()
    if dtype == torch.float64 and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # torch's grouped product has no float64
    _check_vocabulary(model, processor)
    size, smaller = _settled_size(resolved, processor, config), None
    if size is not None:
        smaller = _with_image_size(processor, size)
    try:
        seen = look(model, smaller or processor)
    except ValueError:
        if size is None or size == resolved.image_size:
            raise
        size, seen = None, look(model, processor)  # it takes images of one size only
    processor = processor if size is None else smaller
    return LoadedBackbone(
        model=model,
        processor=processor,
        pooling=seen.pooling if pooling == "auto" else pooling,
        hidden_size=seen.width,
        max_positions=count_positions(model),
        name=resolved.name,
        source=resolved.source,
        dropout_rates=rates,
        seen=seen,
        image_size=size,
    )


def _around_weights_of(
    model: nn.Module, dtype: torch.dtype | None = None, *, copied: bool = False
) -> Any:
    """Copy a model's modules around its frozen weights, shared unless they must be `copied`."""

    def taken(tensor: Tensor) -> Tensor:
        wanted = dtype if tensor.is_floating_point() else None
        own = tensor.detach().to("cpu", wanted, copy=copied)
        mark_frozen(own)
        return own

    # A new parameter around the same numbers: moving one to another device leaves the other.
    new: dict[int, Any] = {
        id(p): nn.Parameter(taken(p), requires_grad=False) for p in model.parameters()
    }
    new |= {id(b): taken(b) for b in model.buffers()}
    twin = copy.deepcopy(model, new)  # what is in there counts as copied already
    for name, module in list(twin.named_modules()):
        if name and hasattr(module, "_orig_mod"):  # of torch.compile
            parent, _, child = name.rpartition(".")
            setattr(twin.get_submodule(parent), child, module._orig_mod)
    return twin


def _check_processor(resolved: ResolvedBackbone) -> None:
    """Refuse a pair of a vision model with a tokenizer, or of a language model without one."""
    if resolved.pair is None:
        return
    vision, processor = resolved.is_vision, resolved.pair[1]
    of_language = hasattr(processor, "pad_token")
    if of_language if vision else hasattr(processor, "preprocess") and not of_language:
        wanted, kind = ("an image processor", "vision") if vision else ("a tokenizer", "language")
        raise ValueError(
            f"The second of a (model, processor) pair must be {wanted} for {resolved.name}, a model of "
            f"{kind}. Got an object of class {type(processor).__name__} instead."
        )


def _check_image_size(resolved: ResolvedBackbone, config: Any) -> None:
    if resolved.image_size is None or isinstance(resolved.image_size, str):
        return
    if not resolved.is_vision:
        raise ValueError(
            f"image_size needs a vision backbone (ViT, DINOv2). Got {resolved.name!r}, whose "
            f"model type is {config.model_type!r}."
        )
    patch = config.patch_size
    if resolved.image_size < patch or resolved.image_size % patch:
        raise ValueError(
            f"The 'image_size' parameter must be a positive multiple of {patch}, the patch size of "
            f"{resolved.name!r}. Got {resolved.image_size!r} instead."
        )


def _settled_size(resolved: ResolvedBackbone, processor: Any, config: Any) -> int | None:
    """Size of the images; None: what the processor does, as it is where "auto" finds no smaller one."""
    if not isinstance(resolved.image_size, str):
        return resolved.image_size
    patch, sides = getattr(config, "patch_size", None), sides_of(processor)
    if resolved.side is None or not isinstance(patch, int) or sides is None:
        return None
    size = max(4, -(-resolved.side // patch)) * patch
    return size if size < min(sides) else None


def _with_image_size(processor: Any, image_size: int) -> Any:
    """Make a processor that resizes every image to a square, without cropping."""
    size = {"height": image_size, "width": image_size}
    settings = {**processor.to_dict(), "do_resize": True, "size": size, "do_center_crop": False}
    return type(processor).from_dict(settings)


def _loaded_folder(folder: Path) -> tuple[Any, Any]:
    """Return the model and processor of a folder, from memory if its files are the same as then."""
    key = (str(folder.resolve()), *_identity(folder))
    with _lock:
        if key not in _cache:
            for stale in [k for k in _cache if k[0] == key[0]]:
                del _cache[stale]
            model, processor = _read(folder)
            # The tensors may be a mapping of the file, which others may write to.
            _cache[key] = _around_weights_of(model, copied=True), processor
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]


def _identity(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and modification time of every file in a folder and its sub-folders."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            yield str(path.relative_to(folder)), status.st_size, status.st_mtime_ns


def _read(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

    local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    weights: dict[str, Any] = {"use_safetensors": True, "dtype": torch.float32}
    _check_shards(folder)
    with _quiet(), torch.random.fork_rng(devices=[]):
        try:
            kind: Any = model_class(AutoConfig.from_pretrained(str(folder), **local))  # nosec B615
            model, info = kind.from_pretrained(  # nosec B615 # a local folder
                str(folder), output_loading_info=True, **weights, **local
            )
        except Exception as error:  # transformers raises a dozen kinds
            raise ValueError(
                f"The backbone in {folder} cannot be loaded: {error} A folder written by "
                "save_pretrained() of a transformers model can."
            ) from error
        vision = model.main_input_name == "pixel_values"
        kind = AutoImageProcessor if vision else AutoTokenizer
        _check_processor_files(folder, vision)
        try:
            processor = kind.from_pretrained(str(folder), **local)
        except Exception as error:  # the tokenizers' library raises plain Exception
            raise ValueError(
                f"The {'image processor' if vision else 'tokenizer'} in {folder} cannot be loaded: "
                f"{error} A folder written by its save_pretrained() can."
            ) from error
    model = base_model(model)
    missing = {str(name) for name in info["missing_keys"]}
    if missing and all(name.startswith("pooler.") for name in missing):
        model.pooler = None  # it would be random, and is not used
    elif missing:
        raise ValueError(
            f"The weights in {folder} do not fill the model {type(model).__name__}: "
            f"{len(missing)} parameters are missing, such as {', '.join(sorted(missing)[:3])}. "
            "They would be random. Does its config.json belong to these weights?"
        )
    return model, processor


_WORDS = ("tokenizer*", "vocab*", "merges.txt", "*.model", "*.spm", "*.tiktoken")
_PICTURES = ("preprocessor_config.json", "processor_config.json", "image_processor*")


def _check_processor_files(folder: Path, vision: bool) -> None:
    """Transformers invents an empty vocabulary where there are no files."""
    if any(file.is_file() for p in (_PICTURES if vision else _WORDS) for file in folder.glob(p)):
        return
    what, kind = (
        ("image processor", "AutoImageProcessor") if vision else ("tokenizer", "AutoTokenizer")
    )
    raise ValueError(
        f"The folder {folder} has a model and no {what}. Save the one it was trained with there: "
        f"transformers.{kind}.from_pretrained(NAME).save_pretrained({str(folder)!r})."
    )


def _check_shards(folder: Path) -> None:
    """Check that an index of shards names safetensors that lie beside it: it may name a pickle."""
    for index in folder.glob("*.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{index} cannot be read: it is not an index of shards.") from error
        unreadable = [s for s in shards if not isinstance(s, str) or not _SHARD.fullmatch(s)]
        if unreadable:
            raise ValueError(
                f"{index} cannot be loaded: it names {unreadable[0]!r:.80}, but weights are read from "
                "safetensors files beside it only."
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' log and progress bars; put both back."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _check_vocabulary(model: Any, processor: Any) -> None:
    """Refuse a tokenizer whose ids are not the rows of the model's embedding; pad with a row it has."""
    try:
        n_rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:
        return
    if n_rows is None or not hasattr(processor, "get_vocab"):
        return
    words = processor.get_vocab()
    pad = processor.pad_token
    ids = [i for word, i in words.items() if word != pad] or [0]
    cure = None
    if max(ids) >= n_rows:
        cure = (
            "If tokens were added, resize the model: model.resize_token_embeddings(len(tokenizer))."
        )
    elif len(words) < 0.9 * n_rows:
        cure = "Give the tokenizer that the model was trained with (its files may be missing)."
    if cure:
        raise ValueError(
            f"The tokenizer has ids up to {max(ids)} ({len(words)} tokens), but {type(model).__name__} has "
            f"embeddings for {n_rows}. {cure}"
        )
    if words.get(pad, 0) >= n_rows:  # masked, so any will do
        processor.pad_token = next(word for word, i in words.items() if i == max(ids))


def _usable_processor(processor: Any, *, lower: bool = False) -> Any:
    """Make a copied tokenizer pad on the right, with a token, and cut nothing unasked."""
    if not hasattr(processor, "pad_token"):
        return processor  # of images
    if processor.pad_token is None:
        # Padding is masked, so any token will do.
        for role in ("eos_token", "unk_token", "bos_token"):
            if getattr(processor, role, None) is not None:
                processor.pad_token = getattr(processor, role)
                break
        else:
            raise ValueError(
                "The tokenizer has neither a padding token nor an end-of-text, unknown or start "
                "token to pad with. Set one: tokenizer.pad_token = '...'."
            )
    processor.padding_side = "right"
    processor.model_max_length = int(1e30)  # max_positions is the limit; no advice in the log
    backend = getattr(processor, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    if lower:
        from tokenizers import normalizers

        if backend is None:
            raise ValueError("do_lower_case needs a fast tokenizer: give texts in lower case.")
        before = [n for n in (backend.normalizer,) if n is not None]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
    return processor


def _silence_dropout(model: nn.Module) -> dict[str, float]:
    """Set every dropout rate to 0, those of functional dropout too; return what they were."""
    rates = {}
    for name, module in model.named_modules():
        for attribute, value in list(vars(module).items()):
            is_rate = "drop" in attribute or (attribute == "p" and "Drop" in type(module).__name__)
            if is_rate and isinstance(value, float):
                rates[f"{name}.{attribute}".lstrip(".")] = value
                setattr(module, attribute, 0.0)
    return rates

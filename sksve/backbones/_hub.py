"""The Hugging Face cache and hub, as two places among others where a backbone may lie."""

import os
from pathlib import Path

__all__ = ["download_from_hub", "find_in_hub_cache", "hub_cache_folder", "hub_is_offline"]

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


def holds_model(folder: Path) -> bool:
    """Whether a folder has a configuration and safetensors: weights in a pickle are never read."""
    weights = ("*.safetensors", "*.safetensors.index.json")
    return (folder / "config.json").is_file() and any(any(folder.glob(w)) for w in weights)

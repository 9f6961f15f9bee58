"""Upload a saved folder to the Hugging Face hub."""

from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["push_folder"]


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: Any = None,
    revision: str | None = None,
    commit_message: str = "Upload a model saved with sksve",
) -> str:
    """Upload a saved folder as one commit; the repository is made if it does not exist.

    Parameters
    ----------
    folder : pathlib.Path
    repo_id : str
        ``"user/name"``.
    private : bool, optional
        For a new repository; None: the user's or organisation's default.
    token : str or bool, optional
        None: the one huggingface_hub has stored.
    revision : str, optional
        Branch.
    commit_message : str

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    """
    api = _hub().HfApi(token=token)
    api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
    done = api.upload_folder(
        repo_id=repo_id,
        repo_type="model",
        folder_path=str(folder),
        commit_message=commit_message,
        revision=revision,
        delete_patterns=["members-*.safetensors"],  # the tensors of the model this one replaces
    )
    return str(getattr(done, "commit_url", done))


def check_hub() -> None:
    """Check, before anything slow, that huggingface_hub is there.

    Raises
    ------
    ImportError
    """
    _hub()


def _hub() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(
            "push_to_hub needs huggingface_hub: pip install huggingface_hub. Or save_pretrained() into "
            "a folder and upload it in another way."
        ) from error

"""The public methods of whatever can be saved into a folder."""

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from sksve import __version__
from sksve._exceptions import PersistenceError
from sksve.persistence._card import CardFacts, check_metrics, model_card
from sksve.persistence._folder import read_folder, write_folder
from sksve.persistence._values import SavedModel, class_named


class Savable:
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub``; a subclass says what is saved."""

    @abstractmethod
    def _to_saved(self) -> SavedModel:
        """Everything that is saved; raise on what cannot be."""

    @abstractmethod
    def _card_facts(self, saved: SavedModel, metrics: Mapping[str, float]) -> CardFacts:
        """Tell what the model card says."""

    @classmethod
    @abstractmethod
    def _from_saved(cls, saved: SavedModel, backbone: Any, device: Any, folder: Path) -> Self:
        """Make the fitted object again, or raise."""

    def save_pretrained(self, folder: Any, *, metrics: Mapping[str, float] | None = None) -> Path:
        """Save the fitted classifier into a folder: safetensors, strict JSON and a model card.

        The folder holds the members, not the backbone, which is found again by its name or given to
        :meth:`from_pretrained`. It is replaced in one step: a process killed at any moment leaves
        the model that was there, or the new one.

        Parameters
        ----------
        folder : str or path-like
            A new or empty folder, or one with a saved model, which is replaced.
        metrics : mapping of str to float, default=None
            What you have measured, for the model card.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        sksve.PersistenceError
            If something cannot be saved: callbacks, a serializer other than ``TabularToText``, a
            parameter that is an object, members that are not finite. Nothing is written then.
        FileExistsError
            If `folder` holds something else.
        OSError
            If `folder` cannot be written; a model that was there is as it was.

        See Also
        --------
        from_pretrained : The way back.
        push_to_hub : Save on the Hugging Face hub.

        Notes
        -----
        Loaded again in the same environment, the classifier gives the same bits. Where another
        version of LAPACK finds other signs of singular vectors, or other vectors of equal singular
        values, these are turned back, and probabilities are equal to rounding.

        Held are the parameters, ``classes_`` with its dtype, the learned attributes, a fitted
        ``TabularToText``, and what ``warm_start`` needs. skorch's own ``net_.history`` and the
        optimizer are not; ``history_`` is. The `device` is chosen anew.

        Examples
        --------
        >>> import tempfile
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> backbone = make_tiny_backbone()
        >>> clf = SVEClassifier(backbone, n_members=2, max_epochs=1, random_state=0)
        >>> texts = ["good film", "bad film"] * 4
        >>> _ = clf.fit(texts, [1, 0] * 4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = clf.save_pretrained(folder, metrics={"accuracy": 0.9})
        ...     again = SVEClassifier.from_pretrained(path, backbone=backbone)
        >>> bool((again.predict_proba(texts) == clf.predict_proba(texts)).all())
        True
        """
        check_is_fitted(self)
        metrics = check_metrics(metrics)
        saved = self._to_saved()
        card = model_card(self._card_facts(saved, metrics))
        return write_folder(folder, saved, card=card, version=__version__)

    @classmethod
    def from_pretrained(cls, folder: Any, *, backbone: Any = None, device: Any = "auto") -> Self:
        """Load a classifier that :meth:`save_pretrained` has saved.

        Every byte is checked before it is used, no pickle is read and no code in the folder runs. The
        backbone must have the weights the members were trained on.

        Parameters
        ----------
        folder : str or path-like
            Where the model was saved.
        backbone : str, path-like or (model, processor), default=None
            The backbone, if it was fitted as a pair, or is found by another name now.
        device : str or torch.device, default="auto"
            As the parameter of the classifier, which it becomes.

        Returns
        -------
        estimator
            Fitted.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        sksve.IntegrityError
            If a file is missing, truncated or changed.
        sksve.PersistenceError
            If the folder holds no such model, or one written by a newer sksve, the backbone must be
            given or is another one, or the saved tensors do not fit it.
        sksve.BackboneNotFoundError
            If the backbone's name leads nowhere; give `backbone`.
        """
        saved = read_folder(folder)
        if saved.class_name != cls.__name__:
            raise PersistenceError(
                f"{folder} holds a {saved.class_name}. Load it with {saved.class_name}."
                f"from_pretrained(), not {cls.__name__}.from_pretrained()."
            )
        return cls._from_saved(saved, backbone, device, Path(folder))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        private: bool | None = None,
        token: Any = None,
        revision: str | None = None,
        commit_message: str = "Upload a model saved with sksve",
    ) -> str:
        """Save the fitted classifier on the Hugging Face hub, with its model card.

        Parameters
        ----------
        repo_id : str
            ``"user/name"``; made if it does not exist.
        metrics : mapping of str to float, default=None
            As in :meth:`save_pretrained`.
        private : bool, default=None
            Whether a new repository is private; None: as the account has it.
        token : str or bool, default=None
            None: the token huggingface_hub has stored.
        revision : str, default=None
            Branch to commit to.
        commit_message : str
            Title of the commit.

        Returns
        -------
        str
            Address of the commit.

        Raises
        ------
        ImportError
            If huggingface_hub is not installed.
        sksve.PersistenceError
            As :meth:`save_pretrained`; nothing is uploaded then.
        """
        check_is_fitted(self)
        try:  # before anything slow
            hub = import_module("huggingface_hub")
        except ImportError as error:
            raise ImportError(
                "push_to_hub needs huggingface_hub: pip install huggingface_hub. Or save_pretrained() "
                "into a folder and upload it in another way."
            ) from error
        with tempfile.TemporaryDirectory() as scratch:
            folder = self.save_pretrained(Path(scratch, "model"), metrics=metrics)
            api = hub.HfApi(token=token)
            api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo_id,
                repo_type="model",
                folder_path=str(folder),
                commit_message=commit_message,
                revision=revision,
                delete_patterns=["members-*.safetensors"],  # of the model this one replaces
            )
        return str(getattr(done, "commit_url", done))


def load(folder: Any, *, backbone: Any = None, device: Any = "auto") -> Any:
    """Load whatever ``save_pretrained`` has saved: the folder says of which class it is.

    Parameters
    ----------
    folder : str or path-like
        Where the model was saved.
    backbone : str, path-like or (model, processor), default=None
        The backbone, if it was fitted as a pair, or is found by another name now.
    device : str or torch.device, default="auto"
        As the parameter of the classifier.

    Returns
    -------
    estimator
        A fitted classifier, or a wrapper of :mod:`sksve.calibration` around one. It prints nothing, whatever
        `verbose` was in fit.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    sksve.IntegrityError
        If a file is missing, truncated or changed.
    sksve.PersistenceError
        If the folder holds no model that this sksve can read, or the backbone must be given or is another.
    sksve.BackboneNotFoundError
        If the backbone's name leads nowhere; give `backbone`.

    Examples
    --------
    >>> import tempfile
    >>> import sksve
    >>> from sksve.backbones import make_tiny_backbone
    >>> backbone = make_tiny_backbone()
    >>> clf = sksve.SVEClassifier(backbone, n_members=2, max_epochs=1, random_state=0)
    >>> clf = clf.fit(["good film", "bad film"] * 4, [1, 0] * 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = sksve.load(clf.save_pretrained(folder), backbone=backbone)
    >>> type(again).__name__
    'SVEClassifier'
    """
    saved = read_folder(folder)
    return class_named(saved.class_name)._from_saved(saved, backbone, device, Path(folder))

"""Save a fitted classifier with members into a folder, and load it again."""

import re
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sksve import __version__
from sksve._exceptions import PersistenceError
from sksve._validation import check_parameters
from sksve.backbones import (
    base_model,
    check_identity,
    describe_config,
    describe_processor,
    load_backbone,
    resolve_backbone,
)
from sksve.estimators._card import card_facts
from sksve.estimators._settings import CONSTRAINTS, Precision, choose_device
from sksve.persistence import (
    SavedModel,
    check_hub,
    check_metrics,
    decode,
    encode,
    model_card,
    push_folder,
    read_folder,
    write_folder,
)
from sksve.preprocessing import TabularToText
from sksve.training import TrainedMembers, describe_frozen, restore_net, saved_state

__all__ = ["SavingMixin"]

# Parameters that are saved in their own way, or told again when the model is loaded.
_APART = {"backbone", "callbacks", "device", "serializer"}
# Learned attributes that follow from the backbone, the parameters and the members.
_DERIVED = {
    "net_", "adapter_report_", "_dtype", "_prediction_autocast", "_tokenizer", "_pad_token_id",
    "_max_length", "_serializer", "_structure",
}  # fmt: skip
_NEEDED = {"classes_", "history_", "n_iter_", "input_kind_", "_seed"}
_LEARNED_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*")


class SavingMixin:
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of the classifiers with members."""

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
        told = check_metrics(metrics)
        saved = self._to_saved()
        card = model_card(card_facts(self, saved.content, told, _versions()))
        return write_folder(folder, saved, card=card, version=__version__)

    @classmethod
    def from_pretrained(cls, folder: Any, *, backbone: Any = None, device: Any = "auto") -> Self:
        """Load a classifier that :meth:`save_pretrained` has saved.

        Every byte is checked before it is used, no pickle is read and no code in the folder runs. The
        backbone must have the weights the members were trained on.

        Parameters
        ----------
        folder : str or path-like
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
        chosen = choose_device(device)
        saved = read_folder(folder)
        if saved.class_name != cls.__name__:
            raise PersistenceError(
                f"{folder} holds a {saved.class_name}. Load it with {saved.class_name}."
                f"from_pretrained(), not {cls.__name__}.from_pretrained()."
            )
        return cls._from_saved(saved, backbone, device, chosen, Path(folder))

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
        check_hub()
        with tempfile.TemporaryDirectory() as scratch:
            folder = self.save_pretrained(Path(scratch, "model"), metrics=metrics)
            return push_folder(
                folder,
                repo_id,
                private=private,
                token=token,
                revision=revision,
                commit_message=commit_message,
            )

    # -- the way there ---------------------------------------------------------------------------

    def _to_saved(self: Any) -> SavedModel:
        """Everything that is saved, as plain values and arrays; whatever cannot be raises."""
        owner = type(self).__name__
        params = self.get_params(deep=False)
        if params.get("callbacks"):
            raise PersistenceError(
                f"The 'callbacks' of {owner} are objects that a saved model cannot hold. They have "
                "done their work: clf.set_params(callbacks=None), then save."
            )
        tensors = saved_state(self.net_.module_)
        broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
        if broken:
            raise PersistenceError(
                f"{owner} has run away in training: {broken[0]} holds NaN or infinity. Fit it again "
                "with a lower lr, head_lr or init_scale."
            )
        attributes: dict[str, np.ndarray] = {}
        learned = {name: value for name, value in self._learned().items() if name not in _DERIVED}
        content = {
            "parameters": _encode_parameters(params),
            "fit_parameters": _encode_parameters(self._structure),
            "serializer": {
                "parameter": _encode_serializer(self._structure["serializer"]),
                "fitted": _encode_serializer(getattr(self, "_serializer", None)),
            },
            "backbone": self._describe_backbone(),
            "members": [int(k) for k in self.net_.member_ids],
            "attributes": {
                name: encode(value, name=name, tensors=attributes)
                for name, value in learned.items()
            },
        }
        tensors |= {f"attributes.{name}": value for name, value in attributes.items()}
        return SavedModel(owner, content, tensors)

    def _describe_backbone(self: Any) -> dict[str, Any]:
        given = self._structure["backbone"]
        model = self.net_.module_.split.model
        return {
            "given": None if isinstance(given, tuple | list) else encode(given, name="backbone"),
            "class": type(model).__name__,
            "pooling": self.net_.module_.split.pooling,
            "config": describe_config(model.config),
            "processor": describe_processor(self._tokenizer),
            "frozen": describe_frozen(self.net_.module_),
        }

    # -- the way back ----------------------------------------------------------------------------

    @classmethod
    def _from_saved(
        cls: Any, saved: SavedModel, backbone: Any, device: Any, chosen: str, folder: Path
    ) -> Any:
        """Build the fitted classifier; nothing half-built ever leaves this function."""
        try:
            parts = _Parts.read(saved)
        except (KeyError, TypeError, AttributeError) as error:
            raise PersistenceError(
                f"{folder} does not hold what this version of sksve saves of a {cls.__name__}: "
                f"{type(error).__name__} {error}."
            ) from error
        unknown = sorted({*parts.parameters, *parts.fit_parameters} - set(cls._get_param_names()))
        if unknown:
            raise PersistenceError(
                f"This version's {cls.__name__} has no parameter {', '.join(unknown)}. Load it with "
                "the version of sksve it was saved with."
            )
        told: dict[str, Any] = {
            "backbone": _chosen_backbone(parts.backbone, backbone),
            "device": device,
            "serializer": parts.serializer,
        }
        here = {k: v for k, v in told.items() if k in cls._get_param_names()}
        now = parts.parameters | here
        fresh = cls(**{**now, **parts.fit_parameters, "n_members": len(parts.members)})
        check_parameters(CONSTRAINTS, fresh.get_params(deep=False), owner=cls.__name__)
        resolved = resolve_backbone(fresh.backbone)
        _refuse_inside(resolved.folder, folder)
        config = base_model(resolved.pair[0]).config if resolved.pair else resolved.config
        check_identity(
            parts.backbone["config"], describe_config(config), what="backbone's configuration"
        )
        precision = Precision.choose(fresh.precision, chosen)
        loaded = load_backbone(resolved, pooling=parts.backbone["pooling"], dtype=precision.dtype)
        fresh._take_backbone(loaded, precision)
        check_identity(
            parts.backbone["processor"],
            describe_processor(fresh._tokenizer),
            what="tokenizer or image processor",
        )
        plan = fresh._plan(resolved)
        learned = parts.attributes
        classes, seed = learned["classes_"], learned["_seed"]
        net = restore_net(
            loaded,
            plan,
            fresh._layer_factory(),
            parts.members,
            fresh._training_config(len(classes), seed, chosen, precision),
            parts.tensors,
            parts.backbone["frozen"],
        )
        members = TrainedMembers(tuple(parts.members), (), learned["history_"], net)
        fresh._record(classes, seed, members, plan, loaded)
        _set_learned(fresh, learned)
        if parts.fitted_serializer is not None:
            fresh._serializer = parts.fitted_serializer
        for name, value in now.items():
            setattr(fresh, name, value)
        return fresh


class _Parts:
    """The content of a saved folder, decoded."""

    parameters: dict[str, Any]
    fit_parameters: dict[str, Any]
    serializer: Any
    fitted_serializer: Any
    backbone: dict[str, Any]
    members: list[int]
    attributes: dict[str, Any]
    tensors: dict[str, np.ndarray]

    @classmethod
    def read(cls, saved: SavedModel) -> "_Parts":
        start = "attributes."
        apart = {k: v for k, v in saved.tensors.items() if k.startswith(start)}
        parts, content = cls(), saved.content
        parts.tensors = {k: v for k, v in saved.tensors.items() if k not in apart}
        named = {k.removeprefix(start): v for k, v in apart.items()}
        parts.parameters = {k: decode(v) for k, v in content["parameters"].items()}
        parts.fit_parameters = {k: decode(v) for k, v in content["fit_parameters"].items()}
        parts.serializer = _decode_serializer(content["serializer"]["parameter"])
        parts.fitted_serializer = _decode_serializer(content["serializer"]["fitted"])
        parts.backbone = content["backbone"]
        for key, kind in {
            "config": dict,
            "processor": dict,
            "frozen": dict,
            "pooling": str,
        }.items():
            if not isinstance(parts.backbone[key], kind):
                raise TypeError(f"backbone.{key}")
        parts.members = content["members"]
        if not parts.members or not all(type(k) is int and k >= 0 for k in parts.members):
            raise TypeError("members")
        parts.attributes = {k: decode(v, named) for k, v in content["attributes"].items()}
        _check_learned(parts.attributes)
        return parts


def _check_learned(learned: Mapping[str, Any]) -> None:
    missing = _NEEDED - set(learned)
    if missing:
        raise KeyError(", ".join(sorted(missing)))
    classes, seed, history = learned["classes_"], learned["_seed"], learned["history_"]
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < 2:
        raise TypeError("classes_")
    if type(seed) is not int or seed < 0 or not isinstance(history, list):
        raise TypeError("_seed or history_")
    strange = [n for n in learned if not _LEARNED_NAME.fullmatch(n) or n in _DERIVED]
    if strange:
        raise TypeError(f"the attributes {strange}")


def _set_learned(fresh: Any, learned: Mapping[str, Any]) -> None:
    for name, value in learned.items():
        if hasattr(type(fresh), name):  # a method or property, which a value must not hide
            raise PersistenceError(f"{name!r} is no learned attribute of {type(fresh).__name__}.")
        setattr(fresh, name, value)


def _encode_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: encode(value, name=f"The {name!r} parameter")
        for name, value in params.items()
        if name not in _APART
    }


def _encode_serializer(serializer: Any) -> Any:
    if serializer is None:
        return None
    if type(serializer) is not TabularToText:
        raise PersistenceError(
            f"The 'serializer' is a {type(serializer).__name__}, which a saved model cannot hold: only "
            "TabularToText can be saved. Turn the table into texts yourself before fit and predict "
            "(a Pipeline does it), or use pickle or joblib instead."
        )
    params = serializer.get_params(deep=False)
    learned = {k: v for k, v in vars(serializer).items() if k not in params and k.endswith("_")}
    return {
        "class": "TabularToText",
        "parameters": {k: encode(v, name=f"serializer.{k}") for k, v in params.items()},
        "attributes": {k: encode(v, name=f"serializer.{k}") for k, v in learned.items()},
    }


def _decode_serializer(told: Any) -> Any:
    if told is None:
        return None
    if told["class"] != "TabularToText":
        raise PersistenceError(f"The serializer {told['class']!r:.60} is not known to this sksve.")
    serializer = TabularToText(**{k: decode(v) for k, v in told["parameters"].items()})
    for name, value in told["attributes"].items():
        if hasattr(TabularToText, name) or not (_LEARNED_NAME.fullmatch(name) and name[-1] == "_"):
            raise PersistenceError(f"{name!r:.60} is no learned attribute of TabularToText.")
        setattr(serializer, name, decode(value))
    return serializer


def _chosen_backbone(described: Mapping[str, Any], backbone: Any) -> Any:
    if backbone is not None:
        return backbone
    if described.get("given") is None:
        raise PersistenceError(
            f"The model was fitted on a (model, processor) pair, a {described.get('class')}, which "
            "is not in the folder. Give it again: from_pretrained(folder, backbone=(model, processor))."
        )
    return decode(described["given"])


def _refuse_inside(weights: Path | None, folder: Path) -> None:
    """Refuse weights that come with the saved model: they may be files of any kind."""
    if weights is not None and weights.resolve().is_relative_to(folder.resolve()):
        raise PersistenceError(
            f"The backbone {weights} lies inside the saved model's own folder. Move it elsewhere, or "
            "give another with backbone=."
        )


def _versions() -> dict[str, str]:
    named = ("torch", "transformers", "scikit-learn", "numpy")
    told = {"Python": sys.version.split()[0], "sksve": __version__}
    return told | {name: version(name) for name in named}

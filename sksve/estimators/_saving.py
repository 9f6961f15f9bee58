"""Save a fitted classifier with members into a folder, and load it again."""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

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
    CardFacts,
    Savable,
    SavedModel,
    set_fitted,
)
from sksve.preprocessing import TabularToText
from sksve.training import TrainedMembers, describe_frozen, restore_net, saved_state

__all__ = ["SavingMixin"]

# Parameters that are saved in their own way, or told again when the model is loaded.
_APART = {"backbone", "callbacks", "checkpoint_dir", "device", "serializer"}
# Learned attributes that follow from the backbone, the parameters and the members.
_DERIVED = {
    "net_", "adapter_report_", "_dtype", "_prediction_autocast", "_tokenizer",
    "_max_length", "_serializer", "_structure",
}  # fmt: skip
_SECTIONS = ("parameters", "fit_parameters", "serializer", "backbone", "attributes")
_NEEDED = {"classes_", "history_", "n_iter_", "input_kind_", "_seed"}


class SavingMixin(Savable):
    """What of a classifier with members is saved, and how it is made again."""

    def _card_facts(self, saved: SavedModel, metrics: Mapping[str, float]) -> CardFacts:
        return card_facts(self, saved.content, metrics, _versions())

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
        content = {
            "parameters": {k: v for k, v in params.items() if k not in _APART},
            "fit_parameters": {k: v for k, v in self._structure.items() if k not in _APART},
            "serializer": {
                "parameter": _checked_serializer(self._structure["serializer"]),
                "fitted": _checked_serializer(getattr(self, "_serializer", None)),
            },
            "backbone": self._describe_backbone(),
            "members": [int(k) for k in self.net_.member_ids],
            "attributes": {k: v for k, v in self._learned().items() if k not in _DERIVED},
        }
        return SavedModel(owner, content, tensors)

    def _describe_backbone(self: Any) -> dict[str, Any]:
        given = self._structure["backbone"]
        model = self.net_.module_.split.model
        return {
            "given": None if isinstance(given, tuple | list) else given,
            "class": type(model).__name__,
            "pooling": self.net_.module_.split.pooling,
            "config": describe_config(model.config),
            "processor": describe_processor(self._tokenizer),
            "frozen": describe_frozen(self.net_.module_),
        }

    # -- the way back ----------------------------------------------------------------------------

    @classmethod
    def _from_saved(cls: Any, saved: SavedModel, backbone: Any, device: Any, folder: Path) -> Any:
        """Build the fitted classifier; nothing half-built ever leaves this function."""
        chosen = choose_device(device)
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
        fitted_with = now | parts.fit_parameters
        if "n_members" in now:  # some methods have one member and no such parameter
            fitted_with["n_members"] = len(parts.members)
        fresh = cls(**fitted_with)
        check_parameters(
            CONSTRAINTS | cls._own_constraints, fresh.get_params(deep=False), owner=cls.__name__
        )
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
        members = TrainedMembers(tuple(parts.members), (), learned["history_"], net.history, net)
        fresh._record(classes, seed, members, plan, loaded)
        set_fitted(fresh, learned)
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
        parts, content = cls(), saved.content
        _demand_kinds(content, "", dict.fromkeys(_SECTIONS, dict) | {"members": list})
        kinds = {"config": dict, "processor": dict, "frozen": dict, "pooling": str}
        _demand_kinds(content["backbone"], "backbone.", kinds)
        parts.parameters, parts.fit_parameters = content["parameters"], content["fit_parameters"]
        parts.serializer = _checked_serializer(content["serializer"]["parameter"])
        parts.fitted_serializer = _checked_serializer(content["serializer"]["fitted"])
        parts.backbone, parts.attributes = content["backbone"], content["attributes"]
        parts.members, parts.tensors = content["members"], saved.tensors
        if not parts.members or not all(type(k) is int and 0 <= k < 2**31 for k in parts.members):
            raise TypeError("members")
        if len(set(parts.members)) < len(parts.members):
            raise TypeError("members, one of them twice")
        _check_learned(parts.attributes)
        return parts


def _demand_kinds(content: Mapping[str, Any], place: str, kinds: Mapping[str, type]) -> None:
    for key, kind in kinds.items():
        if not isinstance(content[key], kind):
            raise TypeError(f"{place}{key}")


def _check_learned(learned: Mapping[str, Any]) -> None:
    missing = _NEEDED - set(learned)
    if missing:
        raise KeyError(", ".join(sorted(missing)))
    classes, seed, history = learned["classes_"], learned["_seed"], learned["history_"]
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < 2:
        raise TypeError("classes_")
    if type(seed) is not int or seed < 0 or not isinstance(history, list):
        raise TypeError("_seed or history_")
    if strange := _DERIVED & set(learned):
        raise TypeError(f"the attributes {strange}")


def _checked_serializer(serializer: Any) -> Any:
    """Refuse, on the way there and back, a serializer that no folder can hold."""
    if serializer is None or type(serializer) in (str, TabularToText):
        return serializer
    raise PersistenceError(
        f"The 'serializer' is a {type(serializer).__name__}, which a saved model cannot hold: only "
        "TabularToText can be saved. Turn the table into texts yourself before fit and predict "
        "(a Pipeline does it), or use pickle or joblib instead."
    )


def _chosen_backbone(described: Mapping[str, Any], backbone: Any) -> Any:
    if backbone is not None:
        return backbone
    if described.get("given") is None:
        raise PersistenceError(
            f"The model was fitted on a (model, processor) pair, a {described.get('class')}, which "
            "is not in the folder. Give it again: from_pretrained(folder, backbone=(model, processor))."
        )
    return described["given"]


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

"""Save a fitted classifier with members into a folder with its model card, and load it again."""

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sksve import __version__
from sksve._exceptions import PersistenceError
from sksve._validation import check_declared, declared
from sksve.backbones import (
    Backbone,
    as_backbone,
    check_identity,
    describe_config,
    describe_processor,
    load_backbone,
    plan_adaptation,
    prove,
    resolve_backbone,
)
from sksve.estimators._facts import Facts
from sksve.estimators._reader import RowReader
from sksve.novelty import NoveltyReference
from sksve.persistence import CardFacts, Savable, SavedModel, set_fitted
from sksve.preprocessing import TabularToText
from sksve.training import (
    Precision,
    Run,
    TrainedMembers,
    Training,
    WholeBackbone,
    choose_device,
    restore_net,
)

# Learned attributes that follow from the backbone, the settings and the members.
_DERIVED = {"net_", "adapter_report_", "settings_", "_reader", "_novelty"}


class SavingMixin(Savable):
    """What of a classifier with members is saved, and how it is made again."""

    def _card_facts(self, saved: SavedModel, metrics: Mapping[str, float]) -> CardFacts:
        return card_facts(self, saved.content, metrics, _versions())

    # -- the way there ---------------------------------------------------------------------------

    def _to_saved(self: Any) -> SavedModel:
        """Everything that is saved, as plain values and arrays; whatever cannot be raises."""
        owner = type(self).__name__
        if self.training is not None and self.training.callbacks:
            raise PersistenceError(
                f"The 'callbacks' of {owner}'s training are objects that a saved model cannot hold. They "
                "are not needed after training: clf.set_params(training__callbacks=None), then save."
            )
        tensors = self.net_.module_.saved_state()
        broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
        if broken:
            raise PersistenceError(
                f"Training of {owner} diverged: {broken[0]} holds NaN or infinity. Fit it again "
                "with a lower lr, head_lr or init_scale."
            )
        content = {
            "parameters": _saved_values(self.get_params(deep=False), type(self)),
            "settings": _saved_values(self.settings_.plain_values(), type(self), Training),
            "reasons": {"": self.settings_.facts} | dict(self.settings_.reasons),
            "serializer": {
                "parameter": _checked_serializer(self.settings_.serializer),
                "fitted": _checked_serializer(self._reader.writer),
                "n_side": self._reader.n_side,
            },
            "backbone": self._describe_backbone(),
            "members": [int(k) for k in self.net_.member_ids],
            "novelty": self._novelty.to_saved(),
            "attributes": {k: v for k, v in self._learned().items() if k not in _DERIVED},
        }
        return SavedModel(owner, content, tensors)

    def _describe_backbone(self: Any) -> dict[str, Any]:
        backbone = self.settings_.backbone
        source = as_backbone(backbone).source
        options = backbone.get_params(deep=False) if isinstance(backbone, Backbone) else {}
        if self._reader.image_size is not None:  # whatever "auto" stood for
            options = options | {"image_size": self._reader.image_size}
        model = self.net_.module_.split.model
        return {
            "given": None if isinstance(source, tuple | list) else source,
            "class": type(model).__name__,
            "options": {name: value for name, value in options.items() if name != "source"},
            "pooling": self.net_.module_.split.pooling,
            "config": describe_config(model.config),
            "processor": describe_processor(self._tokenizer),
            "frozen": self.net_.module_.describe_frozen(),
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
        own_names, options = {*declared(cls)}, {*declared(Training)}
        unknown = {*parts.parameters} - own_names | {*parts.settings} - own_names - options
        if unknown:
            raise PersistenceError(
                f"This version's {cls.__name__} has no parameter {', '.join(sorted(unknown))}. Load it "
                "with the version of sksve it was saved with."
            )
        replaced: dict[str, Any] = {
            "backbone": _chosen_backbone(parts.backbone, backbone),
            "device": device,
            "serializer": parts.serializer,
        }
        fresh = cls(**parts.parameters | replaced)
        values = {k: v for k, v in parts.settings.items() if k not in options}
        if "training" in own_names:
            of_training = {k: v for k, v in parts.settings.items() if k in options}
            values["training"] = Training(**of_training)
        if "n_members" in own_names:
            values["n_members"] = len(parts.members)
        fitted_with = cls(**values | replaced)
        for clf in (fresh, fitted_with):
            check_declared(clf, *([] if clf.training is None else [clf.training]))
        resolved = resolve_backbone(fresh.backbone)
        _refuse_inside(resolved.folder, folder)
        check_identity(
            parts.backbone["config"],
            describe_config(resolved.config),
            what="backbone's configuration",
        )
        facts = Facts(plan_adaptation(resolved, adapt_blocks=0).n_blocks)
        settings = fitted_with._resolve_settings(facts, parts.settings["random_state"])
        reasons = dict(parts.reasons)
        settings = replace(settings, facts=reasons.pop(""), reasons=reasons)
        precision = Precision.choose(settings.precision, chosen)
        loaded = load_backbone(resolved, pooling=parts.backbone["pooling"], dtype=precision.dtype)
        reader = RowReader(cls.__name__, parts.serializer, fresh.side_features)
        reader.kind, reader.writer = parts.attributes["input_kind_"], parts.fitted_serializer
        if (side := parts.attributes.get("side_features_")) is not None:
            reader.side_features_, reader.n_side = side, parts.n_side
        reader.take_backbone(loaded, settings, precision.dtype)
        check_identity(
            parts.backbone["processor"],
            describe_processor(reader.processor),
            what="tokenizer or image processor",
        )
        plan = fresh._plan_for(reader, resolved, settings)
        factory = fresh._layer_factory(settings)
        plan = prove(loaded, plan, members=not isinstance(factory, WholeBackbone))
        learned = parts.attributes
        classes = learned["classes_"]
        net = restore_net(
            loaded,
            plan,
            factory,
            parts.members,
            settings.for_training(),
            reader.run(Run.on(chosen, precision, len(classes))),
            parts.tensors,
            parts.backbone["frozen"],
        )
        members = TrainedMembers(tuple(parts.members), (), learned["history_"], net.history, net)
        fresh._become(classes, settings, members, plan, loaded, reader, {}, {})
        set_fitted(fresh, learned)
        fresh._novelty = parts.novelty
        return fresh


class _Parts:
    """The content of a saved folder, decoded."""

    parameters: dict[str, Any]
    settings: dict[str, Any]
    reasons: dict[str, str]
    serializer: Any
    fitted_serializer: Any
    n_side: int
    backbone: dict[str, Any]
    members: list[int]
    novelty: NoveltyReference
    attributes: dict[str, Any]
    tensors: dict[str, np.ndarray]

    @classmethod
    def read(cls, saved: SavedModel) -> "_Parts":
        parts, content = cls(), saved.content
        kinds = {"parameters": dict, "settings": dict, "serializer": dict, "attributes": dict}
        _demand_kinds(content, "", kinds | {"backbone": dict, "members": list, "reasons": dict})
        _demand_kinds(
            content["reasons"], "reasons.", {"": str} | dict.fromkeys(content["reasons"], str)
        )
        parts.reasons = content["reasons"]
        kinds = {"options": dict, "config": dict, "processor": dict, "frozen": dict, "pooling": str}
        _demand_kinds(content["backbone"], "backbone.", kinds)
        parts.parameters, parts.settings = content["parameters"], content["settings"]
        seed = parts.settings["random_state"]
        if type(seed) is not int or seed < 0:
            raise TypeError("settings.random_state")
        parts.serializer = _checked_serializer(content["serializer"]["parameter"])
        parts.fitted_serializer = _checked_serializer(content["serializer"]["fitted"])
        parts.n_side = content["serializer"]["n_side"]
        if type(parts.n_side) is not int or parts.n_side < 0:
            raise TypeError("serializer.n_side")
        parts.backbone, parts.attributes = content["backbone"], content["attributes"]
        parts.members, parts.tensors = content["members"], saved.tensors
        if not parts.members or not all(type(k) is int and 0 <= k < 2**31 for k in parts.members):
            raise TypeError("members")
        if len(set(parts.members)) < len(parts.members):
            raise TypeError("members, one of them twice")
        _demand_kinds(content, "", {"novelty": dict})
        parts.novelty = NoveltyReference.from_saved(content["novelty"])
        _check_learned(parts.attributes)
        return parts


def _demand_kinds(content: Mapping[str, Any], place: str, kinds: Mapping[str, type]) -> None:
    for key, kind in kinds.items():
        if not isinstance(content[key], kind):
            raise TypeError(f"{place}{key}")


def _check_learned(learned: Mapping[str, Any]) -> None:
    kinds = {"classes_": np.ndarray, "history_": list, "n_iter_": int, "_notes": dict}
    _demand_kinds(learned, "attributes.", kinds | {"input_kind_": str})
    classes = learned["classes_"]
    if classes.ndim != 1 or len(classes) < 2:
        raise TypeError("classes_")
    if strange := _DERIVED & set(learned):
        raise TypeError(f"the attributes {strange}")


def _saved_values(values: Mapping[str, Any], *owners: type) -> dict[str, Any]:
    """Return the values that a saved model holds; the others are given when it is loaded."""
    known = {name: each for owner in owners for name, each in declared(owner).items()}
    held = {name: value for name, value in values.items() if known[name].metadata["saved"]}
    if isinstance(training := held.get("training"), Training):
        held["training"] = Training(**_saved_values(training.get_params(), Training))
    return held


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
    """Return the backbone that was given, or saved, used as it was then."""
    if isinstance(backbone, Backbone):
        return backbone
    source = described.get("given") if backbone is None else backbone
    if source is None:
        raise PersistenceError(
            f"The model was fitted on a (model, processor) pair, a {described.get('class')}, which "
            "is not in the folder. Give it again: from_pretrained(folder, backbone=(model, processor))."
        )
    options = described["options"]
    if not set(options) <= {"pooling", "target_modules", "image_size"}:
        raise PersistenceError(f"A Backbone has no such options: {sorted(options)}.")
    return Backbone(source, **options) if options else source


def _refuse_inside(weights: Path | None, folder: Path) -> None:
    """Refuse weights that come with the saved model: they may be files of any kind."""
    if weights is not None and weights.resolve().is_relative_to(folder.resolve()):
        raise PersistenceError(
            f"The backbone {weights} lies inside the saved model's folder. Move it elsewhere, or "
            "give another with backbone=."
        )


def _versions() -> dict[str, str]:
    named = ("torch", "transformers", "scikit-learn", "numpy")
    versions = {"Python": sys.version.split()[0], "sksve": __version__}
    return versions | {name: version(name) for name in named}


# -- the model card --------------------------------------------------------------------------------

# Names of backbones that sksve finds elsewhere -> their names on the hub.
_ON_HUB = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def card_facts(
    clf: Any, content: Mapping[str, Any], metrics: Mapping[str, float], versions: Mapping[str, str]
) -> CardFacts:
    """Collect the facts of a fitted classifier's model card.

    Parameters
    ----------
    clf : estimator
    content : mapping
        What is saved of it.
    metrics, versions : mapping

    Returns
    -------
    CardFacts
    """
    source = as_backbone(clf.settings_.backbone).source
    name = "" if isinstance(source, tuple | list) else str(source)
    on_hub = _ON_HUB.get(name, "")
    if not on_hub and _REPOSITORY.fullmatch(name) and not Path(name).exists():
        on_hub = name
    shown = name if on_hub or not name else Path(name).name  # not a path of somebody's disk
    sizes = dict(clf._notes.get("data_sizes", {}))
    counts = sizes.pop("classes", [])
    report = clf.adapter_report_
    home = "sksve" if type(clf).__name__ == "SVEClassifier" else type(clf).__module__
    return CardFacts(
        class_name=type(clf).__name__,
        module=re.sub(r"\._\w+$", "", home),
        input_kind=clf.input_kind_,
        backbone=shown,
        hub_backbone=on_hub,
        n_members=len(content["members"]),
        classes=clf.classes_.tolist(),
        sizes={k: v for k, v in sizes.items() if v},
        class_counts=counts,
        parameters={k: repr(v) for k, v in clf.settings_.values.items() if _is_shown(clf, k)},
        reasons=clf.settings_.reasons,
        facts=clf.settings_.facts if clf.settings_.reasons else "",
        history=_last_epoch(clf.history_),
        metrics=metrics,
        n_trained=report.n_trainable,
        n_total=report.n_total,
        versions=versions,
    )


def _is_shown(clf: Any, name: str) -> bool:
    """Whether a setting says something about the model rather than about the machine or the labels."""
    about = (declared(clf) | declared(Training))[name].metadata
    decides = about["scope"] != "run" or name in ("n_members", "random_state")
    return bool(about["saved"]) and decides and name != "class_weight"


def _last_epoch(history: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean over the members of each value in the last epoch the member ran."""
    means = {}
    for key in {key: None for row in history for key in row}:
        rows = np.array([row[key] for row in history if key in row], dtype=np.float64)
        ran = np.isfinite(rows)
        last = len(rows) - 1 - ran[::-1].argmax(axis=0)
        values = rows[last, np.arange(rows.shape[1])][ran.any(axis=0)]
        if len(values):
            means[key] = float(values.mean())
    return means

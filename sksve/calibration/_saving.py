"""Save a calibrated classifier together with the classifier inside."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from sksve._exceptions import PersistenceError
from sksve.calibration._make import CALIBRATORS
from sksve.persistence import (
    CardFacts,
    Savable,
    SavedModel,
    class_named,
    decode,
    decode_object,
    encode,
    encode_object,
)

__all__ = ["SavesCalibrated"]

_CLASSES = {kind.__name__: kind for kind in CALIBRATORS.values()}
_INSIDE, _OUTSIDE = "estimator.", "calibrators."


class SavesCalibrated(Savable):
    """What of a ``CalibratedClassifier`` is saved: the fitted estimator and the calibrators."""

    estimator: Any
    estimator_: Any
    method: Any
    cv: Any
    calibrators_: list[Any]

    def _to_saved(self: Any) -> SavedModel:
        owner, inner = type(self).__name__, _thawed(self.estimator_)
        if not isinstance(inner, Savable):
            raise PersistenceError(
                f"{owner} can be saved as its estimator can, and {type(inner).__name__} has no "
                "save_pretrained. Use pickle or joblib."
            )
        class_named(type(inner).__name__)  # what could not be loaded is not saved
        foreign = [c for c in self.calibrators_ if type(c) not in _CLASSES.values()]
        if foreign:
            raise PersistenceError(
                f"The calibrator is a {type(foreign[0]).__name__}, which a saved model cannot hold: it "
                f"holds {', '.join(_CLASSES)}. Use pickle or joblib."
            )
        saved = inner._to_saved()
        arrays: dict[str, Any] = {}
        named = isinstance(self.method, str)
        content = {
            "estimator": {"class": saved.class_name, "content": saved.content},
            "frozen": isinstance(self.estimator, FrozenEstimator),
            "parameters": {
                k: encode(v, name=f"The {k!r} parameter")
                for k, v in self.get_params(deep=False).items()
                if k not in {"estimator", "method"}
            },
            "method": self.method if named else encode_object(self.method, name="method"),
            "classes": encode(self.classes_, name="classes_"),
            "calibrators": [
                encode_object(c, name=f"{i}", tensors=arrays)
                for i, c in enumerate(self.calibrators_)
            ],
        }
        tensors = {_INSIDE + name: value for name, value in saved.tensors.items()}
        tensors |= {_OUTSIDE + name: value for name, value in arrays.items()}
        return SavedModel(owner, content, tensors)

    def _card_facts(self: Any, saved: SavedModel, metrics: Mapping[str, float]) -> CardFacts:
        inner = SavedModel("", saved.content["estimator"]["content"], {})
        facts: CardFacts = _thawed(self.estimator_)._card_facts(inner, metrics)
        names = {type(c).__name__: None for c in self.calibrators_}
        return replace(
            facts,
            class_name=type(self).__name__,
            module="sksve.calibration",
            calibration=f"{', '.join(names)}, {self.order}",
        )

    @classmethod
    def _from_saved(cls: Any, saved: SavedModel, backbone: Any, device: Any, folder: Path) -> Any:
        try:
            content = saved.content
            kind = class_named(content["estimator"]["class"])
            arrays = _below(saved, _OUTSIDE)
            calibrators = [decode_object(c, _CLASSES, arrays) for c in content["calibrators"]]
            method = content["method"]
            if not isinstance(method, str):
                method = decode_object(method, _CLASSES)
            params = {k: decode(v) for k, v in content["parameters"].items()}
            classes = decode(content["classes"])
            inner = SavedModel(
                kind.__name__, content["estimator"]["content"], _below(saved, _INSIDE)
            )
            frozen = content["frozen"]
            known = set(cls._get_param_names()) - {"estimator", "method"}
            if not calibrators or not set(params) <= known or not isinstance(inner.content, dict):
                raise KeyError("calibrators or parameters")
        except (KeyError, TypeError, AttributeError) as error:
            raise PersistenceError(
                f"{folder} does not hold what this version of sksve saves of a {cls.__name__}: {error}."
            ) from error
        fitted = kind._from_saved(inner, backbone, device, folder)
        if frozen:
            given: BaseEstimator = FrozenEstimator(fitted)
        else:  # an unfitted one that shares the backbone, which clone would copy
            given = kind(**fitted.get_params(deep=False))
        fresh = cls(given, method, **params)
        fresh.classes_ = classes
        fresh.calibrators_ = calibrators
        fresh.estimator_ = given if frozen else fitted
        return fresh


def _thawed(estimator: Any) -> Any:
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def _below(saved: SavedModel, start: str) -> dict[str, Any]:
    return {k.removeprefix(start): v for k, v in saved.tensors.items() if k.startswith(start)}

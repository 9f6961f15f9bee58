"""Save a calibrated classifier together with the classifier inside."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from sksve._exceptions import PersistenceError
from sksve.calibration._make import CALIBRATORS
from sksve.persistence import CardFacts, Savable, SavedModel, class_named

__all__ = ["SavesCalibrated"]

_KINDS = tuple(CALIBRATORS.values())


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
        unknown = [c for c in self.calibrators_ if type(c) not in _KINDS]
        if unknown:
            raise PersistenceError(
                f"The calibrator is a {type(unknown[0]).__name__}, which a saved model cannot hold: it "
                f"holds {', '.join(kind.__name__ for kind in _KINDS)}. Use pickle or joblib."
            )
        parameters = self.get_params(deep=False)
        del parameters["estimator"]
        content = {
            "estimator": inner._to_saved(),
            "frozen": isinstance(self.estimator, FrozenEstimator),
            "parameters": parameters,
            "classes": self.classes_,
            "calibrators": self.calibrators_,
        }
        return SavedModel(owner, content, {})

    def _card_facts(self: Any, saved: SavedModel, metrics: Mapping[str, float]) -> CardFacts:
        facts: CardFacts = _thawed(self.estimator_)._card_facts(saved.content["estimator"], metrics)
        names = {type(c).__name__: None for c in self.calibrators_}
        return replace(
            facts,
            class_name=type(self).__name__,
            module="sksve.calibration",
            calibration=f"{', '.join(names)}, {self.order}",
        )

    @classmethod
    def _from_saved(cls: Any, saved: SavedModel, backbone: Any, device: Any, folder: Path) -> Any:
        content = saved.content
        expected = {
            "estimator": SavedModel, "frozen": bool, "parameters": dict, "classes": np.ndarray,
            "calibrators": list,
        }  # fmt: skip
        faults = [k for k, kind in expected.items() if not isinstance(content.get(k), kind)]
        if not faults:
            params, calibrators = content["parameters"], content["calibrators"]
            known = set(cls._get_param_names()) - {"estimator"}
            if not set(params) <= known or not isinstance(params.get("method"), (str, *_KINDS)):
                faults.append("parameters")
            if not calibrators or not all(isinstance(c, _KINDS) for c in calibrators):
                faults.append("calibrators")
        if faults:
            raise PersistenceError(
                f"{folder} does not hold what this version of sksve saves of a {cls.__name__}: "
                f"{', '.join(faults)}."
            )
        inner = content["estimator"]
        kind = class_named(inner.class_name)
        fitted = kind._from_saved(inner, backbone, device, folder)
        if content["frozen"]:
            estimator: BaseEstimator = FrozenEstimator(fitted)
        else:  # an unfitted one that shares the backbone, which clone would copy
            estimator = kind(**fitted.get_params(deep=False))
        fresh = cls(estimator, **params)
        fresh.classes_ = content["classes"]
        fresh.calibrators_ = calibrators
        fresh.estimator_ = estimator if content["frozen"] else fitted
        return fresh


def _thawed(estimator: Any) -> Any:
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator

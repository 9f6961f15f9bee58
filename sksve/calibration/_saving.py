"""Save a wrapper together with the classifiers inside."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from sklearn.frozen import FrozenEstimator

from sksve._exceptions import PersistenceError
from sksve.persistence import CardFacts, Savable, SavedModel, class_named, set_fitted


class SavesWrapper(Savable):
    """What of a wrapper is saved: parameters, what it has learned, and its fitted estimators."""

    # Learned attributes that are saved, and their types; [type]: a list of such, not empty.
    _saved: ClassVar[dict[str, Any]]
    # Types of parameters that must not be of another, where a folder may hold more than one kind.
    _saved_parameters: ClassVar[dict[str, Any]] = {}

    estimator: Any
    estimator_: Any

    def _to_saved(self: Any) -> SavedModel:
        parameters = self.get_params(deep=False)
        del parameters["estimator"]
        content = {
            "estimator": self._inner_to_saved(self.estimator_),
            "folds": [self._inner_to_saved(e) for e in self._fold_estimators()],
            "frozen": isinstance(self.estimator, FrozenEstimator),
            "parameters": parameters,
            "fitted": {name: getattr(self, name) for name in self._saved},
        }
        return SavedModel(type(self).__name__, content, {})

    def _inner_to_saved(self, estimator: Any) -> SavedModel:
        inner = _thawed(estimator)
        if not isinstance(inner, Savable):
            raise PersistenceError(
                f"{type(self).__name__} can be saved as its estimator can, and {type(inner).__name__} has "
                "no save_pretrained. Use pickle or joblib."
            )
        class_named(type(inner).__name__)  # what could not be loaded is not saved
        return inner._to_saved()

    def _fold_estimators(self) -> list[Any]:
        """Fitted estimators beside ``estimator_``."""
        return []

    def _set_folds(self, estimators: list[Any]) -> None:
        """Take them back."""

    def _card_words(self) -> str:
        """How the probabilities were calibrated, for the model card."""
        return ""

    def _card_facts(self: Any, saved: SavedModel, metrics: Mapping[str, float]) -> CardFacts:
        facts: CardFacts = _thawed(self.estimator_)._card_facts(saved.content["estimator"], metrics)
        return replace(
            facts,
            class_name=type(self).__name__,
            module="sksve.calibration",
            calibration=self._card_words() or facts.calibration,
        )

    @classmethod
    def _from_saved(cls: Any, saved: SavedModel, backbone: Any, device: Any, folder: Path) -> Any:
        content = saved.content
        expected = {
            "estimator": SavedModel, "folds": list, "frozen": bool, "parameters": dict, "fitted": dict,
        }  # fmt: skip
        faults = [k for k, kind in expected.items() if not isinstance(content.get(k), kind)]
        if not faults:
            params, fitted = content["parameters"], content["fitted"]
            known = set(cls._get_param_names()) - {"estimator"}
            faults += ["parameters"] if set(params) - known else []
            faults += [
                k for k, kind in cls._saved_parameters.items() if not _is(params.get(k), kind)
            ]
            faults += [k for k, kind in cls._saved.items() if not _is(fitted.get(k), kind)]
            faults += (
                ["folds"] if any(not _is(fold, SavedModel) for fold in content["folds"]) else []
            )
        if faults:
            raise PersistenceError(
                f"{folder} does not hold what this version of sksve saves of a {cls.__name__}: "
                f"{', '.join(faults)}."
            )

        def load(inner: SavedModel) -> Any:
            kind = class_named(inner.class_name)
            return kind._from_saved(inner, backbone, device, folder)

        own = load(content["estimator"])
        if content["frozen"]:
            own = estimator = FrozenEstimator(own)
        else:  # an unfitted one that shares the backbone, which clone would copy
            estimator = type(own)(**own.get_params(deep=False))
        fresh = cls(estimator, **params)
        set_fitted(fresh, {name: fitted[name] for name in cls._saved})
        fresh.estimator_ = own
        fresh._set_folds([load(fold) for fold in content["folds"]])
        return fresh


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and bool(value) and all(_is(v, kind[0]) for v in value)
    return isinstance(value, kind)


def _thawed(estimator: Any) -> Any:
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator

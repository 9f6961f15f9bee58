"""What the wrappers of any classifier share: routing, tags, and what they hand through."""

import warnings
from copy import deepcopy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch, Tags, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sksve.metrics._predict_uncertainty import has_members

__all__ = ["ClassifierWrapper", "members_inside"]


def members_inside(wrapper: Any) -> bool:
    """Check for ``available_if``: is there a classifier with members inside?"""
    inner = getattr(wrapper, "estimator_", wrapper.estimator)
    if not has_members(inner):
        raise AttributeError(
            f"{type(inner).__name__} has no members. Wrap a classifier with predict_proba_members, "
            "such as sksve.SVEClassifier."
        )
    return True


class ClassifierWrapper(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Base of the wrappers: an `estimator`, a `cv`, and after fit an ``estimator_``."""

    estimator: Any
    cv: Any
    estimator_: Any

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X; only if the fitted estimator has it."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns of X; only if the fitted estimator has them."""
        return self.estimator_.feature_names_in_

    def get_metadata_routing(self) -> MetadataRouter:
        """Say what metadata goes where.

        Returns
        -------
        MetadataRouter
            ``fit`` hands metadata on to the estimator's ``fit`` and to the splitter's ``split``.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                estimator=self.estimator,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
            .add(
                splitter=self.cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
        )

    def _is_frozen(self) -> bool:
        return isinstance(self.estimator, FrozenEstimator)

    def _frozen_classes(self) -> Any:
        """Classes of a frozen estimator, which must be fitted; None if it is not frozen."""
        if not self._is_frozen():
            return None
        check_is_fitted(self.estimator)
        return self.estimator.classes_

    def _demand_instance(self) -> None:
        if isinstance(self.estimator, type) or not hasattr(self.estimator, "fit"):
            raise ValueError(
                f"The 'estimator' parameter of {type(self).__name__} must be a classifier instance. "
                f"Got {self.estimator!r} instead."
            )

    def _route(self, sample_weight: Any, params: dict[str, Any]) -> tuple[dict, dict]:
        """Parameters of the estimator's fit and of the splitter; warns where weights are lost."""
        if _routing_enabled():
            routed: Bunch = process_routing(self, "fit", sample_weight=sample_weight, **params)
            return dict(routed.estimator.fit), dict(routed.splitter.split)
        params = dict(params)
        # As scikit-learn's search objects: without routing, groups are the splitter's.
        groups = params.pop("groups", None)
        split_params = {} if groups is None else {"groups": groups}
        if sample_weight is None or self._is_frozen():
            return params, split_params
        if has_fit_parameter(self.estimator, "sample_weight"):
            params["sample_weight"] = sample_weight
        else:
            warnings.warn(
                f"{type(self.estimator).__name__}.fit takes no sample_weight, so the weights do not "
                "reach it. Pass them by step name as well, as in clf__sample_weight=..., or switch "
                "metadata routing on.",
                UserWarning,
                stacklevel=3,
            )
        return params, split_params

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = deepcopy(inner.input_tags)
        tags.non_deterministic = inner.non_deterministic
        tags.no_validation = inner.no_validation
        if inner.classifier_tags is not None:
            tags.classifier_tags = deepcopy(inner.classifier_tags)
            tags.classifier_tags.multi_label = False
        return tags

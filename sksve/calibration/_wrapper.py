"""What the wrappers of any classifier share: checked rows, rows held out, routing, tags."""

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedShuffleSplit, check_cv
from sklearn.utils import Bunch, Tags, get_tags, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import _safe_split, available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_method_params,
    _check_y,
    check_is_fitted,
    has_fit_parameter,
)

from sksve._arrays import as_array
from sksve._validation import check_container
from sksve.calibration._saving import SavesWrapper
from sksve.metrics._inputs import check_sample_weight, make_generator, normalise_rows
from sksve.metrics._predict_uncertainty import predict_members


class Rows(NamedTuple):
    """What fit was given. X is whatever the estimator takes, texts too: it is only ever indexed."""

    X: Any
    y: ndarray
    weight: ndarray | None
    classes: ndarray


class Fold(NamedTuple):
    """What was read off an estimator on rows it was not fitted on."""

    test: ndarray  # places of the rows
    classes: ndarray  # what the estimator knows
    result: Any
    estimator: Any = None  # only where it is kept


class ClassifierWrapper(SavesWrapper, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Base of the wrappers: an `estimator`, and after fit an ``estimator_``; most have `cv` and `n_jobs`."""

    cv: Any
    n_jobs: int | None

    def _chosen_cv(self) -> Any:
        return self.cv

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X; only if the fitted estimator has it."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> ndarray:
        """Names of the columns of X; only if the fitted estimator has them."""
        return self.estimator_.feature_names_in_

    @available_if(lambda wrapper: hasattr(wrapper.estimator, "export_onnx"))
    def export_onnx(self, path: Any) -> Path:
        """Write the wrapper and the classifier with members inside as one ONNX file.

        As :meth:`sksve.SVEClassifier.export_onnx`; what the wrapper adds is in the graph: calibrated
        probabilities, ``accepts`` of a selective classifier, ``set`` of a conformal one.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        pathlib.Path
            The same.

        Raises
        ------
        ImportError
            If onnxscript is not installed.
        ValueError
            If something of it has no graph; the message names it.
        """
        check_is_fitted(self)
        from sksve.onnx._graph import export

        return export(self, path)

    def get_metadata_routing(self) -> MetadataRouter:
        """Say what metadata goes where.

        Returns
        -------
        MetadataRouter
            ``fit`` hands metadata on to the estimator's ``fit``, and to the splitter's ``split`` where
            there is one.
        """
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        router = router.add(estimator=self.estimator, method_mapping=to_fit)
        if not hasattr(self, "cv"):
            return router
        to_split = MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=self.cv, method_mapping=to_split)

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

    def _in_pieces(self, answer: Callable[[Any], Any], X: Any, chunk_size: Any) -> Any:
        return self.estimator_._in_pieces(answer, X, chunk_size)  # it knows its kind of rows

    # -- fit, step by step -----------------------------------------------------------------------

    def _demand_instance(self, *, proba: str = "") -> None:
        """Refuse what cannot be wrapped before anything is trained; `proba` says what needs it."""
        if isinstance(self.estimator, type) or not hasattr(self.estimator, "fit"):
            raise ValueError(
                f"The 'estimator' parameter of {type(self).__name__} must be a classifier instance. "
                f"Got {self.estimator!r} instead."
            )
        if proba and not hasattr(self.estimator, "predict_proba"):
            name = type(self.estimator).__name__
            raise ValueError(
                f"{name} has no predict_proba, which {proba} needs; decision values are no probabilities. "
                f"CalibratedClassifierCV({name}(...)) of scikit-learn reads them, and can be wrapped here."
            )

    def _read_rows(self, X: Any, y: Any, sample_weight: Any) -> Rows:
        """Check labels and weights; classes are a frozen estimator's, or the labels, at least two."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        check_container(X)
        X, y = indexable(X, as_array(y, "y"))
        y = _check_y(y)
        if not len(y):
            raise ValueError("Found array with 0 sample(s): at least one row is needed.")
        _demand_labels(y)
        check_classification_targets(y)
        weight = check_sample_weight(sample_weight, len(y))
        if isinstance(self.estimator, FrozenEstimator):
            check_is_fitted(self.estimator)
            classes = np.asarray(self.estimator.classes_)
            unknown = sorted(set(y.tolist()) - set(classes.tolist()), key=str)
            if unknown:
                raise ValueError(
                    f"y holds labels that the frozen estimator does not know: {unknown}. "
                    f"Its classes are {classes.tolist()}."
                )
            return Rows(X, y, weight, classes)
        classes = np.unique(y)
        present = classes if weight is None else np.unique(y[weight > 0])
        if len(present) < 2:
            raise ValueError(
                "The training data must hold at least two classes. Got only one class, "
                f"{present.tolist()[0]!r}, in the rows of positive weight."
            )
        return Rows(X, y, weight, classes)

    def _fit_and_read(
        self,
        rows: Rows,
        read: Callable[[Any, Any], Any],
        sample_weight: Any,
        fit_params: dict[str, Any],
        random_state: Any = None,
        keep: bool = False,
    ) -> tuple[Any, list[Fold]]:
        """Fit the estimator, and read what estimators say of rows they have not seen.

        A frozen estimator is read on all rows. With a share as `cv`, the estimator is fitted on the
        other rows; with folds, one is fitted on all rows and a clone is read for each fold, and kept
        there if `keep`.
        """
        estimator, X, y = self.estimator, rows.X, rows.y
        params, split_params = self._route(sample_weight, fit_params)
        if isinstance(estimator, FrozenEstimator):
            return estimator, [Fold(np.arange(len(y)), rows.classes, read(estimator, X))]

        def fit_and_read(train: ndarray, test: ndarray) -> tuple[Any, Fold]:
            X_train, y_train = _safe_split(estimator, X, y, train)
            part = _check_method_params(X, params, indices=train)
            fitted = clone(estimator).fit(X_train, y_train, **part)
            X_test, _ = _safe_split(estimator, X, y, test, train)
            return fitted, Fold(np.arange(len(y))[test], fitted.classes_, read(fitted, X_test))

        def job(train: ndarray, test: ndarray) -> Fold:
            fitted, fold = fit_and_read(np.asarray(train), np.asarray(test))
            return fold._replace(estimator=fitted) if keep else fold

        cv = self._chosen_cv()
        if isinstance(cv, Real) and not isinstance(cv, Integral):
            if split_params:
                raise ValueError(
                    "groups need a splitter that knows of them. Pass cv=GroupKFold(), for example."
                )
            seed = int(make_generator(random_state).integers(2**32))
            splitter = StratifiedShuffleSplit(1, test_size=cv, random_state=seed)
            fitted, fold = fit_and_read(*next(splitter.split(np.empty((len(y), 1)), y)))
            return fitted, [fold]
        splits = list(check_cv(cv, y, classifier=True).split(X, y, **split_params))
        for number, (train, _) in enumerate(splits):
            _demand_two_classes(np.unique(y[train]), number, len(splits))
        folds = Parallel(n_jobs=self.n_jobs)(delayed(job)(*split) for split in splits)
        return clone(estimator).fit(X, y, **params), folds

    def _fit_whole(self, rows: Rows, sample_weight: Any, fit_params: dict[str, Any]) -> Any:
        """Fit the estimator on all rows, unless it is frozen."""
        if isinstance(self.estimator, FrozenEstimator):
            return self.estimator
        params, split_params = self._route(sample_weight, fit_params)
        return clone(self.estimator).fit(rows.X, rows.y, **params, **split_params)

    def _route(self, sample_weight: Any, params: Mapping[str, Any]) -> tuple[dict, dict]:
        """Parameters of the estimator's fit and of the splitter; warns where weights are lost."""
        if _routing_enabled():
            routed: Bunch = process_routing(self, "fit", sample_weight=sample_weight, **params)
            split = dict(routed.splitter.split) if hasattr(self, "cv") else {}
            return dict(routed.estimator.fit), split
        params = dict(params)
        # As scikit-learn's search objects: without routing, groups are the splitter's.
        groups = params.pop("groups", None)
        split_params = {} if groups is None else {"groups": groups}
        if sample_weight is None or isinstance(self.estimator, FrozenEstimator):
            return params, split_params
        if has_fit_parameter(self.estimator, "sample_weight"):
            params["sample_weight"] = sample_weight
        else:
            warnings.warn(
                f"{type(self.estimator).__name__}.fit takes no sample_weight, so the weights do not "
                "reach it. Pass them by step name as well, as in clf__sample_weight=..., or switch "
                "metadata routing on.",
                UserWarning,
                stacklevel=4,
            )
        return params, split_params


def read_proba(estimator: Any, X: Any, *, classes: ndarray, by_member: bool = False) -> ndarray:
    """Probabilities ``(k, n, c)`` of all classes: of the pool, k = 1, or of each member."""
    if by_member:
        proba = predict_members(estimator, X)
    else:
        proba = np.asarray(estimator.predict_proba(X), dtype=np.float64)[None]
    flat = align_rows(proba.reshape(-1, proba.shape[-1]), estimator.classes_, classes)
    return flat.reshape(*proba.shape[:2], len(classes))


def align_rows(proba: ndarray, known: ndarray, classes: ndarray) -> ndarray:
    return normalise_rows(_align(proba, known, classes), "What the estimator predicts")


def _align(proba: Any, known: ndarray, classes: ndarray) -> ndarray:
    """Give probabilities ``(..., c_own)`` the columns of all classes; a class not known has 0."""
    proba = np.asarray(proba, dtype=np.float64)
    if proba.shape[-1] != len(known):
        raise ValueError(
            f"The estimator knows {len(known)} classes, but its probabilities have shape "
            f"{proba.shape}: one column a class is needed."
        )
    if len(known) == len(classes):
        return proba
    full = np.zeros((*proba.shape[:-1], len(classes)))
    full[..., np.searchsorted(classes, known)] = proba
    return full


def _demand_labels(y: ndarray) -> None:
    """Refuse None and NaN among labels of any kind; scikit-learn looks at numbers only."""
    if y.dtype != object:
        return
    missing = [i for i, label in enumerate(y.tolist()) if label is None or label != label]
    if missing:
        raise ValueError(
            f"Input y contains NaN or None: every row needs a label. Row {missing[0]} has none."
        )


def _demand_two_classes(present: ndarray, number: int, n_splits: int) -> None:
    if len(present) < 2:
        raise ValueError(
            f"Split {number} of {n_splits} leaves only one class, {present.tolist()[0]!r}, to train on. "
            "Shuffle the rows, use a stratified splitter or another 'cv', or wrap a fitted "
            "classifier in FrozenEstimator and fit on held-out rows."
            if len(present)
            else f"Split {number} of {n_splits} leaves no row to train on."
        )

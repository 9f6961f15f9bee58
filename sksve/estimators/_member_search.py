"""A search over the number of members at the price of the largest number."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from scipy.stats import rankdata
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing

from sksve._validation import check_container
from sksve.training import LayerVectors, MemberDataset


class MemberSearchCV(GridSearchCV):
    """Grid search that trains each ensemble once, at its largest size, and scores every size.

    The members of an ensemble do not depend on how many there are: the first k of it are the ensemble
    that a fit with ``n_members=k`` gives. So for each combination of the other parameters and each
    split, only the largest ``n_members`` of the grid is trained. Scores, ranks and the refitted
    ``best_estimator_`` are those of :class:`~sklearn.model_selection.GridSearchCV`, up to rounding; of
    a grid over 1, 2, 4 and 8 members, 8 are trained in place of 15.

    Parameters
    ----------
    estimator : SVEClassifier, another classifier with members, or a Pipeline that ends in one
    param_grid : dict or list of dict
        As in ``GridSearchCV``; each dict has a key ``n_members`` (``<step>__n_members`` in a
        pipeline).
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in ``GridSearchCV``.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, \
refit_time_, multimetric_
        As in ``GridSearchCV``. The times of a row are those of the training it shares with the rows
        that differ from it in ``n_members`` only.
    n_members_trained_, n_members_scored_ : int
        Members trained during the search, and members that ``GridSearchCV`` would have trained.

    See Also
    --------
    SVEClassifier.first_members : The smaller ensemble out of a larger one.

    Notes
    -----
    Callbacks of your own that couple the members (that stop or change training) void the promise.

    Examples
    --------
    >>> from sksve import MemberSearchCV, SVEClassifier
    >>> from sksve.backbones import make_tiny_backbone
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = SVEClassifier(make_tiny_backbone(), max_epochs=1, random_state=0)
    >>> grid = {"n_members": [1, 2, 4], "rank": [2, None]}
    >>> search = MemberSearchCV(clf, grid, cv=2, scoring="neg_log_loss").fit(texts, labels)
    >>> len(search.cv_results_["params"]), search.n_members_trained_, search.n_members_scored_
    (6, 16, 28)
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run the search.

        Parameters
        ----------
        X, y : as in the estimator's fit
        **params
            ``groups`` of the splitter, and what the estimator's ``fit`` takes, such as
            ``sample_weight``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a grid does not name ``n_members``, or `refit` names no metric of `scoring`.
        TypeError
            If the estimator has no members that can be taken one by one.
        """
        check_container(X)
        grids = [self.param_grid] if isinstance(self.param_grid, Mapping) else self.param_grid
        grids = [{key: list(values) for key, values in grid.items()} for grid in grids]
        names = [_count_name(grid) for grid in grids]
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        for grid, name in zip(grids, names):
            for size in grid[name]:  # every fault of the grid before the first fit
                _owner(clone(self.estimator).set_params(**{name: size}), name)
        if isinstance(self.scoring, (dict, list, tuple, set)) and not callable(self.refit):
            self._check_refit(list(self.scoring))
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        routing = get_config()["enable_metadata_routing"]
        split_params = {}
        if routing:
            routed = process_routing(self, "fit", **params)
            split_params, fit_params = routed.splitter.split, routed.estimator.fit
        else:
            fit_params = {k: v for k, v in params.items() if k != "groups"}
            if "groups" in params:
                split_params = {"groups": params["groups"]}
        splits = list(splitter.split(X, y, **split_params))  # the same ones for every grid
        passed = {k: v for k, v in params.items() if k not in split_params}

        columns: dict[str, list[Any]] = {}
        self.n_members_trained_ = self.n_members_scored_ = 0
        for grid, name in zip(grids, names):
            rows = self._search(X, y, grid, name, scorer, splits, passed)
            for key, value in (item for row in rows for item in row.items()):
                columns.setdefault(key, []).append(value)
        self._set_results(columns, scorer, splits)
        if self.refit:
            start = time.perf_counter()
            best = clone(self.estimator).set_params(
                **{k: clone(v, safe=False) for k, v in self.best_params_.items()}
            )
            self.best_estimator_ = best.fit(X, y, **fit_params)
            self.refit_time_ = time.perf_counter() - start
            if hasattr(best, "feature_names_in_"):
                self.feature_names_in_ = best.feature_names_in_
        return self

    def _check_refit(self, metrics: list[str]) -> None:
        if self.refit is not False and self.refit not in metrics:
            raise ValueError(
                "The 'refit' parameter of MemberSearchCV must name one of the metrics, or be False: "
                f"{metrics}. Got {self.refit!r} instead."
            )

    def _search(
        self,
        X: Any,
        y: Any,
        grid: Mapping[str, Sequence[Any]],
        name: str,
        scorer: Any,
        splits: list[Any],
        params: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Rows of cv_results_ for one grid, in the order of GridSearchCV."""
        sizes = [int(size) for size in grid[name]]
        inner = GridSearchCV(
            self.estimator,
            {**grid, name: [max(sizes)]},
            scoring=_EverySize(scorer, sorted(set(sizes)), name),
            n_jobs=self.n_jobs,
            refit=False,
            cv=splits,
            verbose=self.verbose,
            pre_dispatch=self.pre_dispatch,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
        ).fit(X, y, **params)
        shared = inner.cv_results_
        place = {_key(p, name): row for row, p in enumerate(shared["params"])}
        rows = []
        for candidate in ParameterGrid(grid):
            row, mark = place[_key(candidate, name)], f"@{int(candidate[name])}"
            one: dict[str, Any] = {"params": candidate}
            for key, column in shared.items():
                if key.endswith("_time"):
                    one[key] = column[row]
                elif key.startswith("split") and key.endswith(mark):
                    one[key.removesuffix(mark)] = column[row]
            rows.append(one)
        self.n_members_trained_ += max(sizes) * len(place) * len(splits)
        self.n_members_scored_ += sum(sizes) * len(place) * len(splits)
        return rows

    def _set_results(self, columns: dict[str, list[Any]], scorer: Any, splits: list[Any]) -> None:
        """From scores per split to means, ranks and the best row."""
        results: dict[str, Any] = {
            k: np.array(v) for k, v in columns.items() if k.endswith("_time")
        }
        for key in sorted({key for p in columns["params"] for key in p}):
            values = np.ma.masked_all(len(columns["params"]), dtype=object)
            for row, p in enumerate(columns["params"]):
                if key in p:
                    values[row] = p[key]
            results[f"param_{key}"] = values
        results["params"] = columns["params"]
        kinds = ["test", "train"] if self.return_train_score else ["test"]
        first = "split0_test_"
        metrics = [key.removeprefix(first) for key in columns if key.startswith(first)]
        for metric in metrics:
            for kind in kinds:
                names = [f"split{i}_{kind}_{metric}" for i in range(len(splits))]
                scores = np.array([columns[name] for name in names], dtype=np.float64)
                results.update(zip(names, scores))
                mean = results[f"mean_{kind}_{metric}"] = scores.mean(axis=0)
                results[f"std_{kind}_{metric}"] = scores.std(axis=0)
                if kind == "test":
                    worst_last = np.where(np.isnan(mean), -np.inf, mean)
                    results[f"rank_test_{metric}"] = rankdata(-worst_last, "min").astype(np.int32)
        self.cv_results_ = results
        self.n_splits_ = len(splits)
        self.scorer_ = scorer
        self.multimetric_ = metrics != ["score"]
        if callable(self.refit):
            self.best_index_ = int(self.refit(results))
        elif self.refit or not self.multimetric_:
            if self.multimetric_:
                self._check_refit(metrics)  # of a callable, known only now
            chosen = self.refit if self.multimetric_ else "score"
            self.best_index_ = int(results[f"rank_test_{chosen}"].argmin())
            self.best_score_ = results[f"mean_test_{chosen}"][self.best_index_]
        else:
            return
        self.best_params_ = results["params"][self.best_index_]


class _EverySize:
    """Scores every size from one pass of predictions; a class, so that it can go to workers."""

    def __init__(self, scorer: Any, sizes: list[int], name: str) -> None:
        self.scorer = scorer
        self.sizes = sizes
        self.name = name

    def get_metadata_routing(self) -> Any:
        return get_routing_for_object(self.scorer)

    def __call__(self, estimator: Any, X: Any, y: Any = None, **params: Any) -> dict[str, float]:
        largest = _owner(estimator, self.name)
        known: dict[str, np.ndarray] = {}  # logits of all members, by the rows' content

        def first_logits(
            size: int, data: MemberDataset, vectors: LayerVectors | None = None
        ) -> np.ndarray:
            if vectors is not None:  # whoever asks for the vectors needs a pass
                return largest._logits(data, vectors)[:size]
            key = data.content_key()
            if key not in known:
                known[key] = largest._logits(data)
            return known[key][:size]

        result = {}
        for size in self.sizes:
            smaller = largest.first_members(size)
            smaller._logits = partial(first_logits, size)
            scores = self.scorer(_with_last(estimator, smaller), X, y, **params)
            scores = scores if isinstance(scores, dict) else {"score": scores}
            result.update({f"{metric}@{size}": value for metric, value in scores.items()})
        return result


def _count_name(grid: Mapping[str, Any]) -> str:
    names = [key for key in grid if key == "n_members" or key.endswith("__n_members")]
    if len(names) != 1:
        raise ValueError(
            "Each grid of MemberSearchCV must name n_members (<step>__n_members in a pipeline) once. "
            f"Got the keys {list(grid)}."
        )
    return names[0]


def _owner(estimator: Any, name: str) -> Any:
    """Check that the owner of ``n_members`` is the classifier at the end, and return it."""
    step, _, rest = name.partition("__")
    if rest:
        if isinstance(estimator, Pipeline) and estimator.steps[-1][0] == step:
            return _owner(estimator.steps[-1][1], rest)
    elif hasattr(estimator, "first_members"):
        return estimator
    raise TypeError(
        "MemberSearchCV searches over the members of a classifier that has first_members, alone or "
        f"as the last step of a Pipeline. Got {type(estimator).__name__} for {name!r}."
    )


def _with_last(estimator: Any, classifier: Any) -> Any:
    """The fitted estimator with another classifier at its end."""
    if not isinstance(estimator, Pipeline):
        return classifier
    name, last = estimator.steps[-1]
    return Pipeline([*estimator.steps[:-1], (name, _with_last(last, classifier))])


def _key(params: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Identify a combination of the other parameters, whose values may not be hashable."""
    return tuple((k, id(v)) for k, v in sorted(params.items()) if k != name)

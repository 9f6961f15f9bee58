"""Every model with every calibrator: test probabilities, and what the calibration rows say of it."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from sksve.calibration import make_calibrator
from sksve.comparison._models import Split
from sksve.metrics._inputs import normalise_rows

__all__ = ["UNCALIBRATED", "Variant", "calibrate", "choose", "settle_methods"]

Variant = tuple[str, str]  # model, method
UNCALIBRATED = "none"
FOLDS = 5  # of the calibration rows, to choose by


def settle_methods(methods: Any) -> dict[str, Any]:
    """Names -> unfitted calibrators, after the first one: none at all."""
    if isinstance(methods, Mapping):
        named = list(methods.items())
    elif isinstance(methods, str) or not isinstance(methods, Sequence):
        raise ValueError(
            "methods must be a list of calibrators (names or objects) or a mapping of names to "
            f"calibrators. Got {methods!r}."
        )
    else:
        named = [(m if isinstance(m, str) else type(m).__name__, m) for m in methods]
    found: dict[str, Any] = {UNCALIBRATED: None}
    for name, method in named:
        if method is None or (isinstance(method, str) and method == UNCALIBRATED):
            continue
        if name in found:
            raise ValueError(
                f"Two methods are called {name!r}. Pass a mapping with a name of its own for each."
            )
        found[str(name)] = make_calibrator(method)
        if getattr(found[str(name)], "input", "proba") != "proba":
            raise ValueError(
                f"Method {name!r} expects logits, but models give probabilities. "
                'Pass it with input="proba".'
            )
    return found


def calibrate(
    splits: Sequence[Split],
    methods: Mapping[str, Any],
    n_test: int,
    losses: Any,
    rng: np.random.Generator,
) -> tuple[dict[Variant, np.ndarray], dict[Variant, np.ndarray]]:
    """Return each variant's test probabilities, and its losses on the calibration rows.

    These losses are cross-fitted: a calibrator is judged on calibration rows it did not learn from, so
    that a flexible one gains nothing by memorising them. Test labels play no part in it.
    """
    folds = [_folds(split.codes, rng) for split in splits]
    proba: dict[Variant, np.ndarray] = {}
    choice: dict[Variant, np.ndarray] = {}
    for model in splits[0].cal:
        for name, method in methods.items():
            parts, scores = None, []
            for split, fold in zip(splits, folds):
                cal, test = split.cal[model], split.test[model]
                try:
                    mapped = _fit_map(method, cal, split.codes, test)
                    held_out = _cross_fit(method, cal, split.codes, fold)
                except ValueError as error:
                    raise ValueError(f"Method {name!r} on model {model!r}: {error}") from error
                if parts is None:
                    parts = np.empty((n_test, test.shape[1]))
                parts[split.rows] = mapped
                scores.append(losses(split.codes, held_out))
            assert parts is not None  # there is at least one split
            proba[model, name] = parts
            choice[model, name] = np.concatenate(scores)
    return proba, choice


def choose(losses: Mapping[Variant, np.ndarray]) -> Variant:
    """Pick by losses on the calibration rows, with the one-standard-error rule among calibrators.

    The model is that of the lowest mean loss. Of its calibrators the first one is taken, in the order
    given, whose loss is within one standard error of the difference (Breiman et al. 1984): what
    those rows do not tell apart is not worth the more flexible map.
    """
    best = min(losses, key=lambda variant: losses[variant].mean())
    for variant, loss in losses.items():
        behind = loss - losses[best]
        error = behind.std() / np.sqrt(len(behind))
        if variant[0] == best[0] and behind.mean() <= error:
            return variant
    raise AssertionError("the best variant is no worse than itself")


def _folds(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fold of each row; every class is spread as evenly as can be."""
    n = len(codes)
    if n < 2:
        raise ValueError(f"At least 2 calibration rows are needed. Got {n}.")
    fold = np.empty(n, dtype=np.int64)
    fold[np.lexsort((rng.random(n), codes))] = np.arange(n) % min(FOLDS, n)
    return fold


def _cross_fit(method: Any, proba: np.ndarray, codes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    if method is None:
        return proba
    found = np.empty_like(proba)
    with warnings.catch_warnings():
        # What a calibrator has to say of all calibration rows is heard; of a part of them, not.
        warnings.simplefilter("ignore")
        for k in range(fold.max() + 1):
            out = fold == k
            found[out] = _fit_map(method, proba[~out], codes[~out], proba[out])
    return found


def _fit_map(method: Any, cal: np.ndarray, codes: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit a fresh calibrator on some rows and apply it to others."""
    if method is None:
        return test
    calibrator = clone(method)
    takes = inspect.signature(calibrator.fit).parameters
    named = {"labels": np.arange(cal.shape[1])} if "labels" in takes else {}
    calibrator.fit(cal, codes, **named)
    proba = np.asarray(calibrator.predict_proba(test))
    if proba.shape != test.shape:
        raise ValueError(
            f"it returned shape {proba.shape} for probabilities of shape {test.shape}."
        )
    return normalise_rows(proba, "its result")

"""What is known of our own metrics: what they read, their range, their core on checked rows."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from sksve.metrics._brier import brier_losses, brier_score
from sksve.metrics._calibration_error import (
    binned_error,
    classwise_calibration_error,
    classwise_error,
    expected_calibration_error,
    maximum_calibration_error,
)
from sksve.metrics._debiased import debiased_calibration_error, debiased_error, plugin_error
from sksve.metrics._likelihood import log_losses, negative_log_likelihood
from sksve.metrics._selective import (
    accuracy_at,
    aurc,
    eaurc,
    excess_risk_area,
    risk_area,
    selective_accuracy,
)
from sksve.metrics._smooth import smooth_calibration_error, smooth_error

__all__ = ["Kind", "kind_of"]


class Kind(NamedTuple):
    """How to compute a metric again and again on rows that are already checked."""

    core: Callable[..., Any]  # (a, b, weight, **options); for "losses": (codes, proba) -> (n,)
    reads: str  # what a and b are: "top": confidence, correct | "all", "losses": codes, proba
    options: Mapping[str, Any] = MappingProxyType({})
    high: float = 1.0  # every one of ours is at least 0
    is_calibration_error: bool = False
    population: Callable[..., Any] | None = None  # value if the rows are the law; None: as core


_BINNED = {"n_bins": 15, "strategy": "uniform", "norm": "l1"}
_KINDS = {
    expected_calibration_error: Kind(binned_error, "top", _BINNED, is_calibration_error=True),
    maximum_calibration_error: Kind(
        binned_error, "top", _BINNED | {"norm": "max"}, is_calibration_error=True
    ),
    classwise_calibration_error: Kind(classwise_error, "all", _BINNED, is_calibration_error=True),
    debiased_calibration_error: Kind(
        debiased_error,
        "top",
        {"n_bins": 15, "strategy": "quantile"},
        is_calibration_error=True,
        population=plugin_error,
    ),
    smooth_calibration_error: Kind(smooth_error, "top", is_calibration_error=True),
    brier_score: Kind(brier_losses, "losses", high=2.0),
    negative_log_likelihood: Kind(log_losses, "losses", high=float("inf")),
    aurc: Kind(risk_area, "top"),
    eaurc: Kind(excess_risk_area, "top"),
    selective_accuracy: Kind(accuracy_at, "top", {"coverage": 0.8}),
}


def kind_of(metric):
    """Return the Kind of one of our metrics, seen through ``functools.partial``, or None."""
    if isinstance(metric, partial):
        inner = kind_of(metric.func)
        extra = metric.keywords
        if inner is None or metric.args or not set(extra) <= set(inner.options):
            return None
        return inner._replace(options={**inner.options, **extra})
    try:
        return _KINDS.get(metric)
    except TypeError:  # a callable object without a hash
        return None

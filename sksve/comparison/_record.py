"""The numbers of a comparison: metrics of every variant, and which differences are more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from sksve.metrics._report import MetricEstimate

Variant = tuple[str, str]  # model, method
UNCALIBRATED = "none"
ECE = "expected_calibration_error"


class Words(NamedTuple):
    """How to speak of a metric."""

    short: str
    meaning: str
    in_percent: bool = True
    larger_is_better: bool = False


METRICS = {
    "negative_log_likelihood": Words(
        "NLL (nats)",
        "Negative log-likelihood: the price of probability given to wrong answers. Judges "
        "calibration and sharpness together; confident errors cost most.",
        in_percent=False,
    ),
    "brier_score": Words(
        "Brier (0..2)",
        "Squared distance between probabilities and what happened, summed over classes. As the "
        "NLL, but no single row can cost more than 2.",
        in_percent=False,
    ),
    "accuracy": Words("Accuracy %", "Share of right answers.", larger_is_better=True),
    "expected_calibration_error": Words(
        "ECE %",
        "Expected calibration error: how far confidence and accuracy are apart, on average over "
        "15 bins of confidence.",
    ),
    "smooth_calibration_error": Words(
        "Smooth ECE %", "The same without bins: neighbouring confidences are averaged smoothly."
    ),
    "debiased_calibration_error": Words(
        "Debiased ECE %",
        "Root mean square gap in 15 bins of equally many rows, less what chance adds to it.",
    ),
    "classwise_calibration_error": Words(
        "Classwise ECE %", "ECE of each class's probability, averaged over the classes."
    ),
    "maximum_calibration_error": Words(
        "Worst bin %", "Largest gap of any bin; bins with few rows make it noisy."
    ),
    "aurc": Words(
        "AURC",
        "Area under the risk-coverage curve: the mean error rate when only the most confident rows "
        "are answered, over every share of rows.",
        in_percent=False,
    ),
    "eaurc": Words(
        "E-AURC",
        "AURC less that of a perfect ranking: what better ranking could still win.",
        in_percent=False,
    ),
    "selective_accuracy": Words(
        "Acc. at 80 %",
        "Accuracy on the most confident 80 % of the rows.",
        larger_is_better=True,
    ),
}
GROUPS = {
    "Overall quality of the probabilities": (
        "negative_log_likelihood",
        "brier_score",
        "accuracy",
    ),
    "Calibration: do they mean what they say?": (
        "expected_calibration_error",
        "smooth_calibration_error",
        "debiased_calibration_error",
        "classwise_calibration_error",
        "maximum_calibration_error",
    ),
    "Ranking: are the unsure rows the wrong ones?": (
        "aurc",
        "eaurc",
        "selective_accuracy",
    ),
}


class Differences(NamedTuple):
    """Differences of every variant from one of them, arrays of shape ``(v,)``."""

    value: ndarray
    low: ndarray
    high: ndarray
    p_value: ndarray
    p_adjusted: ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """What was measured; see CalibrationComparison for the fields."""

    labels: ndarray
    y_test: ndarray
    probabilities: Mapping[Variant, ndarray]
    metrics: Mapping[Variant, Mapping[str, MetricEstimate]]
    draws: Mapping[str, ndarray]
    centres: Mapping[str, ndarray]
    choice: Mapping[Variant, float]
    pick: Variant
    choose_by: str
    n_calibration: int
    n_folds: int
    confidence_level: float
    rows: Any = field(default=None, repr=False)

    @property
    def variants(self) -> list[Variant]:
        """Pairs (model, method), models in the order given, "none" first."""
        return list(self.probabilities)

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(model for model, _ in self.variants))

    @property
    def methods(self) -> list[str]:
        """Names of the calibrators, "none" first."""
        return list(dict.fromkeys(method for _, method in self.variants))

    @property
    def alpha(self) -> float:
        """Level of the tests."""
        return 1.0 - self.confidence_level

    def values(self, metric: str) -> ndarray:
        """Return a metric of every variant, shape ``(n_variants,)``."""
        self._demand_metric(metric)
        return np.array([self.metrics[variant][metric].value for variant in self.variants])

    def paired(self, metric: str, reference: Variant | None = None) -> Differences:
        """Differences of every variant from a reference, as arrays; see :meth:`differences`."""
        reference = self.pick if reference is None else (reference[0], reference[1])
        if reference not in self.variants:
            raise ValueError(
                f"reference must be one of {self.variants}, or None for the pick. Got {reference!r}."
            )
        values = self.values(metric)
        at = self.variants.index(reference)
        draws, centres = self.draws[metric], self.centres[metric]
        return _differences_from(at, values, draws, centres, self.confidence_level)

    def best_p_values(self, metric: str) -> ndarray:
        """p-value, for each variant, of being as good as the best; see :meth:`to_frame`."""
        values = self.values(metric)
        sign = -1.0 if METRICS[metric].larger_is_better else 1.0
        return _chance_of_best(
            sign * values, sign * self.draws[metric], sign * self.centres[metric]
        )

    def best(self, metric: str) -> Variant:
        """Return the variant with the best value of a metric on the test rows."""
        values = self.values(metric)
        at = values.argmax() if METRICS[metric].larger_is_better else values.argmin()
        return self.variants[int(at)]

    def _demand_metric(self, metric: str) -> None:
        if not isinstance(metric, str) or metric not in self.draws:
            raise ValueError(f"metric must be one of {list(self.draws)}. Got {metric!r}.")


def _differences_from(
    reference: int,
    values: ndarray,
    draws: ndarray,
    centres: ndarray,
    confidence_level: float,
) -> Differences:
    """Difference of each variant from a reference that the rows did not choose.

    `draws` are ``(v, n_resamples)``, on resamples that all variants share; `centres` are what they
    spread around: the metric, except for metrics that correct a bias. Intervals are basic bootstrap
    intervals, one per difference; p-values are two-sided, for each difference alone and adjusted for
    all by the largest standardised deviation of a resample (Westfall and Young), which lets equal
    variants count once.
    """
    deviation = draws - centres[:, None]
    deviation = deviation - deviation[reference]
    value = values - values[reference]
    tail = (1.0 - confidence_level) / 2
    low_draw, high_draw = np.quantile(deviation, [tail, 1 - tail], axis=1)
    size = _standardised(np.abs(value), deviation)
    moved = _standardised(np.abs(deviation), deviation)
    p_value = _share_at_least(moved, size[:, None])
    p_adjusted = _share_at_least(moved.max(axis=0)[None], size[:, None])
    same = value == 0
    p_value[same], p_adjusted[same] = 1.0, 1.0
    return Differences(
        value,
        np.minimum(value - high_draw, value),
        np.maximum(value - low_draw, value),
        p_value,
        p_adjusted,
    )


def _chance_of_best(losses: ndarray, draws: ndarray, centres: ndarray) -> ndarray:
    """p-value, for each variant, of the hypothesis that no other one has a smaller expected loss.

    The statistic is the largest standardised lead of another variant, its law that of the resamples'
    deviations. The maximum is taken in each resample, so the luckiest of many gains nothing, and the
    variants with p > 0.05 contain the truly best one with 95 % (multiple comparisons with the best,
    Hsu 1984): no further correction is due.
    """
    deviation = draws - centres[:, None]
    p_values = np.ones(len(losses))
    for i in range(len(losses)):
        others = np.delete(np.arange(len(losses)), i)
        if not len(others):
            continue
        gap = deviation[i] - deviation[others]
        lead = _standardised(losses[i] - losses[others], gap).max()
        if lead > 0:
            moved = _standardised(gap, gap).max(axis=0)
            p_values[i] = _share_at_least(moved[None], np.array([[lead]]))[0]
    return p_values


def _standardised(values: ndarray, deviation: ndarray) -> ndarray:
    """Divide by the spread of the resamples; where there is none, 0 stays 0 and more is infinite."""
    spread = deviation.std(axis=1)
    none = spread <= 1e-12
    scale = np.where(none, 1.0, spread)
    if values.ndim == 2:
        return np.where(none[:, None], 0.0, values / scale[:, None])
    certain = np.where(np.abs(values) <= 1e-12, 0.0, np.copysign(np.inf, values))
    return np.where(none, certain, values / scale)


def _share_at_least(moved: ndarray, size: ndarray) -> ndarray:
    """Share of resamples that deviate as far; never 0, as no finite number of draws shows that."""
    return (1 + np.count_nonzero(moved >= size, axis=1)) / (1 + moved.shape[1])
